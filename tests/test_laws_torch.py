"""The laws of emitted PyTorch, each over several hundred sampled kernels: it computes what the interpreter does,
forward and backward, keeps the variance at initialisation, and bears layouts, autocast and other resolutions."""

import random

import numpy as np
import pytest
import torch

from canvas import Layer
from canvas.kernel import module_from_source
from sampled import EVEN, SEED, TIED, Case, Sampled, cases, each, input_shape, one_each, output_shape, population

# These have kinks, or slopes that change by orders of magnitude within a step.
KINKED = {"relu", "abs", "sqrt", "exp", "fold", "norm", "div", "max", "min"}


# Their variance hangs on more than their operands' mean and variance: on tails, or on how alike two operands are.
WILD = {"softmax", "exp", "square", "contract", "mul", "div"}


def scale(values: np.ndarray) -> float:
    return max(1e-30, float(np.abs(values).max()))


def forward(case: Case, dtype: torch.dtype) -> np.ndarray:
    with torch.no_grad():
        return case.module(dtype)(torch.from_numpy(case.x).to(dtype)).double().numpy()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_module_computes_what_the_interpreter_does(dtype, tolerance):
    def check(case: Case) -> None:
        got = forward(case, dtype)
        assert got.shape == case.expected.shape
        # Tails of functions are differences of numbers near one: below this the type has no digits of them.
        error = np.abs(got - case.expected).max() / max(torch.finfo(dtype).eps, scale(case.expected))
        assert error <= tolerance, f"relative error {error:.2e}\n{case.source}"

    each(cases(), check)


def test_the_modules_parameters_are_the_kernels():
    def check(case: Case) -> None:
        shapes = {name: tuple(value.shape) for name, value in case.module().named_parameters()}
        assert shapes == {name: stored for name, _, stored in case.bound.parameters()}
        assert (
            sum(value.size for value in case.parameters.values())
            == sum(map(np.prod, shapes.values()))
            == case.bound.params
        )
        assert all(len(shape) <= 4 for shape in shapes.values())

    each(cases(), check)


