"""The zoo's attentions over images, written again in PyTorch from their papers' formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from canvas import Layer
from zoo_formulas import (
    QKV,
    affine,
    attend,
    collector,
    every,
    exponentials,
    heads,
    image,
    layer_norm,
    linear,
    normalised,
    products,
    unit,
    windows,
)
from zoo_reference import Reference, conv, depthwise, each

REFERENCES: dict[str, Reference] = {}
TILED = (Layer(8, 12, (9, 6)), Layer(12, 8, (6, 9), stride=2))  # in threes
reference = collector(REFERENCES)


@reference(
    lambda n: [
        *(conv(n.C, 2 * n.g * n.C // n.r, 1, at, groups=n.g) for at in (n.Q, n.P)),
        conv(n.C, n.K, 1, n.P, groups=n.g),
        products(49 * 2 * n.g * n.C // n.r * n.Q),
        *((2 * 7 * n.g * n.C // n.r * n.Q, 7 * n.g * n.C // n.r) for _ in "hw"),
        each(2 * 49 * n.g * n.Q, 49 * n.g * n.Q),
        exponentials(49 * n.g * n.Q),
        products(49 * n.K * n.Q),
    ],
    g=2,
    r=4,
)
def stand_alone_attention(x, p, n):
    x = x.unflatten(1, (n.g, -1))
    around = windows(x.flatten(1, 2), 7).unflatten(1, (n.g, -1))
    q = torch.einsum("gmc,bgchw->bgmhw", torch.cat([p["q_row"], p["q_column"]], 1), x)
    k = torch.einsum("gmc,bgcijhw->bgmijhw", torch.cat([p["k_row"], p["k_column"]], 1), around)
    v = torch.einsum("gmc,bgcijhw->bgmijhw", p["v"], around)
    row = p["r_row"].transpose(1, 2)[:, :, :, None].expand(-1, -1, 7, 7)
    column = p["r_column"].transpose(1, 2)[:, :, None, :].expand(-1, -1, 7, 7)
    r = torch.cat([row, column], 1)[..., None, None]
    weights = (q[:, :, :, None, None] * (k + r)).sum(2).flatten(2, 3).softmax(2)
    return every((weights[:, :, None] * v.flatten(3, 4)).sum(3).flatten(1, 2), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.C // n.r, 1, at) for at in (n.Q, n.P, n.P)),
        products(n.Q * n.P * (n.C // n.r)),
        exponentials(n.Q * n.P),
        products(n.Q * n.P * (n.C // n.r)),
        conv(n.C // n.r, n.K, 1, n.Q),
    ],
    r=2,
)
def non_local(x, p, n):
    theta, phi, g = (heads(linear(p[name], x), 1) for name in ("theta", "phi", "g"))
    return every(linear(p["result"], image(attend(theta, phi, g), x)), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.C // n.r, 1, at) for at in (n.P, n.P, n.Q)),
        exponentials(n.C // n.r * (n.P + n.Q)),
        products((n.C // n.r) ** 2 * (n.P + n.Q)),
        conv(n.C // n.r, n.K, 1, n.Q),
    ],
    r=2,
)
def double_attention(x, p, n):
    a, b, v = (linear(p[name], x).flatten(2) for name in ("a", "b", "v"))
    y = a @ b.softmax(2).transpose(1, 2) @ v.softmax(1)
    return every(linear(p["result"], y.unflatten(2, x.shape[2:])), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.K, 1, at) for at in (n.Q, n.P, n.P)),
        exponentials(n.K * (n.P + n.Q)),
        products(n.K * n.K // n.g * (n.P + n.Q)),
        conv(n.K, n.K, 1, n.Q),
    ],
    g=2,
)
def efficient_attention(x, p, n):
    q, k, v = (heads(linear(p[name], x), n.g) for name in QKV)
    y = q.softmax(3) @ (k.softmax(2).transpose(2, 3) @ v)
    return every(linear(p["result"], image(y, x)), n.s)


@reference(
    lambda n: [
        conv(n.C, n.g * n.C // n.r, 1, n.Q),
        conv(n.C, n.C // n.r, 1, n.P),
        conv(n.C, n.K // n.g, 1, n.P),
        exponentials(n.C // n.r * n.P),
        products(n.C // n.r * n.K // n.g * n.P),
        (2 * 49 * (n.C // n.r) * (n.K // n.g) * n.Q, 49 * n.C // n.r),
        each(n.C // n.r * n.K // n.g * n.Q),
        products(n.C // n.r * n.K * n.Q),
    ],
    g=2,
    r=4,
)
def lambda_layer(x, p, n):
    q = linear(p["q"], x).unflatten(1, (n.g, -1))
    k = linear(p["k_"], x).flatten(2).softmax(2)
    v = linear(p["v"], x)
    content = k @ v.flatten(2).transpose(1, 2)
    position = F.conv2d(v.flatten(0, 1)[:, None], p["position"][:, None], padding=3)
    lambdas = content[..., None, None] + position.unflatten(0, v.shape[:2]).transpose(1, 2)
    return every(torch.einsum("bgmhw,bmdhw->bgdhw", q, lambdas).flatten(1, 2), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.K, 1, at) for at in (n.Q, n.P, n.P)),
        exponentials(n.K * n.P),
        products(n.K * n.K // n.g * (n.P + n.Q)),
        depthwise(n.K, 9, n.Q),
        each(2 * n.K * n.Q),
        conv(n.K, n.K, 1, n.Q),
    ],
    g=2,
)
def factorized_attention(x, p, n):
    q, k, v = (linear(p[name], x) for name in QKV)
    context = heads(k, n.g).softmax(2).transpose(2, 3) @ heads(v, n.g)
    encoding = q * F.conv2d(v, p["u"].reshape(-1, 1, 3, 3), padding=1, groups=n.K)
    return every(linear(p["result"], image(heads(q, n.g) @ context, x) + encoding), n.s)


@reference(
    lambda n: [
        conv(n.C, 1, 1, n.P),
        *(conv(n.C, n.C // n.r, 1, at) for at in (n.P, n.Q)),
        exponentials(n.P),
        products(n.C // n.r * n.P),
        each(2 * n.C // n.r * n.Q),
        conv(n.C // n.r, n.K, 1, n.Q),
    ],
    r=2,
)
def separable_self_attention(x, p, n):
    scores = linear(p["l"], x).flatten(2).softmax(2)
    context = (linear(p["k_"], x).flatten(2) * scores).sum(2)
    return every(linear(p["result"], linear(p["v"], x).relu() * context[:, :, None, None]), n.s)


@reference(
    lambda n: [
        conv(n.C, n.K, 1, n.Q),
        conv(n.C, n.C, n.p**2, n.P // n.p**2),
        *(conv(n.C, n.K, 1, n.P // n.p**2) for _ in "kv"),
        normalised(n.C, n.P // n.p**2),
        products(2 * n.K * n.Q * n.P // n.p**2),
        exponentials(n.g * n.Q * n.P // n.p**2),
        conv(n.K, n.K, 1, n.Q),
    ],
    TILED,
    g=2,
    p=3,
)
def spatial_reduction_attention(x, p, n):
    reduced = F.conv2d(x, p["z"].reshape(n.C, n.C, n.p, n.p), stride=n.p)
    reduced = layer_norm(reduced.transpose(1, 3), p["n1"], p["n"]).transpose(1, 3)
    q, k, v = linear(p["q"], x), linear(p["k_"], reduced), linear(p["v"], reduced)
    y = image(attend(heads(q, n.g), heads(k, n.g), heads(v, n.g)), x)
    return every(linear(p["result"], y), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.K, 1, n.P) for _ in "qkv"),
        products(2 * n.K * n.P * n.p**2),
        exponentials(n.g * n.P * n.p**2),
        conv(n.K, n.K, 1, n.Q),
    ],
    TILED,
    g=2,
    p=3,
)
def window_attention(x, p, n):
    y = x.new_empty(x.shape[0], n.K, *x.shape[2:])
    for top in range(0, x.shape[2], n.p):
        for left in range(0, x.shape[3], n.p):
            tile = x[:, :, top : top + n.p, left : left + n.p]
            q, k, v = (heads(linear(p[name], tile), n.g) for name in QKV)
            y[:, :, top : top + n.p, left : left + n.p] = image(attend(q, k, v), tile)
    return every(linear(p["result"], y), n.s)


@reference(
    lambda n: [
        conv(n.C, 81 * n.g, 1, n.P),
        conv(n.C, n.K, 1, n.P),
        exponentials(81 * n.g * n.P),
        products(81 * n.K * n.P),
        each(9 * n.K * n.P),
        conv(n.K, n.K, 1, n.Q),
    ],
    g=2,
)
def outlook_attention(x, p, n):
    logits = linear(p["a"].flip(1), x).view(-1, n.g, 9, 9, n.P)
    v = windows(linear(p["v"], x), 3).view(-1, n.g, n.K // n.g, 9, n.P)
    y = torch.einsum("bgijn,bgdjn->bgdin", logits.softmax(3), v)
    return every(linear(p["result"], F.fold(y.flatten(1, 3), x.shape[2:], 3, padding=1)), n.s)


def _strip(n):
    """Positions when the rows alone are strided."""
    return -(-n.H // n.s) * n.W


def _axis(n, channels, at_keys, at_queries):
    m = n.g * n.C // n.r
    return [
        conv(channels, m, 1, at_queries),
        conv(channels, m, 1, at_keys),
        conv(channels, n.K, 1, at_keys),
        products(9 * m * at_queries),
        *((2 * 9 * m * at_queries, 9 * m // n.g) for _ in "qk"),
        affine(9 * n.K * at_queries, 9 * n.K // n.g),
        each(2 * 9 * n.g * at_queries),
        exponentials(9 * n.g * at_queries),
        products(9 * n.K * at_queries),
    ]


def _along(x, p, n, axis, names, suffix=""):
    """Position-sensitive attention to 9 neighbours along one axis."""
    padding = (0, 0, 4, 4) if axis == 2 else (4, 4)
    q, k, v = (linear(p[name], x) for name in names)
    k, v = (F.pad(y, padding).unfold(axis, 9, 1).unflatten(1, (n.g, -1)) for y in (k, v))
    q = q.unflatten(1, (n.g, -1))[..., None]
    r_q, r_k = (p[name + suffix].T[:, None, None] for name in ("r_q", "r_k"))
    weights = (q * k + q * r_q + k * r_k).sum(2, keepdim=True).softmax(-1)
    return (weights * (v + p["r_v" + suffix][:, None, None])).sum(-1).flatten(1, 2)


@reference(
    lambda n: _axis(n, n.C, n.P, _strip(n)) + _axis(n, n.K, _strip(n), n.Q),
    g=2,
    r=4,
)
def axial_deeplab(x, p, n):
    return every(_along(_along(x, p, n, 2, QKV), p, n, 3, ("q2", "k2", "v2"), "2"), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.K, 1, at) for at in (n.P, n.P, n.Q)),
        *(unit(n.K * n.P) for _ in "qk"),
        products(n.K * n.K // n.g * (n.P + n.Q)),
        affine(n.K * n.K // n.g, n.g),
        exponentials(n.K * n.K // n.g),
        conv(n.K, n.K, 1, n.Q),
    ],
    g=2,
)
def cross_covariance_attention(x, p, n):
    q, k, v = (
        linear(p[name], x).flatten(2).unflatten(1, (n.g, -1)) for name in QKV
    )  # [batch, head, channel, position]
    a = F.normalize(q, dim=3) @ F.normalize(k, dim=3).transpose(2, 3) * p["t"][:, None, None]
    return every(linear(p["result"], (a.softmax(3) @ v).flatten(1, 2).unflatten(2, x.shape[2:])), n.s)


@reference(
    lambda n: [
        conv(n.C, n.C, 1, n.P),
        conv(n.C, n.C // n.r, 1, n.P),
        exponentials(n.C // n.r * n.P),
        each(2 * n.C // n.r * n.Q),
        conv(n.C // n.r, n.C, 1, n.Q),
        conv(n.C, n.K, 1, n.Q),
    ],
    r=2,
)
def external_attention(x, p, n):
    a = linear(p["k_"], linear(p["q"], x)).flatten(2).softmax(2)
    v = linear(p["v"], a / a.sum(1, keepdim=True))
    return every(linear(p["result"], v).unflatten(2, x.shape[2:]), n.s)


def _line(n, channels, at_keys, at_queries, length):
    return [
        *(conv(channels, n.K, 1, at) for at in (at_queries, at_keys, at_keys)),
        products(2 * n.K * at_queries * length),
        exponentials(n.g * at_queries * length),
        conv(n.K, n.K, 1, at_queries),
    ]


def _columns(x, weights, n):
    """Self-attention within each column of [batch, channels, height, width]."""
    lines = x.transpose(1, 3).flatten(0, 1).transpose(1, 2)  # [batch and width, channels, height]
    q, k, v = (heads(linear(weight, lines), n.g) for weight in weights[:3])
    y = linear(weights[3], attend(q, k, v).transpose(2, 3).flatten(1, 2))
    return y.unflatten(0, (x.shape[0], -1)).permute(0, 2, 3, 1)


@reference(
    lambda n: _line(n, n.C, n.P, _strip(n), n.H) + _line(n, n.K, _strip(n), n.Q, n.W),
    g=2,
)
def axial_attention(x, p, n):
    y = _columns(x, [p[name] for name in (*QKV, "y")], n)
    y = _columns(y.transpose(2, 3), [p[name] for name in ("q2", "k2", "v2", "result")], n).transpose(2, 3)
    return every(y, n.s)
