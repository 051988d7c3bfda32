"""The zoo's token mixers, written again in PyTorch from their papers' formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from canvas import Layer
from zoo_formulas import QKV, affine, attend, collector, exponentials, layer_norm, normalised, products, unit
from zoo_reference import Reference, conv, each

REFERENCES: dict[str, Reference] = {}
TOKENS = (Layer(8, 12, tokens=7), Layer(12, 8, tokens=6))
reference = collector(REFERENCES, TOKENS)


def full(weight, x):
    """Weights [*out, *in] applied to the last axis."""
    return F.linear(x, weight.reshape(-1, x.shape[-1]))


def heads(weight, x, count):
    """[batch, heads, tokens, channels of a head]."""
    return full(weight, x).unflatten(2, (count, -1)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


def qkv(n, *widths):
    return [conv(n.C, width, 1, n.T) for width in widths or (n.K, n.K, n.K)]


def attention(n, queries, keys):
    return [products(2 * n.K * queries * keys), exponentials(n.g * queries * keys)]


@reference(lambda n: [*qkv(n), *attention(n, n.T, n.T), conv(n.K, n.K, 1, n.T)], g=2)
def multi_head_attention(x, p, n):
    return full(p["result"], joined(attend(*(heads(p[name], x, n.g) for name in QKV))))


@reference(lambda n: [*qkv(n, n.K, n.K // n.g, n.K // n.g), *attention(n, n.T, n.T), conv(n.K, n.K, 1, n.T)], g=2)
def multi_query_attention(x, p, n):
    q, k, v = heads(p["q"], x, n.g), heads(p["k_"], x, 1), heads(p["v"], x, 1)
    return full(p["result"], joined(attend(q, k.expand_as(q), v.expand_as(q))))


@reference(
    lambda n: [
        *qkv(n, n.K, n.K // n.j, n.K // n.j),
        products(2 * n.K * n.T * n.T),
        exponentials(n.g * n.j * n.T * n.T),
        conv(n.K, n.K, 1, n.T),
    ],
    g=2,
    j=2,
)
def grouped_query_attention(x, p, n):
    q, k, v = heads(p["q"], x, n.g * n.j), heads(p["k_"], x, n.g), heads(p["v"], x, n.g)
    y = F.scaled_dot_product_attention(q, k, v, scale=1.0, enable_gqa=True)
    return full(p["result"], joined(y))


@reference(
    lambda n: [
        *qkv(n),
        *attention(n, n.T, n.T),
        *(conv(n.g, n.g, 1, n.T * n.T) for _ in "lw"),
        conv(n.K, n.K, 1, n.T),
    ],
    g=2,
)
def talking_heads_attention(x, p, n):
    q, k, v = (heads(p[name], x, n.g) for name in QKV)
    logits = torch.einsum("hg,bgtu->bhtu", p["l"], q @ k.transpose(2, 3))
    weights = torch.einsum("hg,bgtu->bhtu", p["w"], logits.softmax(3))
    return full(p["result"], joined(weights @ v))


@reference(
    lambda n: [
        *qkv(n),
        each(2 * 4 * n.K * n.T),  # elu + 1: relu, difference, exponential, sum
        products(2 * n.K * n.K // n.g * n.T, n.K * n.T),
        each(n.K * n.T, n.K * n.T),
        conv(n.K, n.K, 1, n.T),
    ],
    g=2,
)
def linear_attention(x, p, n):
    q, k, v = (heads(p[name], x, n.g) for name in QKV)
    weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(2, 3)
    return full(p["result"], joined(weights / weights.sum(3, keepdim=True) @ v))


@reference(lambda n: [*qkv(n), *(unit(n.K * n.T) for _ in "qk"), products(n.K * n.T), each(n.K * n.T)])
def hydra_attention(x, p, n):
    q, k, v = (full(p[name], x) for name in QKV)
    return F.normalize(q, dim=2) * (F.normalize(k, dim=2) * v).sum(1, keepdim=True)


@reference(
    lambda n: [
        conv(n.C, n.K, 1, n.T),
        each(n.K * n.T),
        conv(n.K, n.g * n.T, 1, n.T, groups=n.g),
        conv(n.C, n.K, 1, n.T),
        exponentials(n.g * n.T * n.T),
        products(n.K * n.T * n.T),
        conv(n.K, n.K, 1, n.T),
    ],
    g=2,
)
def synthesizer(x, p, n):
    rows = torch.einsum("gum,bgtm->bgtu", p["b"], heads(p["a"], x, n.g).relu())
    return full(p["result"], joined(rows.softmax(3) @ heads(p["v"], x, n.g)))


@reference(
    lambda n: [
        *qkv(n, n.e, n.e, n.C // n.r),
        each(2 * n.e * n.T, n.C // n.r * n.T),
        *(affine(n.C // n.r * n.T, n.C // n.r) for _ in range(4)),
        products(n.C // n.r * n.T * n.T),
        each(2 * n.T * n.T),
        products(n.e * n.T * n.T),
        each(n.e * n.T),
        conv(n.e, n.K, 1, n.T),
    ],
    e=7,
    r=4,  # with these numbers the squared relu is neither 0 nor positive everywhere
)
def gated_attention_unit(x, p, n):
    u, v, z = (F.silu(full(p[name], x)) for name in "uvw")
    q, k = z * p["q1"] + p["q"], z * p["k1"] + p["k_"]
    return full(p["result"], u * ((q @ k.transpose(1, 2)).relu() ** 2 @ v))


@reference(lambda n: [*qkv(n), exponentials(n.K * n.T), products(n.K * n.T), each(2 * n.K * n.T)])
def aft_simple(x, p, n):
    q, k, v = (full(p[name], x) for name in QKV)
    return q.sigmoid() * (k.exp() * v).sum(1, keepdim=True) / k.exp().sum(1, keepdim=True)


@reference(
    lambda n: [
        *qkv(n),
        *(conv(n.K, n.g, 1, n.T, groups=n.g) for _ in "ab"),
        exponentials(2 * n.g * n.T),
        products(2 * n.K * n.T),
        each(2 * n.K * n.T),
        conv(n.K, n.K, 1, n.T),
        each(n.K * n.T),
    ],
    g=2,
)
def fastformer(x, p, n):
    q, k, v = (heads(p[name], x, n.g) for name in QKV)
    alpha = (q * p["a"][:, None]).sum(3, keepdim=True).softmax(2)
    products = (alpha * q).sum(2, keepdim=True) * k
    beta = (products * p["b"][:, None]).sum(3, keepdim=True).softmax(2)
    return full(p["r"], joined((beta * products).sum(2, keepdim=True) * v)) + joined(q)


@reference(
    lambda n: [
        *qkv(n),
        *(conv(n.T, n.T // n.r, 1, n.K) for _ in "ef"),
        *attention(n, n.T, n.T // n.r),
        conv(n.K, n.K, 1, n.T),
    ],
    (Layer(8, 12, tokens=9), Layer(12, 8, tokens=6)),
    g=2,
    r=3,
)
def linformer(x, p, n):
    q, k, v = (heads(p[name], x, n.g) for name in QKV)
    return full(p["result"], joined(attend(q, p["e"] @ k, p["f"] @ v)))


@reference(
    lambda n: [
        *qkv(n, n.K, n.K),
        each(2 * n.K * n.T),
        conv(n.K, 7 * n.g, 1, n.T),
        exponentials(7 * n.g * n.T),
        products(7 * n.K * n.T),
        conv(n.K, n.K, 1, n.T),
    ],
    g=2,
)
def token_dynamic_convolution(x, p, n):
    y = F.glu(torch.cat([full(p["a"], x), full(p["b"], x)], 2), 2)
    filters = full(p["f"], y).unflatten(2, (n.g, 7)).softmax(3)
    around = F.pad(y, (0, 0, 3, 3)).unfold(1, 7, 1).unflatten(2, (n.g, -1))  # [batch, token, head, channel, 7]
    return full(p["result"], (around * filters[:, :, :, None]).sum(4).flatten(2))


@reference(
    lambda n: [
        normalised(n.C, n.T),
        conv(n.T, n.d, 1, n.C),
        each(n.d * n.C),
        conv(n.d, n.T, 1, n.C),
        each(n.C * n.T),
        normalised(n.C, n.T),
        conv(n.C, n.e, 1, n.T),
        each(n.e * n.T),
        conv(n.e, n.K, 1, n.T),
    ],
    d=5,
    e=9,
)
def mlp_mixer(x, p, n):
    y = layer_norm(x, p["n1"], p["n"])
    u = x + p["b"] @ F.gelu(p["a"] @ y)
    return full(p["result"], F.gelu(full(p["c"], layer_norm(u, p["o1"], p["o"]))))


@reference(
    lambda n: [
        *(affine(n.C * n.T, n.C) for _ in range(6)),
        conv(n.T, n.T, 1, n.C),
        each(n.C * n.T),
        conv(n.C, n.m, 1, n.T),
        each(n.m * n.T),
        conv(n.m, n.K, 1, n.T),
        *(affine(n.K * n.T, n.K) for _ in range(2)),
    ],
    m=9,
)
def resmlp(x, p, n):
    def affinely(y, number):
        return y * p[f"a{number}"] + p[f"b{number}" if number < 4 else "result"]

    z = x + affinely(p["a"] @ affinely(x, 1), 2)
    return affinely(full(p["c"], F.gelu(full(p["b"], affinely(z, 3)))), 4)


@reference(
    lambda n: [
        *qkv(n, n.e, n.e),
        each(2 * n.e * n.T),
        normalised(n.e, n.T),
        conv(n.T, n.T, 1, n.e),
        affine(n.e * n.T, n.T),
        each(n.e * n.T),
        conv(n.e, n.K, 1, n.T),
    ],
    e=5,
)
def spatial_gating_unit(x, p, n):
    z1, z2 = F.gelu(full(torch.cat([p["u"], p["v"]]), x)).chunk(2, 2)
    gate = p["f"] @ layer_norm(z2, p["n1"], p["n"]) + p["b"][:, None]
    return full(p["result"], z1 * gate)
