"""References for the zoo's convolutions whose weights are the same for every image and position."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_reference import Cost, Reference, conv, conv2d, depthwise, each, filters, point

Values = dict[str, Tensor]
Sizes = SimpleNamespace


def dense(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, p["result"], d.s)


def pointwise(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(x, p["result"], d.s)


def dilated(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, p["result"], d.s, dilation=2)


def grouped(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, p["d"].flatten(0, 1), d.s, groups=d.g)


def grouped_shuffle(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return F.channel_shuffle(conv2d(x, p["d"].flatten(0, 1), d.s, groups=d.g), d.g)


def asymmetric(x: Tensor, p: Values, d: Sizes) -> Tensor:
    tall = conv2d(x, p["b"][..., None], (d.s, 1))
    return conv2d(tall, p["result"][:, :, None], (1, d.s))


def depthwise_separable(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(filters(x, p["d"], d.s), p["result"])


def mobilenet(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(filters(x, p["d"], d.s).relu(), p["result"])


def bsconv_u(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return filters(point(x, p["a"]), p["result"], d.s)


def bsconv_s(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return filters(point(x, p["b"] @ p["a"]), p["result"], d.s)


def low_rank(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, torch.einsum("km,mchw->kchw", p["result"], p["a"]), d.s)


def tucker(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, torch.einsum("kn,nmhw,mc->kchw", p["result"], p["b"], p["a"]), d.s)


def cp(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, torch.einsum("kr,rh,rw,rc->kchw", p["result"], p["b"], p["c"], p["a"]), d.s)


def shift_pointwise(x: Tensor, p: Values, d: Sizes) -> Tensor:
    shift = torch.zeros(d.C, 3, 3, dtype=x.dtype)  # each channel's filter is a one at its own neighbour
    for channel in range(d.C):
        shift.view(d.C, 9)[channel, channel * 9 // d.C] = 1
    return point(filters(x, shift, d.s), p["result"])


def bottleneck(x: Tensor, p: Values, d: Sizes) -> Tensor:
    inner = conv2d(point(x, p["a"]).relu(), p["b"], d.s).relu()
    return point(inner, p["y"]) + point(x, p["skip"], d.s)


def resnext(x: Tensor, p: Values, d: Sizes) -> Tensor:
    """The sum over paths of the paper's figure 3(a), a path a group."""
    paths = (
        point(conv2d(point(x, a).relu(), b, d.s).relu(), y)
        for a, b, y in zip(p["a"], p["b"], p["y"].unbind(1), strict=True)
    )
    return sum(paths) + point(x, p["skip"], d.s)


