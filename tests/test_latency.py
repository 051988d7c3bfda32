"""The protocol of measurement by its parts, the clocks made here where real time would be a matter of luck."""

import math
import multiprocessing
import os
import random
import time

import pytest
import torch
from torch import nn

from canvas import latency, prepared, roofline, zoo
from canvas.backends import BACKENDS
from canvas.errors import ImplausibleTiming, UserError, WrongOutput
from canvas.example import fresh
from canvas.latency import compare, interval
from canvas.layers import replace
from canvas.machine_lock import machine_lock
from canvas.models import resnet8
from canvas.prepared import quickest
from canvas.roofline import fixed_threads, flops, peak_bandwidth, peak_flops

EXAMPLE = torch.zeros(4, 1, 28, 28)
SEPARABLE = zoo()["depthwise_separable"]


class Wait(nn.Module):
    """Takes a known time; cannot be traced (else the wait would happen once, while tracing)."""

    def __init__(self, seconds, wrong=0.0):
        super().__init__()
        self.seconds, self.wrong = seconds, wrong

    def forward(self, x):
        if len(x.shape) > 0:
            time.sleep(self.seconds)
        return x + self.wrong * (not torch.is_inference_mode_enabled())


def test_a_network_that_takes_half_the_time_is_measured_so():
    timing = compare(Wait(0.005), Wait(0.01), EXAMPLE, seconds=0.2)
    assert 0.3 < timing.ratio < 0.8 and timing.ratio_low <= timing.ratio <= timing.ratio_high
    assert 5 <= timing.low_ms <= timing.median_ms <= timing.high_ms and timing.baseline_ms >= 10
    assert (timing.backend, timing.threads, timing.batch) == ("eager", 1, 4)


def test_a_separable_network_is_timed_against_the_dense_one():
    model = resnet8()
    timing = compare(replace(model, SEPARABLE, example=EXAMPLE), model, EXAMPLE, seconds=0.3)
    assert timing.ratio < 1 and timing.median_ms > 0


def test_outputs_are_checked_before_any_time_is_taken():
    with pytest.raises(WrongOutput, match="prepared candidate is off by"):
        compare(Wait(0, wrong=1.0), Wait(0), EXAMPLE)
    with pytest.raises(WrongOutput, match=r"prepared candidate is off by 0\.5"):  # that zeros alone would not show
        compare(Wait(0), Wait(0), EXAMPLE, reference=lambda x: 2 * x)
    with pytest.raises(WrongOutput, match="candidate gives"):
        compare(Wait(0), Wait(0), EXAMPLE, reference=lambda x: x[:1])
    with pytest.raises(WrongOutput, match="not finite"):
        compare(Wait(0), Wait(0), EXAMPLE, reference=lambda x: x * math.nan)


def test_what_only_batch_norms_hold_in_bounds_is_timed_with_their_statistics_set():
    layers = [one for width in (1, 4, 4) for one in (nn.Conv2d(width, 4, 3), nn.BatchNorm2d(4))]
    with torch.no_grad():
        for layer in layers[::2]:
            layer.weight.fill_(1e15)
    bounded = nn.Sequential(*layers).eval()
    assert not bounded(torch.ones(1, 1, 8, 8)).isfinite().all()
    before = {name: value.clone() for name, value in bounded.state_dict().items()}
    compare(bounded, nn.Conv2d(1, 4, 7), torch.randn(2, 1, 8, 8), seconds=0.01)
    assert all(torch.equal(value, before[name]) for name, value in bounded.state_dict().items())
    with pytest.raises(WrongOutput, match="candidate's own output is not finite"):
        compare(nn.Sequential(*layers[::2]).eval(), nn.Conv2d(1, 4, 7), torch.randn(2, 1, 8, 8), seconds=0.01)


def test_a_figure_beyond_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr(roofline, "peak_flops", lambda *_: 1e6)
    with pytest.raises(ImplausibleTiming, match=r"FLOPs: this machine's arithmetic reaches 0.001 GFLOP/s on 1 threads"):
        compare(resnet8(), resnet8(), EXAMPLE, seconds=0.05)


