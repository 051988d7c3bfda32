"""References for the zoo's convolutions that treat parts of the channels, or branches, each in its own way."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from canvas import Layer
from zoo_reference import EVEN, Reference, conv, conv2d, depthwise, each, filters, point

Values = dict[str, Tensor]
Sizes = SimpleNamespace


def ghost(x: Tensor, p: Values, d: Sizes) -> Tensor:
    intrinsic = conv2d(x, p["a"], d.s)
    return torch.cat([intrinsic, filters(intrinsic, p["b"])], 1)


def fire(x: Tensor, p: Values, d: Sizes) -> Tensor:
    squeezed = point(x, p["a"]).relu()
    return torch.cat([point(squeezed, p["e1"], d.s), conv2d(squeezed, p["e3"], d.s)], 1)


def mixconv(x: Tensor, p: Values, d: Sizes) -> Tensor:
    first, second = x.chunk(2, 1)
    mixed = torch.cat([filters(first, p["b"], d.s), filters(second, p["d"], d.s)], 1)
    return point(mixed, p["result"].flatten(1))


def partial(x: Tensor, p: Values, d: Sizes) -> Tensor:
    part, rest = x.split([d.C // d.n, d.C - d.C // d.n], 1)
    return torch.cat([conv2d(part, p["b"]), rest], 1)


def partial_convolution(x: Tensor, p: Values, d: Sizes) -> Tensor:
    return point(partial(x, p, d), p["result"], d.s)


def fasternet(x: Tensor, p: Values, d: Sizes) -> Tensor:
    wide = point(partial(x, p, d), p["d"].flatten(1), d.s).relu()
    return point(wide, p["y"]) + point(x, p["skip"], d.s)


def inception_next(x: Tensor, p: Values, d: Sizes) -> Tensor:
    part = d.C // d.n
    square, row, column, rest = x.split([part, part, part, d.C - 3 * part], 1)
    branches = [filters(square, p["b"]), filters(row, p["d"][:, None]), filters(column, p["e"][..., None]), rest]
    return point(torch.cat(branches, 1), p["result"].flatten(1), d.s)


def res2net(x: Tensor, p: Values, d: Sizes) -> Tensor:
    parts = point(x, p["a"].flatten(0, 1)).relu().chunk(4, 1)
    done = [parts[0], conv2d(parts[1], p["f2"]).relu()]
    done.append(conv2d(parts[2] + done[-1], p["f3"]).relu())
    done.append(conv2d(parts[3] + done[-1], p["f4"]).relu())
    return point(torch.cat(done, 1), p["y"].flatten(1), d.s) + point(x, p["skip"], d.s)


def octave(x: Tensor, p: Values, d: Sizes) -> Tensor:
    high, low = x[:, : d.C // 2], F.avg_pool2d(x[:, d.C // 2 :], 2)
    from_low = F.interpolate(conv2d(low, p["lh"], d.s), scale_factor=2)
    y_high = conv2d(high, p["hh"], d.s) + from_low
    y_low = conv2d(low, p["ll"], d.s) + conv2d(F.avg_pool2d(high, 2), p["hl"], d.s)
    return torch.cat([y_high, F.interpolate(y_low, scale_factor=2)], 1)


def cbam(x: Tensor, p: Values, d: Sizes) -> Tensor:
    y = conv2d(x, p["y"], d.s)
    pooled = [F.adaptive_avg_pool2d(y, 1), F.adaptive_max_pool2d(y, 1)]
    y = y * sum(point(point(m, p["a"]).relu(), p["b"]) for m in pooled).sigmoid()
    maps = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)
    return y * conv2d(maps, p["c"][None]).sigmoid()


def selective_kernel(x: Tensor, p: Values, d: Sizes) -> Tensor:
    small = conv2d(x, p["a"], d.s).relu()
    large = conv2d(x, p["b"], d.s, dilation=2).relu()
    z = point(F.adaptive_avg_pool2d(small + large, 1), p["z"]).relu()
    a, b = (point(z, p["l"][n]).exp() for n in (0, 1))
    return small * (a / (a + b)) + large * (b / (a + b))


REFERENCES = {
    "ghost": Reference(ghost, lambda d: [conv(d.C, d.K // 2, 9, d.Q), depthwise(d.K // 2, 9, d.Q)]),
    "fire": Reference(
        fire,
        lambda d: [
            conv(d.C, d.K // d.r, 1, d.P),
            each(d.K // d.r * d.P),
            conv(d.K // d.r, d.K // 2, 1 + 9, d.Q),
        ],
        {"r": 4},
    ),
    "mixconv": Reference(mixconv, lambda d: [depthwise(d.C // 2, 9 + 25, d.Q), conv(d.C, d.K, 1, d.Q)]),
    "partial_convolution": Reference(
        partial_convolution,
        lambda d: [conv(d.C // d.n, d.C // d.n, 9, d.P), conv(d.C, d.K, 1, d.Q)],
        {"n": 4},
    ),
    "fasternet": Reference(
        fasternet,
        lambda d: [
            conv(d.C // d.n, d.C // d.n, 9, d.P),
            conv(d.C, 2 * d.C, 1, d.Q),
            conv(2 * d.C, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each(2 * d.C * d.Q, d.K * d.Q),
        ],
        {"n": 4},
    ),
    "inception_next": Reference(
        inception_next,
        lambda d: [depthwise(d.C // d.n, 9 + 11 + 11, d.P), conv(d.C, d.K, 1, d.Q)],
        {"n": 8},
        (Layer(16, 12, (7, 5)), Layer(8, 16, (7, 5), stride=2)),
    ),
    "res2net": Reference(
        res2net,
        lambda d: [
            conv(d.C, 4 * d.K // d.r, 1, d.P),
            *3 * [conv(d.K // d.r, d.K // d.r, 9, d.P)],
            conv(4 * d.K // d.r, d.K, 1, d.Q),
            conv(d.C, d.K, 1, d.Q),
            each((4 + 3 + 2) * d.K // d.r * d.P, d.K * d.Q),
        ],
        {"r": 4},
    ),
    "octave": Reference(
        octave,
        lambda d: [
            each(d.C * d.P),
            conv(d.C // 2, d.K // 2, 9, d.Q),
            *3 * [conv(d.C // 2, d.K // 2, 9, d.Q // 4)],
            each(d.K // 2 * d.Q, d.K // 2 * d.Q // 4),
        ],
        layers=EVEN,
    ),
    "cbam": Reference(
        cbam,
        lambda d: [
            conv(d.C, d.K, 9, d.Q),
            each(2 * d.K * d.Q),
            conv(d.K, d.K // d.r, 1, 2),
            conv(d.K // d.r, d.K, 1, 2),
            each(2 * d.K // d.r, 2 * d.K, d.K, d.K * d.Q),
            each(2 * d.K * d.Q),
            conv(2, 1, 49, d.Q),
            each(d.Q, d.K * d.Q),
        ],
        {"r": 2},
    ),
    "selective_kernel": Reference(
        selective_kernel,
        lambda d: [
            *2 * [conv(d.C, d.K, 9, d.Q)],
            each(2 * d.K * d.Q, 2 * d.K * d.Q, d.K * d.Q),
            conv(d.K, d.K // d.r, 1, 1),
            conv(d.K // d.r, 2 * d.K, 1, 1),
            each(d.K // d.r, 5 * 2 * d.K, 2 * 2 * d.K * d.Q),
        ],
        {"r": 2},
    ),
}