def inverted_residual(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(filters(point(x, p["a"]).relu(), p["b"], d.s).relu(), p["result"])


def fused_mbconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(F.silu(conv2d(x, p["a"], d.s)), p["result"])


def repvgg(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, p["a"] + F.pad(p["b"][:, :, None, None], (1, 1, 1, 1)), d.s)


def acnet(x: Tensor, p: Values, d: Sizes) -> Tensor:
    skeleton = F.pad(p["b"][:, :, None], (0, 0, 1, 1)) + F.pad(p["c"][..., None], (1, 1))
    return conv2d(x, p["a"] + skeleton, d.s)


def shufflenet_unit(x: Tensor, p: Values, d: Sizes) -> Tensor:
    inner = point(x, p["a"].flatten(0, 1), groups=d.g).relu()
    inner = filters(F.channel_shuffle(inner, d.g), p["d"], d.s)
    return point(inner, p["f"].flatten(0, 1), groups=d.g) + point(x, p["skip"], d.s)


def replk(x: Tensor, p: Values, d: Sizes) -> Tensor:
    window = p["b"] + F.pad(p["c"], (13, 13, 13, 13))
    inner = filters(point(x, p["p"]).relu(), window, d.s).relu()
    return point(inner, p["y"]) + point(x, p["skip"], d.s)


def slak(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(sum(filters(x, p[name], d.s) for name in "abc"), p["result"])


def starnet(x: Tensor, p: Values, d: Sizes) -> Tensor:
    inner = filters(x, p["d"], d.s)
    star = point(inner, p["a"]).relu() * point(inner, p["b"])
    return filters(point(star, p["g"]), p["y"]) + point(x, p["skip"], d.s)


def poolformer(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(F.avg_pool2d(x, 3, 1, 1) - x, p["result"], d.s)


def addernet(x: Tensor, p: Values, d: Sizes) -> Tensor:
    windows = F.unfold(x, 3, padding=1, stride=d.s).transpose(1, 2)
    similarity = -torch.cdist(windows, -p["d"].transpose(0, 1).flatten(1), p=1)
    return similarity.transpose(1, 2).unflatten(2, (d.rows, -1))


def do_conv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return conv2d(x, torch.einsum("cdhw,kcd->kchw", p["a"], p["result"]), d.s)


def layer_norm(x: Tensor, p: Values) -> Tensor:
    """Over the channels, with the kernel's scale and bias."""
    return F.layer_norm(x.movedim(1, 3), x.shape[1:2], p["n1"], p["n2"], 1e-6).movedim(3, 1)


def norm_and_expand(d: Sizes) -> list[Cost]:
    """ConvNeXt's costs up to the wide channels: a layer norm is five operations an element."""
    return [depthwise(d.C, 49, d.Q), each(5 * d.C * d.Q), *2 * [(d.C * d.Q, d.C)], conv(d.C, 4 * d.C, 1, d.Q)]


def convnext(x: Tensor, p: Values, d: Sizes) -> Tensor:
    inner = F.gelu(point(layer_norm(filters(x, p["d"], d.s), p), p["a"]))
    return p["y"][:, None, None] * point(inner, p["b"]) + point(x, p["skip"], d.s)


def convnext_v2(x: Tensor, p: Values, d: Sizes) -> Tensor:
    inner = F.gelu(point(layer_norm(filters(x, p["d"], d.s), p), p["a"]))
    size = torch.linalg.vector_norm(inner, dim=(2, 3), keepdim=True)
    response = inner * size / size.mean(1, keepdim=True)
    inner = p["e1"][:, None, None] * response + p["e2"][:, None, None] + inner
    return point(inner, p["y"]) + point(x, p["skip"], d.s)


REFERENCES = {
    "dense": Reference(dense, lambda d: [conv(d.C, d.K, 9, d.Q)]),
    "pointwise": Reference(pointwise, lambda d: [conv(d.C, d.K, 1, d.Q)]),
    "dilated": Reference(dilated, lambda d: [conv(d.C, d.K, 9, d.Q)]),
    "grouped": Reference(grouped, lambda d: [conv(d.C, d.K, 9, d.Q, d.g)], {"g": 2}),
    "grouped_shuffle": Reference(grouped_shuffle, lambda d: [conv(d.C, d.K, 9, d.Q, d.g)], {"g": 4}),
    "asymmetric": Reference(
        asymmetric, lambda d: [conv(d.C, d.K // d.r, 3, d.rows * d.W), conv(d.K // d.r, d.K, 3, d.Q)], {"r": 2}
    ),
    "depthwise_separable": Reference(depthwise_separable, lambda d: [depthwise(d.C, 9, d.Q), conv(d.C, d.K, 1, d.Q)]),
    "mobilenet": Reference(mobilenet, lambda d: [depthwise(d.C, 9, d.Q), each(d.C * d.Q), conv(d.C, d.K, 1, d.Q)]),
    "addernet": Reference(
        addernet,
        lambda d: [(d.K * d.C * 9 * d.Q, d.K * d.C * 9), each(*[d.K * d.C * 9 * d.Q] * 2, d.K * d.Q)],
    ),
    "bsconv_u": Reference(bsconv_u, lambda d: [conv(d.C, d.K, 1, d.P), depthwise(d.K, 9, d.Q)]),
    "bsconv_s": Reference(
        bsconv_s,
        lambda d: [conv(d.C, d.C // d.r, 1, d.P), conv(d.C // d.r, d.K, 1, d.P), depthwise(d.K, 9, d.Q)],
        {"r": 4},
    ),
    "low_rank": Reference(low_rank, lambda d: [conv(d.C, d.C // d.r, 9, d.Q), conv(d.C // d.r, d.K, 1, d.Q)], {"r": 4}),
    "tucker": Reference(
        tucker,
        lambda d: [
            conv(d.C, d.C // d.r, 1, d.P),
            conv(d.C // d.r, d.K // d.q, 9, d.Q),
            conv(d.K // d.q, d.K, 1, d.Q),
        ],
        {"r": 2, "q": 4},
    ),
    "cp": Reference(
        cp,
        lambda d: [
            conv(d.C, d.C // d.r, 1, d.P),
            depthwise(d.C // d.r, 3, d.rows * d.W),
            depthwise(d.C // d.r, 3, d.Q),
            conv(d.C // d.r, d.K, 1, d.Q),
        ],
        {"r": 2},
    ),
    "shift_pointwise": Reference(shift_pointwise, lambda d: [conv(d.C, d.K, 1, d.Q)]),
    "bottleneck": Reference(
        bottleneck,
        lambda d: [
            conv(d.C, d.K // d.r, 1, d.P),
            conv(d.K // d.r, d.K // d.r, 9, d.Q),
            conv(d.K // d.r, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(d.K // d.r * d.P, d.K // d.r * d.Q, d.K * d.Q),
        ],
        {"r": 4},
    ),
    "resnext": Reference(
        resnext,
        lambda d: [
            conv(d.C, d.K // d.r, 1, d.P),
            conv(d.K // d.r, d.K // d.r, 9, d.Q, d.g),
            conv(d.K // d.r, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(d.K // d.r * d.P, d.K // d.r * d.Q, d.K * d.Q),
        ],
        {"g": 2, "r": 2},
    ),
    "inverted_residual": Reference(
        inverted_residual,
        lambda d: [
            conv(d.C, 6 * d.C, 1, d.P),
            depthwise(6 * d.C, 9, d.Q),
            conv(6 * d.C, d.K, 1, d.Q),
            each(6 * d.C * d.P, 6 * d.C * d.Q),
        ],
    ),
    "fused_mbconv": Reference(
        fused_mbconv,
        lambda d: [conv(d.C, 4 * d.C, 9, d.Q), each(4 * d.C * d.Q), conv(4 * d.C, d.K, 1, d.Q)],
    ),
    "repvgg": Reference(repvgg, lambda d: [conv(d.C, d.K, 9, d.Q), conv(d.C, d.K, 1, d.Q), each(d.K * d.Q)]),
    "acnet": Reference(acnet, lambda d: [conv(d.C, d.K, 9 + 3 + 3, d.Q), each(2 * d.K * d.Q)]),
    "shufflenet_unit": Reference(
        shufflenet_unit,
        lambda d: [
            conv(d.C, d.K // d.r, 1, d.P, d.g),
            depthwise(d.K // d.r, 9, d.Q),
            conv(d.K // d.r, d.K, 1, d.Q, d.g),
            conv(d.C, d.K, 1, d.Q),
            each(d.K // d.r * d.P, d.K * d.Q),
        ],
        {"g": 2, "r": 2},
    ),
    "replk": Reference(
        replk,
        lambda d: [
            conv(d.C, d.C, 1, d.P),
            depthwise(d.C, 31 * 31 + 5 * 5, d.Q),
            conv(d.C, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(d.C * d.P, d.C * d.Q, d.C * d.Q, d.K * d.Q),
        ],
    ),
    "slak": Reference(
        slak, lambda d: [depthwise(d.C, 51 * 5 + 5 * 51 + 5 * 5, d.Q), each(2 * d.C * d.Q), conv(d.C, d.K, 1, d.Q)]
    ),
    "starnet": Reference(
        starnet,
        lambda d: [
            depthwise(d.C, 49, d.Q),
            conv(d.C, 2 * 4 * d.C, 1, d.Q),
            conv(4 * d.C, d.K, 1, d.Q),
            depthwise(d.K, 49, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(2 * 4 * d.C * d.Q, d.K * d.Q),
        ],
    ),
    "poolformer": Reference(poolformer, lambda d: [each(9 * d.C * d.P, d.C * d.P), conv(d.C, d.K, 1, d.Q)]),
    "do_conv": Reference(do_conv, lambda d: [conv(d.C, 9 * d.C, 9, d.Q, d.C), conv(9 * d.C, d.K, 1, d.Q)]),
    "convnext": Reference(
        convnext,
        lambda d: [
            *norm_and_expand(d),
            each(4 * d.C * d.Q),
            conv(4 * d.C, d.K, 1, d.Q),
            (d.K * d.Q, d.K),
            conv(d.C, d.K, 1, d.Q),
            each(d.K * d.Q),
        ],
    ),
    "convnext_v2": Reference(
        convnext_v2,
        lambda d: [
            *norm_and_expand(d),
            each(3 * 4 * d.C * d.Q, 3 * 4 * d.C, 4 * d.C * d.Q),  # gelu and norm, their quotient, the response
            *2 * [(4 * d.C * d.Q, 4 * d.C)],
            each(4 * d.C * d.Q),
            conv(4 * d.C, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(d.K * d.Q),
        ],
    ),
}