def test_the_peak_is_measured_again_before_a_figure_is_refused(monkeypatch):
    key = ("flops", 1, "cpu", "torch.float32")
    monkeypatch.setattr(roofline, "_SEEN", {key: 1.0})
    compare(resnet8(), resnet8(), EXAMPLE, seconds=0.05)
    assert roofline._SEEN[key] > 1e8


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, 5, padding=2, stride=2, groups=2),
        nn.Conv2d(4, 4, (1, 7), padding=(0, 9), dilation=3),
        nn.Conv1d(4, 6, 4, padding=5, stride=3),
        nn.Conv3d(4, 2, 3),
        nn.ConvTranspose2d(4, 6, 3, padding=1, stride=2, groups=2),
    ],
    ids=str,
)
def test_products_with_padding_need_no_time(monkeypatch, layer):
    monkeypatch.setattr(roofline, "peak_flops", lambda *_: 1.0)
    x = torch.ones(2, 4, *(7,) * (layer.weight.dim() - 2), dtype=torch.float64)
    layer = layer.double().requires_grad_(False)
    layer.weight.fill_(1), layer.bias.fill_(0)
    bound = roofline.floor(layer, x, 1, torch.device("cpu"))
    assert bound.seconds == 2 * layer(x).sum()  # each product is one


def test_writing_takes_its_time_too(monkeypatch):
    class Repeat(nn.Module):
        def forward(self, x):
            return x.expand(4096, *x.shape)

    monkeypatch.setattr(
        roofline, "_SEEN", {("bytes", 1, "cpu", 2**24): 1e3, ("flops", 1, "cpu", "torch.float32"): 1e12}
    )
    bound = roofline.floor(Repeat(), torch.zeros(1024), 1, torch.device("cpu"))
    assert bound.seconds == pytest.approx(4096 * 1024 * 4 / 1e3)
    assert bound.reason == "1.68e+07 bytes of outputs: this machine copies 1e-06 GB/s"


@pytest.mark.parametrize(("noise", "windows"), [(0.01, 1), (0.5, latency.WINDOWS)])
def test_windows_are_added_until_the_interval_is_narrow(monkeypatch, noise, windows):
    draw, counts = random.Random(0), []

    def window(runs, example, generator, rounds, device):
        counts.append(rounds)
        return [draw.uniform(1 - noise, 1 + noise) for _ in range(rounds)], [0.05] * rounds

    monkeypatch.setattr(latency, "_window", window)
    times = latency._measured([], EXAMPLE, None, 20.0, torch.device("cpu"), math.inf)
    assert counts[0] == 3 and len(counts) == 1 + windows
    assert len(times[0]) == len(times[1]) == sum(counts[1:]) and counts[1] >= latency.LEAST_ROUNDS


def test_a_window_in_which_the_machine_was_busier_is_taken_again(monkeypatch):
    baselines = iter([0.05, 0.05, 0.08, 0.05, 0.05, 0.05])
    draw = random.Random(0)

    def window(runs, example, generator, rounds, device):
        baseline = next(baselines)
        return [draw.uniform(0.5, 1.5) * baseline for _ in range(rounds)], [baseline] * rounds

    monkeypatch.setattr(latency, "_window", window)
    _, baseline = latency._measured([], EXAMPLE, None, 1.0, torch.device("cpu"), math.inf)
    assert set(baseline) == {0.05} and next(baselines) == 0.05, (
        "one for warming up, three that count, one that does not"
    )
    assert next(baselines, None) is None


def test_the_baseline_is_prepared_once_while_its_weights_stay(monkeypatch):
    made = []
    prepare = BACKENDS["eager"].prepare
    monkeypatch.setattr(prepared, "_KEPT", {})
    monkeypatch.setattr(BACKENDS["eager"], "prepare", lambda model, x: (made.append(model), prepare(model, x))[1])
    small, baseline, x = nn.Linear(8, 8), nn.Linear(8, 8), torch.randn(4, 8)
    for _ in range(2):
        compare(small, baseline, x, seconds=0.001)
    assert made == [small, baseline, small]
    with torch.no_grad():
        baseline.weight.add_(1)
    timing = compare(small, baseline, x, seconds=0.001)
    assert made[3:] == [small, baseline] and timing.compile_seconds > 0


def test_auto_takes_the_quickest_backend_for_each_and_compiles_nothing_twice(monkeypatch):
    made = []

    class Slow:
        name = "onnxruntime"

        def reset(self):
            pass

        def prepare(self, model, example):
            made.append(model.title)
            seconds = {"dense": 0.0, "slow": 0.02}[model.title]
            return lambda x: (time.sleep(seconds), model(x))[1]

    class Refuses(Slow):
        def prepare(self, model, example):
            raise RuntimeError("not this network")

    class Titled(Wait):
        def __init__(self, title, seconds):
            super().__init__(seconds)
            self.title = title

        def extra_repr(self):
            return self.title

    monkeypatch.setattr(prepared, "_QUICKEST", {})
    monkeypatch.setitem(BACKENDS, "onnxruntime", Slow())
    monkeypatch.setitem(BACKENDS, "openvino", Refuses())
    monkeypatch.setitem(BACKENDS, "native", Refuses())
    monkeypatch.setattr(BACKENDS["eager"], "prepare", lambda model, x: lambda y: (time.sleep(0.01), y)[1])
    timing = compare(Titled("dense", 0.0), Titled("slow", 0.0), EXAMPLE, "auto", seconds=0.05)
    assert (timing.backend, timing.baseline_backend) == ("onnxruntime", "eager") and timing.ratio < 0.5
    assert made == ["dense", "slow"]
    monkeypatch.setitem(BACKENDS, "eager", Refuses())
    monkeypatch.setitem(BACKENDS, "onnxruntime", Refuses())
    with pytest.raises(UserError, match=r"no backend takes the network: eager: .*not this network"):
        quickest(Titled("new", 0.0), EXAMPLE, 1)