def slope(case: Case, direction: dict, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Central difference of the interpreter along a direction in input and parameters, for two steps."""
    results = []
    for sign in (1, -1):
        moved = {name: value + sign * step * direction[name] for name, value in case.parameters.items()}
        results.append(case.bound.interpret(case.x + sign * step * direction["input of the kernel"], moved))
    return (results[0] - results[1]) / (2 * step)


def test_gradients_are_the_interpreters_finite_differences():
    """<gradient, direction> against the interpreter's difference along it; all parameters and the input at once."""

    def check(case: Case) -> None:
        rng = np.random.default_rng(case.x.size)
        module = case.module()
        x = torch.from_numpy(case.x).requires_grad_()
        weight = rng.standard_normal(case.expected.shape)
        (module(x) * torch.from_numpy(weight)).sum().backward()
        stored = dict(module.named_parameters())
        errors = []
        for step in (1e-6, 1e-7, 1e-8):  # a kink inside a larger step is seldom inside a smaller one
            direction = {name: rng.standard_normal(value.shape) for name, value in case.parameters.items()}
            direction["input of the kernel"] = rng.standard_normal(case.x.shape)
            terms = [(x.grad.numpy() * direction["input of the kernel"]).ravel()]
            terms += [
                (stored[name].grad.numpy().reshape(direction[name].shape) * direction[name]).ravel()
                for name in case.parameters
            ]
            expected = float((slope(case, direction, step) * weight).sum())
            got = float(np.concatenate(terms).sum())
            # The mean of a softmax is constant: of such, rounding is all that there is.
            size = float(np.sqrt(sum(np.square(part).sum() for part in terms))) + 1e-5
            errors.append(abs(got - expected) / size)
            if errors[-1] < 1e-4:
                return
        raise AssertionError(f"relative errors {errors}\n{case.source}")

    each(one_each(), check)


def test_autograd_agrees_with_itself_on_smooth_kernels():
    smooth = [case for case in one_each() if not KINKED & set(case.sampled.kernel.primitives)]
    assert len(smooth) >= 200

    def check(case: Case) -> None:
        module = case.module()
        names = list(case.parameters)
        values = [value.detach().requires_grad_() for value in dict(module.named_parameters()).values()]
        own = [name for name, _ in module.named_parameters()]
        assert sorted(own) == sorted(names)
        x = torch.from_numpy(case.x[:1]).requires_grad_()

        def call(x, *values):
            return torch.func.functional_call(module, dict(zip(own, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True, atol=1e-5, rtol=1e-3)

    each(random.Random(SEED).sample(smooth, 200), check)


def flat_cases() -> list[Case]:
    return [case for case in one_each() if len(case.bound.layer.spatial) == 2]


def test_channels_last_changes_nothing():
    def check(case: Case) -> None:
        module = case.module()
        x = torch.from_numpy(case.x).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for run in (module, module.to(memory_format=torch.channels_last)):
                error = np.abs(run(x).numpy() - case.expected).max() / scale(case.expected)
                assert error <= 1e-9, f"relative error {error:.2e}\n{case.source}"

    each(flat_cases(), check)


def test_training_steps_run_under_autocast():
    def check(case: Case) -> None:
        module = module_from_source(case.source)
        x = torch.from_numpy(case.x).float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = module(x)
        result.float().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in (x, *module.parameters()) if p.grad is not None)
        assert all(p.grad is not None for p in module.parameters()), "a parameter without gradient"

    each(one_each(), check)


def test_other_resolutions_run_and_are_right():
    """No sampled kernel has a parameter along a spatial axis or the tokens, so each takes any number of positions.

    Hand-designed ones that have such parameters say so.
    """
    same = 0

    def check(case: Case) -> None:
        nonlocal same
        if "has weights along" in case.source:
            assert case.sampled.origin.startswith("zoo")
            return
        layer = case.bound.layer
        if case.sampled.kernel.name in TIED:
            return
        extents = tuple(extent + (4 if case.sampled.layers is EVEN else 3) for extent in layer.spatial)
        other = Layer(layer.c_in, layer.c_out, extents, layer.stride, tokens=layer.tokens and layer.tokens + 3)
        x = np.random.default_rng(SEED).standard_normal(input_shape(other))
        with torch.no_grad():
            got = case.module()(torch.from_numpy(x)).numpy()
        assert got.shape == output_shape(other)
        bound = case.sampled.kernel.bind([other])[0]
        if bound.sizes == case.bound.sizes:
            same += 1
            expected = bound.interpret(x, case.parameters)
            assert np.abs(got - expected).max() <= 1e-9 * scale(expected), case.source

    each(one_each(), check)
    assert same > 300


def start(sampled: Sampled, layer: Layer) -> float:
    """Standard deviation of the output for unit normal input: of all elements, over two initialisations together."""
    source = sampled.kernel.source(layer)
    squares = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = module_from_source(source)
        with torch.no_grad():
            squares.append(module(torch.randn(8, layer.c_in, *layer.spatial)).var().item())
    return float(np.mean(squares)) ** 0.5


def test_variance_is_kept_at_initialisation():
    """Among kernels without WILD primitives at least 92 % keep the output's deviation within 0.5 to 2, of all 80 %."""
    layers = [Layer(32, 32, (12, 12)), Layer(32, 64, (12, 12), stride=2)]
    flat = [s for s in population() if len(s.layers[0].spatial) == 2 and not s.origin.startswith("unusual")]
    kept = {sampled: 0.5 <= start(sampled, layers[number % 2]) <= 2 for number, sampled in enumerate(flat)}
    tame = [sampled for sampled in flat if not WILD & set(sampled.kernel.primitives)]
    shares = [sum(kept[sampled] for sampled in group) / len(group) for group in (tame, flat)]
    print(f"variance kept: {shares[0]:.3f} of {len(tame)} tame kernels, {shares[1]:.3f} of {len(flat)}, seed {SEED}")
    out = "\n".join(f"{s.origin}\n{s.kernel}" for s in tame if not kept[s])
    assert len(tame) >= 100
    assert shares[0] >= 0.92, f"{shares}\n{out}"
    assert shares[1] >= 0.8, f"{shares}\n{out}"
