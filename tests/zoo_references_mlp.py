"""The zoo's MLPs over images and their shifts, written again in PyTorch from their papers' formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from canvas import Layer
from zoo_formulas import affine, collector, every, exponentials, linear, products
from zoo_reference import Reference, conv, depthwise, each

REFERENCES: dict[str, Reference] = {}
FIVES = (Layer(10, 12, (7, 5)), Layer(15, 8, (7, 5), stride=2))
SEVENS = (Layer(14, 12, (9, 5)), Layer(7, 8, (5, 8), stride=2))
reference = collector(REFERENCES)


def moved(x, axis, steps):
    """y[i + steps] = x[i], zero elsewhere."""
    y = torch.zeros_like(x)
    length = x.shape[axis] - abs(steps)
    if length > 0:
        y.narrow(axis, max(steps, 0), length).copy_(x.narrow(axis, max(-steps, 0), length))
    return y


@reference(
    lambda n: [
        conv(n.H, n.H, 1, n.C * n.W),
        conv(n.W, n.W, 1, n.C * n.H),
        conv(3 * n.C, n.K, 1, n.Q),
        each(2 * n.K * n.Q),
    ]
)
def sparse_mlp(x, p, n):
    y = torch.cat([p["a"] @ x, x @ p["b"].T, x], 1)
    return every(linear(torch.cat([p["c"], p["d"], p["e"]], 1), y), n.s)


@reference(
    lambda n: [
        conv(n.H * n.C // n.p, n.H * n.C // n.p, 1, n.p * n.W),
        conv(n.W * n.C // n.p, n.W * n.C // n.p, 1, n.p * n.H),
        conv(n.C, n.C, 1, n.P),
        each(2 * n.C * n.P),
        conv(n.C, n.K, 1, n.Q),
    ],
    p=2,
)
def permute_mlp(x, p, n):
    y = x.unflatten(1, (n.p, -1))  # [batch, segment, channel, height, width]
    h = torch.einsum("jdch,bgchw->bgdjw", p["h"], y).flatten(1, 2)
    w = torch.einsum("jdcw,bgchw->bgdhj", p["w"], y).flatten(1, 2)
    return every(linear(p["result"], h + w + linear(p["z"], x)), n.s)


@reference(
    lambda n: [
        conv(n.C, n.C, 1, n.P),
        affine(n.C * n.P, n.C),
        each(n.C * n.P),
        *(conv(n.C, n.C, 1, n.Q) for _ in "cd"),
        *(affine(n.C * n.Q, n.C) for _ in "ef"),
        each(3 * n.C * n.Q),
        conv(n.C, n.K, 1, n.Q),
    ],
    FIVES,
)
def as_mlp(x, p, n):
    def axial(y, axis, weight, addend):
        parts = [moved(part, axis, steps) for part, steps in zip(y.chunk(5, 1), (2, 1, 0, -1, -2), strict=True)]
        return F.gelu(F.conv2d(torch.cat(parts, 1), weight[..., None, None], addend))

    y = F.gelu(F.conv2d(x, p["a"][..., None, None], p["b"]))
    y = axial(y, 3, p["c"], p["e"]) + axial(y, 2, p["d"], p["f"])
    return every(linear(p["result"], y), n.s)


@reference(lambda n: [*(conv(n.C, n.K, 1, n.Q) for _ in "hwc"), each(2 * n.K * n.Q)], SEVENS, n=7)
def cycle_fc(x, p, n):
    def cycle(weight, axis):
        return sum(
            torch.einsum("k,bhw->bkhw", weight[:, channel], moved(x[:, channel], axis - 1, 3 - channel % 7))
            for channel in range(n.C)
        )

    y = cycle(p["h"].reshape(n.K, n.C), 2) + cycle(p["w"].reshape(n.K, n.C), 3) + linear(p["c"], x)
    return every(y, n.s)


@reference(
    lambda n: [
        conv(n.C, 4 * n.e, 1, n.P),
        affine(4 * n.e * n.P, 4 * n.e),
        each(4 * n.e * n.P, 4 * 2 * n.e * n.P),
        conv(4 * n.e, n.K, 1, n.Q),
    ],
    e=3,
)
def s2_mlp(x, p, n):
    x = F.gelu(F.conv2d(x, p["a1"].reshape(4 * n.e, n.C, 1, 1), p["a2"].flatten()))
    y = x.clone()
    y[:, : n.e, 1:] = x[:, : n.e, :-1]
    y[:, n.e : 2 * n.e, :-1] = x[:, n.e : 2 * n.e, 1:]
    y[:, 2 * n.e : 3 * n.e, :, 1:] = x[:, 2 * n.e : 3 * n.e, :, :-1]
    y[:, 3 * n.e :, :, :-1] = x[:, 3 * n.e :, :, 1:]
    return every(linear(p["result"], y), n.s)


@reference(
    lambda n: [
        *(conv(n.C, n.C, 1, n.P) for _ in range(5)),
        each(2 * 8 * n.C * n.P),  # of each wave: the cosine part takes 5 steps, the sine part 3
        *(depthwise(n.C, 7, n.P) for _ in range(4)),
        each(2 * n.C * n.P),
        each(4 * n.C * n.P),
        conv(n.C, n.C // n.r, 1, 1),
        each(n.C // n.r),
        conv(n.C // n.r, 3 * n.C, 1, 1),
        exponentials(3 * n.C),
        products(3 * n.C * n.Q),
        conv(n.C, n.K, 1, n.Q),
    ],
    r=2,
)
def wave_mlp(x, p, n):
    def wave(letter, kernel, padding):
        z, phase = linear(p[letter + "_z"], x), 2 * linear(p[letter + "_phi"], x)
        token = torch.polar(z.abs(), phase + torch.pi * (z < 0))
        real, imaginary = (p[letter + name].reshape(n.C, 1, *kernel) for name in ("_c", "_s"))
        along = {"padding": padding, "groups": n.C}
        return F.conv2d(token.real, real, **along) + F.conv2d(token.imag, imaginary, **along)

    y = torch.stack([wave("h", (7, 1), (3, 0)), wave("w", (1, 7), (0, 3)), linear(p["c"], x)], 1)
    m = F.gelu(F.linear(y.sum(1).mean((2, 3)), p["m"]))
    a = F.linear(m, p["a"].flatten(0, 1)).unflatten(1, (3, -1)).softmax(1)
    return every(linear(p["result"], (y * a[..., None, None]).sum(1)), n.s)