def test_waiting_for_the_processor_is_subtracted_and_sleeping_is_not(monkeypatch):
    if not os.path.exists("/proc/thread-self/schedstat"):
        pytest.skip("this system does not tell how long a thread waited")
    cores = os.sched_getaffinity(0)
    hog = multiprocessing.get_context("fork").Process(target=_burn, daemon=True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    try:
        os.sched_setaffinity(0, {min(cores)})
        hog.start()
        start, used = time.perf_counter(), time.thread_time()
        measured = latency.seconds_of(_work, 0.2, torch.device("cpu"))
        wall, used = time.perf_counter() - start, time.thread_time() - used
        assert wall > 0.25 and used <= measured + 1e-3 <= used + 0.02
        assert latency.seconds_of(time.sleep, 0.1, torch.device("cpu")) > 0.09
    finally:
        os.sched_setaffinity(0, cores)
        hog.kill()
        hog.join()


def _burn():
    while True:
        pass


def _work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_inputs_are_new_each_round_and_runs_take_turns():
    seen = []
    runs = [lambda x, which=which: seen.append((which, x)) for which in (0, 1)]
    latency._window(runs, EXAMPLE + 1, torch.Generator(), 4, torch.device("cpu"))
    assert [which for which, _ in seen] == [0, 1, 1, 0, 0, 1, 1, 0]
    inputs = [x for _, x in seen]
    assert all((inputs[i] is inputs[j]) == (i // 2 == j // 2) for i in range(8) for j in range(8))


def test_fresh_inputs_keep_shape_type_spread_and_integers():
    example = {"x": torch.randn(50, 40) * 3 + 7, "ids": torch.arange(12).view(3, 4), "flag": True}
    new = fresh(example, torch.Generator().manual_seed(0))
    assert not torch.equal(new["x"], example["x"]) and abs(float(new["x"].mean()) - 7) < 0.3
    assert abs(float(new["x"].std()) - 3) < 0.3
    assert (
        sorted(new["ids"].flatten().tolist()) == list(range(12)) and new["ids"].shape == (3, 4) and new["flag"] is True
    )


@pytest.mark.parametrize("count", range(1, 60))
def test_the_interval_of_the_median_has_its_confidence(count):
    low, high = interval(list(range(count)))
    k = low + 1
    assert high == count - k  # symmetric
    covered = 1 - 2 * sum(math.comb(count, j) for j in range(k)) / 2**count
    narrower = covered - 2 * math.comb(count, k) / 2**count
    assert (covered >= 0.95 or k == 1) and narrower < 0.95


def test_the_interval_covers_the_true_median():
    draw = random.Random(0)
    hits = 0
    for _ in range(400):
        low, high = interval([draw.expovariate(1) for _ in range(25)])
        hits += low <= math.log(2) <= high
    assert hits >= 0.93 * 400


def test_threads_are_fixed_inside_and_restored_after():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ValueError
    assert torch.get_num_threads() == before


def _hold(path, seconds):
    with machine_lock():
        path.write_text("held")
        time.sleep(seconds)


def test_the_lock_is_held_by_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_hold, args=(tmp_path / "mark", 0.5))
    worker.start()
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    start = time.perf_counter()
    with machine_lock():
        assert time.perf_counter() - start > 0.3
    worker.join()


def test_a_killed_holder_lets_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path / "mark", 60))
    worker.start()
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    worker.kill()
    with machine_lock():
        worker.join()


def test_flops_are_two_for_each_multiply_and_add():
    assert flops(nn.Conv2d(4, 6, 3, padding=1), torch.zeros(2, 4, 5, 5)) == 2 * 2 * 6 * 4 * 9 * 25
    assert flops(nn.Conv2d(4, 4, 3, padding=1, groups=4), torch.zeros(1, 4, 5, 5)) == 2 * 4 * 9 * 25
    assert peak_flops(1, torch.device("cpu")) > 1e8 and peak_bandwidth(1, torch.device("cpu"), 1) > 1e7
