"""The zoo's linear layers: structured weights, which are put together here as one matrix, and gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from canvas import Layer
from zoo_formulas import affine, collector, exponentials, products
from zoo_reference import Reference, conv, each

REFERENCES: dict[str, Reference] = {}
reference = collector(REFERENCES, (Layer(8, 12, ()), Layer(12, 8, ())))


@reference(lambda n: [conv(n.C, n.C // n.r, 1, 1), conv(n.C // n.r, n.K, 1, 1)], r=2)
def low_rank_linear(x, p, n):
    return x @ (p["result"] @ p["a"]).T


@reference(lambda n: [conv(n.C, n.K, 1, 1, groups=n.g)], g=2)
def block_diagonal_linear(x, p, n):
    return x @ torch.block_diag(*p["z"]).T


@reference(lambda n: [conv(n.C, n.g * n.b, 1, 1, groups=n.g), conv(n.g * n.b, n.K, 1, 1, groups=n.b)], g=4, b=2)
def monarch(x, p, n):
    order = torch.arange(n.g * n.b).view(n.g, n.b).T.flatten()  # the transpose of a g x b matrix
    last = torch.arange(n.K).view(n.b, n.K // n.b).T.flatten()
    permutation, back = torch.eye(n.g * n.b, dtype=x.dtype)[order], torch.eye(n.K, dtype=x.dtype)[last]
    return x @ (back @ torch.block_diag(*p["u"]) @ permutation @ torch.block_diag(*p["z"])).T


@reference(
    lambda n: [conv(n.a, n.c, 1, n.C // n.a), conv(n.C // n.a, n.K // n.c, 1, n.c)],
    a=4,
    c=2,
)
def kronecker_linear(x, p, n):
    return x @ torch.kron(p["z"], p["u"]).T


@reference(
    lambda n: [conv(n.a, n.c * n.r, 1, n.C // n.a), conv(n.r * n.C // n.a, n.K // n.c, 1, n.c)],
    a=4,
    c=2,
    r=3,
)
def tensor_train_linear(x, p, n):
    return x @ torch.einsum("cra,drb->cdab", p["z"], p["u"]).reshape(n.K, n.C).T


@reference(lambda n: [*(conv(n.C, n.K, 1, 1) for _ in "ac"), *(affine(n.K, n.K) for _ in "bd"), each(2 * n.K)])
def gated_linear_unit(x, p, n):
    return F.glu(F.linear(x, torch.cat([p["a"], p["c"]]), torch.cat([p["b"], p["d"]])))


@reference(lambda n: [*(conv(n.C, n.e, 1, 1) for _ in "ab"), each(2 * n.e), conv(n.e, n.K, 1, 1)], e=5)
def swiglu(x, p, n):
    return F.linear(F.silu(F.linear(x, p["a"])) * F.linear(x, p["b"]), p["result"])


@reference(lambda n: [conv(n.C, n.p * n.K, 1, 1), affine(n.p * n.K, n.p * n.K), each(n.p * n.K)], p=3)
def maxout(x, p, n):
    return F.linear(x, p["a"].flatten(0, 1), p["b"].flatten()).unflatten(1, (n.p, -1)).amax(1)


@reference(
    lambda n: [conv(n.C, n.p, 1, 1), conv(n.C, n.p * n.K, 1, 1), exponentials(n.p), products(n.p * n.K)],
    p=3,
)
def mixture_of_experts(x, p, n):
    experts = torch.stack([F.linear(x, weight) for weight in p["b"]], 1)
    return (F.linear(x, p["a"]).softmax(1)[..., None] * experts).sum(1)
