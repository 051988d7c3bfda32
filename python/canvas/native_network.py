"""A whole network as one piece of native code: traced, put together from core forms, compiled, run by one call.

The backend "native" uses it where it applies, and `canvas.export` writes it as a C++ project. `trace` refuses with
`Unsupported`, by name, what it cannot turn; then kernels are compiled one by one (`native`) and PyTorch runs the rest.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from canvas import _core, native_compiler, native_tuner
from canvas.errors import UserError
from canvas.native import Compiled, kernel_of
from canvas.native_layers import TABLE
from canvas.native_values import Layers, Value
from canvas.onnx_graph import Graph, Unsupported, record
from canvas.onnx_table import TABLE as FUNCTIONS

FEW = 4  # an input of no more channels may lie as PyTorch stores it
IMAGES = 61, 67  # of a trace and of a second one: sizes that no layer is likely to have


@dataclass
class Written:
    """A network as source.

    Attributes:
        source: C++.
        parameters: what `prepare` takes, in order.
        constants: floats that `prepare` fills.
        scratch: floats for each thread.
        cycles: about how many an image takes, and a run besides.
        inputs: shape of an image.
        outputs: shape of a result.
        last: whether channels are the last axis of input and output in memory.
    """

    source: str
    parameters: list[Tensor]
    constants: int
    scratch: int
    cycles: tuple[float, float]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    last: tuple[bool, bool]


class _Leaf(nn.Module):
    """Stands for a kernel's module in a traced network."""

    graph: Graph  # of the trace that is under way

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        _, self.sizes = kernel_of(module)

    def forward(self, x: Tensor) -> Tensor:
        sizes, given = self.sizes, self.graph.operand(x)
        have = self.graph.shapes[given]
        spatial = [name for name in "DHW" if name in sizes]
        if spatial:
            stride = sizes.get("s", 1)
            wanted = (sizes["C"], *(sizes[name] for name in spatial))
            shape = (have[0], sizes["K"], *(-(-sizes[name] // stride) for name in spatial))
        else:
            wanted = (*((sizes["T"],) if "T" in sizes else have[1:-1]), sizes["C"])
            shape = (*have[:-1], sizes["K"])
        if have[1:] != wanted:
            raise Unsupported(f"{self.name}: a kernel for inputs of shape {list(wanted)}, given {list(have[1:])}")
        made = torch.empty(shape, device="meta")
        self.graph.give(made, self.graph.node("Kernel", given, module=self.name))
        return made


def _kernel(at: Layers, x: Value, module: nn.Module, name: str) -> Value:
    kernel, sizes = kernel_of(module)
    spatial = [letter for letter in "DHW" if letter in sizes]
    first = bool(spatial)  # channels come first
    count = 1 + (len(spatial) if first else "T" in sizes)
    dims = list(x.dims) if first else list(x.dims[len(x.dims) - count :])
    number = x.number
    for index, axis in enumerate(dims):  # a kernel's axes are all there, those of one element too
        if axis is None:
            dims[index] = (f"one{number}_{index}", 1, "channel" if index == (0 if first else count - 1) else "spatial")
            if not x.names:
                raise Unsupported(f"{name}: a single number as input")
            other = next(axis for axis in x.dims if axis)
            number = at.network.view(number, [other[0]], [dims[index], other])
    stride = sizes.get("s", 1) if first else 1
    made: list[Any] = []
    for index, axis in enumerate(dims):
        assert axis is not None
        channel = index == (0 if first else count - 1)
        made.append(
            (f"k{number}_{index}", sizes["K"], "channel") if channel else (axis[0], -(-axis[1] // stride), axis[2])
        )
    prefix = f"{name}." if name else ""
    number = at.network.kernel(
        kernel, sizes, number, [axis[0] for axis in dims if axis], [axis[0] for axis in made], prefix
    )
    at.parameters |= {f"{prefix}{key}": value.detach() for key, value in module.named_parameters()}
    for index, axis in enumerate(made):
        if axis[1] == 1:
            number, made[index] = at.network.pick(number, axis[0], 0), None
    return Value(number, tuple(made) if first else (*x.dims[: len(x.dims) - count], *made))


def _one(kind: str) -> Callable[..., str]:
    return lambda graph, result, x, *_, **named: str(graph.node(kind, graph.operand(x)))


def _gelu(graph: Graph, result: Tensor, x: Tensor, approximate: str = "none") -> str:
    if approximate != "none":
        raise Unsupported("gelu by tanh")
    return str(graph.node("Gelu", graph.operand(x)))


OWN = FUNCTIONS | {"gelu": _gelu, "silu": _one("Silu")}  # what native code has a function for


def write(
    model: nn.Module,
    example: Tensor,
    channels_last: bool = True,
    threads: int = 1,
    tune: bool = False,
    precision: str = "fp32",
    machine: native_compiler.Target | None = None,
) -> Written:
    """The network as C++ source.

    Args:
        model: with or without kernels in it; left as it is.
        example: an input; the code takes any number of images of this shape.
        channels_last: outputs with positions lie channels last, and so do inputs of more than a few channels if the
            example does; else both lie as PyTorch stores them.
        threads: among which the example's images are likely to be shared out; any number will do.
        tune: variants are timed, see `native_tuner`; else what was chosen before serves, or a first guess.
        precision: see `native_compiler.reads_bf16`.
        machine: that the code is for, if not this one.

    Returns:
        The source and what it needs.

    Raises:
        Unsupported: the network does what native code lacks; the message names it.

    Example:
        >>> write(resnet8(), torch.zeros(1, 1, 28, 28)).outputs
        (10,)
    """
    if example.dim() < 2 or example.dtype != torch.float32 or example.device.type != "cpu":
        raise Unsupported("an input other than float32 numbers with a batch, on the CPU")
    graph, output, leaves = _traced(model, example[:1])
    planes = not channels_last or (example.dim() == 4 and not example.is_contiguous(memory_format=torch.channels_last))
    share = max(1, example.shape[0] // threads), threads if example.shape[0] < threads else 2
    last = not planes, channels_last
    machine = machine or native_compiler.target()
    machine = dataclasses.replace(machine, bf16=native_compiler.reads_bf16(precision, machine))
    emit = _translated(graph, output, leaves, last, share, machine)
    return native_tuner.chosen(emit, example.shape[0], threads, tune)


def _traced(model: nn.Module, image: Tensor) -> tuple[Graph, str, dict[str, nn.Module]]:
    """The network's graph, the name of its output, and the kernels' modules by their names."""
    twin, leaves = nn.Sequential(copy.deepcopy(model)), {}
    for parent in list(twin.modules()):
        for name, child in parent._modules.items():
            if child is not None and hasattr(type(child), "source"):
                place = next(key for key, module in twin.named_modules() if module is child).partition(".")[2]
                leaves[place] = child
                parent._modules[name] = _Leaf(place, child)
    graphs = []
    for images in IMAGES:
        graph = Graph(images)
        for module in twin.modules():
            if isinstance(module, _Leaf):
                module.graph = graph
        outputs = record(graph, twin, [image.expand(images, *image.shape[1:])], ["input"], OWN)
        if len(outputs) != 1:
            raise Unsupported("several outputs")
        graphs.append(graph)
        if not graph.counted:
            break
    if len(graphs) > 1 and not _alike(*graphs):
        raise Unsupported("a use of the number of images other than as a size")
    return graphs[0], outputs[0], leaves


def _alike(one: Graph, other: Graph) -> bool:
    """Whether graphs differ only in the number of images, where it is the first size of a reshaped value."""
    if one.nodes != other.nodes or one.constants.keys() != other.constants.keys():
        return False

    def same(name: str, size: bool) -> bool:
        a, b = one.constants[name], other.constants[name]
        if size and (int(a[0]), int(b[0])) == (one.images, other.images):
            a, b = a[1:], b[1:]
        return a.data_ptr() == b.data_ptr() or torch.equal(a, b)

    return all(
        same(name, kind == "Reshape") for kind, operands, *_ in one.nodes for name in operands if name in one.constants
    )


def _translated(
    graph: Graph,
    output: str,
    leaves: dict[str, nn.Module],
    last: tuple[bool, bool],
    share: tuple[int, int],  # images that a thread is given, threads that are given one
    machine: native_compiler.Target,
) -> Callable[[native_tuner.Choices], Written]:
    """What writes the network's source, given choices."""
    images, *sizes = graph.shapes["input"]
    rank = len(sizes)
    first = rank > 2  # channels are the first of its dimensions, else the last
    dims = tuple(
        None if size == 1 else (f"x{index}", size, "channel" if index == (0 if first else rank - 1) else "spatial")
        for index, size in enumerate(sizes)
    )
    x = Value(0, dims)
    last_in = last[0] and first and sizes[0] > FEW
    order = [axis for axis in ((*dims[1:], dims[0]) if last_in else dims) if axis]
    at = Layers(_core.NativeNetwork(order), images)
    values: dict[str, Value] = {"input": x}
    for kind, given, made, attributes in _needed(graph, output):
        operands: list[Any] = [values[name] if name in values else graph.constants[name] for name in given]
        try:
            if kind == "Kernel":
                name = attributes["module"]
                values[made[0]] = _kernel(at, operands[0], leaves[name], name)
            elif kind == "Split":
                values |= zip(made, _split(at, *operands, **attributes), strict=True)
            elif kind not in TABLE:
                raise Unsupported(f"layer {kind}")
            else:
                values[made[0]] = TABLE[kind](at, *operands, **attributes)
                if graph.shapes.get(made[0], wanted := (images, *values[made[0]].shape)) != wanted:
                    raise Unsupported(f"layer {kind}: images that are no longer the first dimension")
        except (ValueError, AttributeError, TypeError, IndexError) as error:  # operands that it does not take
            raise Unsupported(f"layer {kind}: {error}") from error
    result = values[output]
    last_out = last[1] and len(result.dims) > 2
    ends = (*result.dims[1:], result.dims[0]) if last_out else result.dims
    names = [axis[0] for axis in ends if axis]
    shapes = tuple(sizes), result.shape, (last_in, last_out)

    def emit(choices: native_tuner.Choices) -> Written:
        try:
            text, parameters, constants, scratch, cycles = at.network.source(
                result.number, names, machine.width, machine.registers, *share, choices, machine.bf16
            )
        except ValueError as error:
            if choices:  # they may be wrong
                raise
            raise Unsupported(str(error)) from error
        stored = [at.parameters[name].float().cpu().contiguous() for name in parameters]
        return Written(text, stored, constants, scratch, cycles, *shapes)

    return emit


def _split(at: Layers, x: Value, sizes: Tensor, *, axis: int) -> list[Value]:
    starts = torch.cumsum(sizes, 0) - sizes
    one, dim = torch.ones(1, dtype=torch.int64), torch.tensor([axis])
    return [
        TABLE["Slice"](at, x, start[None], (start + size)[None], dim, one)
        for start, size in zip(starts, sizes, strict=True)
    ]


def _needed(graph: Graph, output: str) -> list[Any]:
    used, nodes = {output}, []
    for node in reversed(graph.nodes):
        if not used.isdisjoint(node[2]):
            used.update(node[1])
            nodes.append(node)
    return nodes[::-1]


class NativeNetwork:
    """A network that is compiled and ready to run, with the weights that it has then. Threads may call it at once.

    Args:
        model: any network of a single input and a single output. What it does must not depend on how many images there
            are: one that computes with their number is refused, but a branch that a few take and many do not is lost.
        example: an input. Those that lie as it does, in planes or channels last, are taken as they lie.
        tune: variants are timed to find the quickest, which takes seconds; what is found is kept for this machine.
        precision: "fp32" or "bf16", see `native_compiler.reads_bf16`.

    Raises:
        Unsupported: see `write`.
        UserError: there is no compiler, or no such precision here; at a call: an input of another shape.

    Example:
        >>> NativeNetwork(resnet8().eval(), torch.zeros(1, 1, 28, 28))(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 10])
    """

    def __init__(self, model: nn.Module, example: Tensor, tune: bool = False, precision: str = "fp32") -> None:
        self.written = write(model, example, threads=torch.get_num_threads(), tune=tune, precision=precision)
        made = self.written
        self.compiled = Compiled(made.source, made.parameters, made.constants, made.scratch)
        # Shape and strides of inputs that are taken as they lie, and those of what is made of them.
        self.lie: tuple[tuple[Any, ...], tuple[tuple[int, ...], tuple[int, ...]]] = (), ((), ())

    def __call__(self, x: Tensor) -> Tensor:
        # With cold caches each step in PyTorch costs microseconds: what was seen before is hardly looked at.
        taken, made = self.lie  # at once: other threads may call with other shapes
        if (x.shape, x.stride()) != taken or x.dtype is not torch.float32 or not x.is_cpu:
            x, made = self._taken(x)
        y = torch.empty_strided(*made)
        self.compiled.run(x, None, y, made[0][0])
        return y

    def _taken(self, x: Tensor) -> tuple[Tensor, tuple[tuple[int, ...], tuple[int, ...]]]:
        """The input as the code reads it, copied where it lies otherwise; shape and strides of the output."""
        made = self.written
        if x.shape[1:] != made.inputs:
            raise UserError(f"native code: was made for inputs of shape {['N', *made.inputs]}, got {list(x.shape)}")
        if x.dtype != torch.float32 or not x.is_cpu:
            raise UserError(f"native code: takes float32 on the CPU, got {x.dtype} on {x.device}")
        taken = x.movedim(1, -1).contiguous().movedim(-1, 1) if made.last[0] else x.contiguous()
        lie = (*made.outputs[1:], made.outputs[0]) if made.last[1] else made.outputs
        strides = [math.prod(lie[at + 1 :]) for at in range(len(lie))]
        if made.last[1]:
            strides.insert(0, strides.pop())
        output = (x.shape[0], *made.outputs), (math.prod(lie), *strides)
        self.lie = (taken.shape, taken.stride()), output
        return taken, output
