"""Every kernel of the zoo is what its paper says: equal to a reference that was written from the paper's formula, in
the interpreter and as a PyTorch module, at the operations and parameters that the formula has."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import canvas
from canvas import Layer
from canvas.hand_designed import entries, read_entry
from canvas.kernel import module_from_source
from sampled import input_shape
from test_binding import substituted
from zoo_reference import Reference, dimensions

REFERENCES: dict[str, Reference] = {
    name: reference
    for file in sorted(Path(__file__).parent.glob("zoo_references_*.py"))
    for name, reference in importlib.import_module(file.stem).REFERENCES.items()
}
CASES = [(name, layer) for name, reference in REFERENCES.items() for layer in reference.layers]


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def test_every_kernel_has_a_reference():
    assert set(REFERENCES) == set(canvas.zoo())


def test_every_kernel_names_its_paper():
    for entry in entries():
        assert entry.name == entry.kernel.name
        assert 1980 <= entry.year <= 2030
        assert entry.summary.endswith(".")
        if identifier := re.fullmatch(r"arXiv (\d\d)(\d\d)\.\d{4,5}", entry.source):
            assert entry.year == 2000 + int(identifier[1])
            assert 1 <= int(identifier[2]) <= 12


def test_no_two_kernels_are_the_same():
    hashes = [entry.kernel.hash for entry in entries()]
    assert len(set(hashes)) == len(hashes)


def test_a_file_without_a_paper_is_refused():
    with pytest.raises(ValueError) as caught:
        read_entry("# Mixes.\nkernel mix(x[C]) -> [K]:\n  return fc(x, [C] -> [K])\n", "mix")
    assert str(caught.value) == (
        "mix.canvas: its first line must be `# title; authors; year; source`, the next one a summary"
    )


def test_the_page_lists_the_zoo():
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, root / "tools" / "zoo_table.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("name", "layer"), CASES, ids=[f"{name}-{layer.c_in}-{layer.c_out}" for name, layer in CASES])
def test_a_kernel_is_what_its_paper_says(name: str, layer: Layer):
    reference = REFERENCES[name]
    kernel = canvas.parse(substituted(canvas.zoo()[name], reference.sizes))
    bound = kernel.bind([layer])[0]
    assert bound.sizes == {}, "the reference gives every dynamic variable a value"
    rng = np.random.default_rng(len(name))
    x = rng.standard_normal(input_shape(layer, batch=2))
    shapes = {name: logical for name, logical, _ in bound.parameters()}
    parameters = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for value in parameters.values():  # divided by the root of the fan-in, more or less: values stay of order 1
        value /= max(1.0, (value.size / value.shape[0]) ** 0.5)
    sizes = dimensions(layer, reference.sizes)
    tensors = {name: torch.from_numpy(value) for name, value in parameters.items()}
    expected = reference.value(torch.from_numpy(x), tensors, sizes).numpy()
    assert np.abs(expected).max() > 0.01, "a value of order 1"
    assert difference(bound.interpret(x, parameters), expected) <= 1e-5
    module = module_from_source(bound.source()).double()
    with torch.no_grad():
        own = dict(module.named_parameters())
        for parameter, _, stored in bound.parameters():
            own[parameter].copy_(tensors[parameter].reshape(stored))
        assert difference(module(torch.from_numpy(x)).numpy(), expected) <= 1e-5
    costs = reference.costs(sizes)
    assert bound.flops == sum(flops for flops, _ in costs)
    assert bound.params == sum(params for _, params in costs)
