"""Timing given kernels on several backends: what a row holds, and that what cannot be had is named."""

import torch

import canvas
from canvas import backends
from canvas.bench import bench, fields
from canvas.models import resnet8

EXAMPLE = torch.randn(2, 1, 28, 28)


def test_every_pair_gets_a_timing_or_a_reason(monkeypatch):
    class Broken(backends.Eager):
        name = "broken"

        def prepare(self, model, example):
            raise KeyError("aten.strange")

    monkeypatch.setitem(backends.BACKENDS, "broken", Broken())
    model = resnet8()
    targets = canvas.targets(model, EXAMPLE)
    kernels = {name: canvas.zoo()[name] for name in ("depthwise_separable", "mlp_mixer")}
    told = []
    rows = bench(kernels, model, EXAMPLE, targets, ["eager", "broken"], seconds=0.01, progress=told.append)
    assert rows == told and [(row.kernel, row.backend) for row in rows] == [
        (kernel, backend) for kernel in kernels for backend in ("eager", "broken")
    ]
    timed, refused, *unfit = rows
    assert timed.timing and timed.timing.backend == "eager" and 0 < timed.peak < 1.3
    assert refused.reason == "broken refuses the network: KeyError: 'aten.strange'"
    assert all(row.timing is None and "mlp_mixer" in row.reason for row in unfit)
    first, second, *_ = fields(rows)
    assert first["ratio_to_best"] == first["median_ms"] / first["baseline_ms"]
    assert second == {"kernel": "depthwise_separable", "backend": "broken", "reason": refused.reason}
