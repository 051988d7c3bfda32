"""References for the zoo's convolutions that look at their input: gates, and weights made from it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_reference import Reference, conv, conv2d, depthwise, each, filters, point

Values = dict[str, Tensor]
Sizes = SimpleNamespace


def squeeze_excitation(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    z = F.adaptive_avg_pool2d(y, 1)
    return y * point(point(z, p["v5"]).relu(), p["v7"]).sigmoid()


def gather_excite(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    return y * F.adaptive_avg_pool2d(y, 1).sigmoid()


def eca(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    means = y.mean((2, 3))[:, None]  # [N, 1, K]: the channels are what the convolution walks along
    return y * F.conv1d(means, p["g"][None, None], padding=1).sigmoid().movedim(1, 2)[..., None]


def coordinate_attention(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    rows, columns = y.mean(3, keepdim=True), y.mean(2, keepdim=True)
    both = F.silu(point(torch.cat([rows, columns.mT], 2), p["f"]))  # the paper's concatenation along space
    above, beside = both.split([rows.shape[2], columns.shape[3]], 2)
    return y * point(above, p["a"]).sigmoid() * point(beside.mT, p["b"]).sigmoid()


def mbconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    wide = F.silu(filters(F.silu(point(x, p["a"])), p["b"], d.s))
    gate = point(F.silu(point(F.adaptive_avg_pool2d(wide, 1), p["e"])), p["f"])
    return point(wide * gate.sigmoid(), p["result"])


def large_kernel_attention(x: Tensor, p: Values, d: Sizes) -> Tensor:
    gate = point(filters(filters(x, p["a"]), p["b"], dilation=3), p["g"])
    return point(gate * x, p["result"], d.s)


def gnconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    queries = torch.cat([p["q0"], p["q1"], p["q2"]])
    window = torch.cat([p["f0"], p["f1"], p["f2"]])
    q = filters(point(x, queries), window).split([len(p["f0"]), len(p["f1"]), len(p["f2"])], 1)
    y = point(x, p["p"]) * q[0]
    y = point(y, p["g1"]) * q[1]
    y = point(y, p["g2"]) * q[2]
    return point(y, p["result"], d.s)


def focal_modulation(x: Tensor, p: Values, d: Sizes) -> Tensor:
    z = point(x, p["z0"])
    gates = point(x, torch.stack([p["g1"], p["g2"], p["g3"], p["g4"]]))
    total = 0
    for level in range(3):
        z = F.gelu(filters(z, p[f"l{level + 1}"]))
        total = total + gates[:, level : level + 1] * z
    total = total + gates[:, 3:] * F.adaptive_avg_pool2d(z, 1)
    return point(point(x, p["q"]) * point(total, p["h"]), p["result"], d.s)


def involution(x: Tensor, p: Values, d: Sizes) -> Tensor:
    kernel = point(point(x, p["v1"]).relu(), p["f"].flatten(0, 2)).view(-1, d.g, 1, 9, d.P)
    patches = F.unfold(x, 3, padding=1).view(-1, d.g, d.C // d.g, 9, d.P)
    return point((kernel * patches).sum(3).view(x.shape), p["result"], d.s)


def own_weights(x: Tensor, weights: Tensor, d: Sizes) -> Tensor:
    """A convolution with weights [N, K, C, h, w] of each image's own."""
    return torch.cat([conv2d(image[None], weight, d.s) for image, weight in zip(x, weights, strict=True)])


def condconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    routing = (x.mean((2, 3)) @ p["r"].T).sigmoid()
    experts = torch.stack([conv2d(x, p["f"][..., expert], d.s) for expert in range(8)], 1)
    return (routing[..., None, None, None] * experts).sum(1)


def dynamic_convolution(x: Tensor, p: Values, d: Sizes) -> Tensor:
    attention = ((x.mean((2, 3)) @ p["a"].T).relu() @ p["b"].T).softmax(1)
    return own_weights(x, torch.einsum("ne,kchwe->nkchw", attention, p["f"]), d)


def odconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    a = (x.mean((2, 3)) @ p["z"].T).relu()
    alpha_w = (a @ p["b"].T).softmax(1)
    alpha_c = (a @ p["c"].T).sigmoid()[:, None, :, None, None]
    alpha_s = (a @ p["d"].flatten(0, 1).T).sigmoid().view(-1, 1, 1, 3, 3)
    alpha_f = (a @ p["f"].T).sigmoid()[:, :, None, None, None]
    weights = sum(
        alpha_w[:, i, None, None, None, None] * alpha_f * alpha_c * alpha_s * p["m"][..., i] for i in range(4)
    )
    return own_weights(x, weights, d)


def global_context(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    attention = point(y, p["a"][None]).flatten(2).softmax(2)
    context = (y.flatten(2) * attention).sum(2)
    inner = F.layer_norm(context @ p["t"].T, (d.K // d.r,), p["t1"], p["t2"], 1e-6).relu()
    return y + (inner @ p["v"].T)[..., None, None]


def filter_norm(filter: Tensor, deviation: Tensor, mean: Tensor) -> Tensor:
    """Over the window, the last axis."""
    return deviation * F.layer_norm(filter, filter.shape[-1:], eps=1e-6) + mean


def decoupled_dynamic_filter(x: Tensor, p: Values, d: Sizes) -> Tensor:
    spatial = point(x, p["a"].flatten(0, 2)).flatten(2).mT  # [N, P, 9]
    spatial = filter_norm(spatial, p["a1"], p["a2"]).mT[:, None]
    channel = (x.mean((2, 3)) @ p["z"].T).relu() @ p["b"].flatten(0, 2).T
    channel = filter_norm(channel.view(-1, d.C, 9), p["b1"][:, None], p["b2"][:, None])[..., None]
    patches = F.unfold(x, 3, padding=1).view(-1, d.C, 9, d.P)
    y = (spatial * channel * patches).sum(2).view(x.shape)
    return point(y, p["result"].flatten(1), d.s)


REFERENCES = {
    "squeeze_excitation": Reference(
        squeeze_excitation,
        lambda d: [
            conv(d.C, d.K, 9, d.Q),
            conv(d.K, d.K // d.r, 1, 1),
            conv(d.K // d.r, d.K, 1, 1),
            each(d.K * d.Q, d.K // d.r, d.K, d.K * d.Q),
        ],
        {"r": 2},
    ),
    "gather_excite": Reference(gather_excite, lambda d: [conv(d.C, d.K, 9, d.Q), each(d.K * d.Q, d.K, d.K * d.Q)]),
    "eca": Reference(eca, lambda d: [conv(d.C, d.K, 9, d.Q), conv(1, 1, 3, d.K), each(d.K * d.Q, d.K, d.K * d.Q)]),
    "coordinate_attention": Reference(
        coordinate_attention,
        lambda d: [
            conv(d.C, d.K, 9, d.Q),
            conv(d.K, d.K // d.r, 1, d.Q),  # at every position, where the paper has one a row and one a column
            conv(d.K // d.r, d.K, 1, d.rows),
            conv(d.K // d.r, d.K, 1, d.Q // d.rows),
            each(2 * d.K // d.r * d.Q),
            each((d.K // d.r + d.K) * (d.rows + d.Q // d.rows)),
            each(2 * d.K * d.Q),
        ],
        {"r": 2},
    ),
    "mbconv": Reference(
        mbconv,
        lambda d: [
            conv(d.C, 6 * d.C, 1, d.P),
            depthwise(6 * d.C, 9, d.Q),
            conv(6 * d.C, d.C // d.r, 1, 1),
            conv(d.C // d.r, 6 * d.C, 1, 1),
            conv(6 * d.C, d.K, 1, d.Q),
            each(6 * d.C * d.P, 3 * 6 * d.C * d.Q, d.C // d.r, 6 * d.C),
        ],
        {"r": 4},
    ),
    "large_kernel_attention": Reference(
        large_kernel_attention,
        lambda d: [
            depthwise(d.C, 25 + 49, d.P),
            conv(d.C, d.C, 1, d.P),
            each(d.C * d.P),
            conv(d.C, d.K, 1, d.Q),
        ],
    ),
    "gnconv": Reference(
        gnconv,
        lambda d: [
            conv(d.C, 2 * d.C, 1, d.P),
            depthwise(7 * d.C // 4, 49, d.P),
            conv(d.C // 4, d.C // 2, 1, d.P),
            conv(d.C // 2, d.C, 1, d.P),
            conv(d.C, d.K, 1, d.Q),
            each(7 * d.C // 4 * d.P),
        ],
        {"r": 4},
    ),
    "focal_modulation": Reference(
        focal_modulation,
        lambda d: [
            conv(d.C, 2 * d.C + 4, 1, d.P),
            depthwise(d.C, 9 + 25 + 49, d.P),
            conv(d.C, d.C, 1, d.P),
            conv(d.C, d.K, 1, d.Q),
            each((3 + 1 + 4 + 3 + 1) * d.C * d.P),  # gelu, mean, gates, their sum, the query
        ],
    ),
    "involution": Reference(
        involution,
        lambda d: [
            conv(d.C, d.C // d.r, 1, d.P),
            conv(d.C // d.r, 9 * d.g, 1, d.P),
            each(d.C // d.r * d.P, 2 * 9 * d.C * d.P),
            conv(d.C, d.K, 1, d.Q),
        ],
        {"r": 2, "g": 4},
    ),
    "condconv": Reference(
        condconv,
        lambda d: [
            each(d.C * d.P, 8),
            conv(d.C, 8, 1, 1),
            conv(8, 9 * d.C * d.K, 1, 1),
            each(2 * 9 * d.C * d.K * d.Q),
        ],
    ),
    "dynamic_convolution": Reference(
        dynamic_convolution,
        lambda d: [
            each(d.C * d.P, d.C // d.r, 5 * 4),
            conv(d.C, d.C // d.r, 1, 1),
            conv(d.C // d.r, 4, 1, 1),
            conv(4, 9 * d.C * d.K, 1, 1),
            each(2 * 9 * d.C * d.K * d.Q),
        ],
        {"r": 4},
    ),
    "odconv": Reference(
        odconv,
        lambda d: [
            each(d.C * d.P, d.C // d.r, 5 * 4, d.C, 9, d.K),
            conv(d.C, d.C // d.r, 1, 1),
            conv(d.C // d.r, 4 + d.C + 9 + d.K, 1, 1),
            conv(4, 9 * d.C * d.K, 1, 1),
            each(9 * d.C * d.K, 9 * d.K, 9 * d.C * d.K),
            each(2 * 9 * d.C * d.K * d.Q),
        ],
        {"r": 4},
    ),
    "global_context": Reference(
        global_context,
        lambda d: [
            conv(d.C, d.K, 9, d.Q),
            conv(d.K, 1, 1, d.Q),
            each(5 * d.Q, 2 * d.K * d.Q),
            conv(d.K, d.K // d.r, 1, 1),
            each(5 * d.K // d.r),
            *2 * [(d.K // d.r, d.K // d.r)],
            each(d.K // d.r),
            conv(d.K // d.r, d.K, 1, 1),
            each(d.K * d.Q),
        ],
        {"r": 2},
    ),
    "decoupled_dynamic_filter": Reference(
        decoupled_dynamic_filter,
        lambda d: [
            conv(d.C, 9, 1, d.P),
            each(5 * 9 * d.P),
            *2 * [(9 * d.P, 1)],
            each(d.C * d.P),
            conv(d.C, d.C // d.r, 1, 1),
            each(d.C // d.r),
            conv(d.C // d.r, 9 * d.C, 1, 1),
            each(5 * 9 * d.C),
            *2 * [(9 * d.C, d.C)],
            each(9 * d.C * d.P, 2 * 9 * d.C * d.P),
            conv(d.C, d.K, 1, d.Q),
        ],
        {"r": 4},
    ),
}
