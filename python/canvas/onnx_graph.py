"""Writes a network to ONNX from one run without numbers: each PyTorch function that it calls becomes a few ONNX nodes.

Called by export and by the ONNX Runtime backend. Values that depend on the inputs have shapes only while it runs; what
depends on parameters alone is computed and stored, so constants are folded. A function that the table (`onnx_table`)
lacks is refused with `Unsupported`: callers then fall back on PyTorch's own exporter. Shapes are those of the example.
"""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from canvas.example import evaluating
from canvas.folding import Branch

OPSET = 18
IR_VERSION = 10
BROADCAST = {"add", "radd", "sub", "rsub", "mul", "rmul", "div", "truediv", "maximum", "minimum"}
SAME = {"batch_norm", "relu", "gelu", "silu", "sigmoid", "tanh", "softmax"}
REDUCED = {"sum", "mean"}
MAYBE_VIEWS = {"contiguous", "reshape", "flatten", "to", "float"}  # where the value lies decides whether they copy it


class Unsupported(Exception):
    """The network does what the table lacks; the message names it."""


class Graph:
    """Nodes and constants while they are collected. Names of traced values stand for tensors.

    Args:
        images: how many the inputs hold, a number that nothing else is a multiple of; 0 where it does not matter.

    Attributes:
        counted: whether the network asked for a number that depends on how many images there are.
    """

    def __init__(self, images: int = 0) -> None:
        self.images = images
        self.counted = False
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, Tensor] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.convolutions: dict[str, Branch] = {}  # those with stored weights, by their result
        # Of transposed values: what was transposed, and which of its axes each axis is (None: one that was made).
        self.transposed: dict[str, tuple[str, tuple[int | None, ...]]] = {}
        self._names: dict[int, str] = {}  # "": changed by way of another tensor since
        self._memory: dict[int, int] = {}  # what a traced value lies in
        self._inside: dict[int, set[int]] = {}  # the traced values that lie there
        self._alive: list[Tensor] = []  # so that no number of an object is given twice
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = itertools.count()

    def name_of(self, value: Tensor) -> str | None:
        """The name of a traced value, or None."""
        name = self._names.get(id(value))
        if name == "":
            raise Unsupported("a value that was changed in place by way of another that shares its memory")
        return name

    def give(self, value: Tensor, name: str, source: Tensor | None = None) -> None:
        """From now on the tensor stands for this name; others in its memory for nothing, if it stood for another.

        Args:
            value: the tensor.
            name: of a value of the graph.
            source: a traced value in whose memory it may lie, though it does not while it is traced.
        """
        key, self.shapes[name] = id(value), tuple(value.shape)
        memory = self._memory.get(key)
        if memory is None:
            lies = None if source is None else self._memory.get(id(source))
            memory = self._memory[key] = value.untyped_storage()._cdata if lies is None else lies
        inside = self._inside.setdefault(memory, set())
        if self._names.get(key, name) != name:
            self._names |= dict.fromkeys(inside, "")
        inside.add(key)
        self._names[key] = name
        self._alive.append(value)

    def constant(self, value: Tensor) -> str:
        """A stored tensor, as float32 numbers; the same one is stored once."""
        key = ("constant", id(value))
        if key not in self._known:
            if value.is_meta:
                raise Unsupported("a constant made on the inputs' device")
            self._known[key] = f"c{next(self._count)}"
            self._alive.append(value)
            self.constants[self._known[key]] = value.detach().float()
        return self._known[key]

    def numbers(self, values: Sequence[int]) -> str:
        """A list of integers as a constant."""
        key = ("numbers", tuple(values))
        if key not in self._known:
            self._known[key] = f"c{next(self._count)}"
            self.constants[self._known[key]] = torch.tensor(list(values), dtype=torch.int64)
        return self._known[key]

    def scalar(self, value: float, dtype: torch.dtype = torch.float32) -> str:
        """A number as a constant."""
        key = ("scalar", value, dtype)
        if key not in self._known:
            self._known[key] = f"c{next(self._count)}"
            self.constants[self._known[key]] = torch.tensor(value, dtype=dtype)
        return self._known[key]

    def operand(self, value: Any, dtype: torch.dtype = torch.float32) -> str:
        """What a node takes for a tensor or a number."""
        if isinstance(value, Tensor):
            return self.name_of(value) or self.constant(value)
        if isinstance(value, (bool, int, float)):
            return self.scalar(float(value), dtype)
        raise Unsupported(f"an operand of type {type(value).__name__}")

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; gives the name of its result, or the names of several. The same node is added once."""
        key = (kind, inputs, outputs, repr(sorted(attributes.items())))
        if key not in self._known:
            names = [f"v{next(self._count)}" for _ in range(outputs)]
            self.nodes.append((kind, list(inputs), names, attributes))
            self._known[key] = names if outputs > 1 else names[0]  # type: ignore[assignment]
        return self._known[key]


def _shape(name: str, tensors: list[Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result's shape where it is plain: PyTorch's own functions take 20 times as long to say so. Else None."""
    retyped = any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values()))
    if retyped or not all(value.dtype == torch.float32 for value in tensors):
        return None
    if name in BROADCAST:
        return np.broadcast_shapes(*(value.shape for value in tensors))
    shape = tensors[0].shape
    if name in SAME:
        return shape
    if (
        name in REDUCED
        and len(args) == 2
        and isinstance(args[1], (int, tuple))
        and args[1] != ()
        and not kwargs.keys() - {"keepdim"}
    ):
        gone = {dim % len(shape) for dim in (args[1] if isinstance(args[1], tuple) else (args[1],))}
        kept = [1 if dim in gone else size for dim, size in enumerate(shape)]
        return kept if kwargs.get("keepdim") else [size for dim, size in enumerate(kept) if dim not in gone]
    return None


class _Recorder(TorchFunctionMode):
    """Runs functions of traced values on shapes alone and hands each to the table."""

    def __init__(self, graph: Graph, table: dict[str, Callable[..., Any]]) -> None:
        super().__init__()
        self.graph = graph
        self.table = table

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [value for value in _flat((args, kwargs)) if isinstance(value, Tensor)]
        if not any(self.graph.name_of(value) for value in tensors):
            return func(*args, **kwargs)
        called = getattr(func, "__name__", str(func))
        name = called.strip("_")
        in_place = called.rstrip("_") + "_" == called or kwargs.get("inplace")  # its result is the operand itself
        shape = None if in_place else _shape(name, tensors, args, kwargs)
        given: list[Any] = []
        if shape is not None:
            result = torch.empty(shape, device="meta")
        else:
            given = _map(_to_meta, [args, kwargs])
            result = func(*given[0], **given[1])
        made = [value for value in _flat(result) if isinstance(value, Tensor)]
        if (result is None and called != "__get__") or kwargs.get("out") is not None:
            raise Unsupported(f"torch function {name}, which changes what it is given")
        if not made:  # a shape, a number of dimensions
            images = self.graph.images
            self.graph.counted |= images > 0 and any(
                isinstance(number, int) and number and number % images == 0 for number in _flat(result)
            )
            return result
        if name not in self.table:
            raise Unsupported(f"torch function {name}")
        if any(value.dtype != torch.float32 for value in made):
            raise Unsupported(f"torch function {name} that gives other than float32 numbers")
        names = self.table[name](self.graph, result, *args, **kwargs)
        for value, made_name in zip(made, names if isinstance(names, list) else [names], strict=True):
            if not self.graph.name_of(value) and any(value is operand for operand in _flat(given)):
                raise Unsupported(f"torch function {name}, which changes a constant")
            self.graph.give(value, made_name, args[0] if name in MAYBE_VIEWS else None)
        return result


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _flat(item)]
    if isinstance(value, dict):
        return _flat(list(value.values()))
    return [value]


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        return type(value)(_map(function, item) for item in value)
    if isinstance(value, dict):
        return {key: _map(function, item) for key, item in value.items()}
    return function(value)


def _to_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def write_onnx(
    model: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str] = (),
    table: dict[str, Callable[..., Any]] | None = None,
) -> bytes:
    """The network as an ONNX file, without running it.

    Args:
        model: any module; written as it is in eval mode, and left as it is.
        inputs: positional float32 inputs; the file takes inputs of these shapes.
        names: of the inputs; by default input0, input1, …
        table: what each PyTorch function is; by default `onnx_table.TABLE`.

    Returns:
        The bytes of a ModelProto. Outputs are named output0, output1, …

    Raises:
        Unsupported: the network calls what the table lacks; use torch.onnx.export.

    Example:
        >>> onnx.load_from_string(write_onnx(resnet8(), [torch.zeros(1, 1, 28, 28)])).graph.input[0].name
        'input0'
    """
    from canvas.onnx_table import TABLE

    graph = Graph()
    names = list(names) or [f"input{index}" for index in range(len(inputs))]
    return _file(graph, names, record(graph, model, inputs, names, table or TABLE))


def record(
    graph: Graph, model: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], table: dict[str, Callable[..., Any]]
) -> list[str]:
    """Runs a network on shapes alone and adds what it calls to the graph.

    Args:
        graph: takes nodes and constants.
        model: any module; run as it is in eval mode, and left as it is.
        inputs: positional float32 inputs.
        names: of the inputs.
        table: what each PyTorch function is, by name.

    Returns:
        The names of the outputs.

    Raises:
        Unsupported: the network calls what the table lacks.

    Example:
        >>> graph = Graph()
        >>> record(graph, nn.ReLU(), [torch.zeros(1, 3)], ["x"], TABLE), graph.nodes[0][0]
        (['v0'], 'Relu')
    """
    given = [value.detach().to("meta") for value in inputs]
    for value, name in zip(given, names, strict=True):
        if value.dtype != torch.float32:
            raise Unsupported("inputs other than float32 numbers")
        graph.give(value, name)
    with evaluating(model), torch.no_grad(), _Recorder(graph, table):
        try:
            result = model(*given)
        except Unsupported:
            raise
        except Exception as error:  # what needs numbers may fail in any way where there are shapes only
            raise Unsupported(f"{type(error).__name__}: {error}") from error
    made = [value for value in _flat(result) if isinstance(value, Tensor)]
    outputs = [graph.name_of(value) for value in made]
    if not outputs or None in outputs:
        raise Unsupported("an output that does not depend on the inputs")
    return [str(name) for name in outputs]


def onnx_bytes(model: nn.Module, inputs: Sequence[Any], names: Sequence[str] = ()) -> bytes:
    """The network as the bytes of an ONNX file.

    Args:
        model: any module; left as it is.
        inputs: positional inputs; the file takes inputs of these shapes.
        names: of the inputs; by default input0, input1, …

    Returns:
        A serialised ModelProto. Where the table lacks something it comes from torch.onnx.export.

    Raises:
        Exception: whatever torch.onnx.export raises on a network that it does not know.

    Example:
        >>> file.write(onnx_bytes(resnet8(), [torch.zeros(1, 1, 28, 28)]))  # doctest: +SKIP
    """
    names = list(names) or [f"input{index}" for index in range(len(inputs))]
    if all(isinstance(value, Tensor) for value in inputs):
        try:
            return write_onnx(model, inputs, names)
        except Unsupported:
            pass
    file = io.BytesIO()
    with torch.no_grad():
        program = torch.onnx.export(
            copy.deepcopy(model).eval(), tuple(inputs), input_names=names, dynamo=True, verbose=False
        )
    assert program is not None
    program.save(file)  # type: ignore[arg-type]
    return file.getvalue()


def _file(graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    import onnx
    from onnx import helper

    def slot(name: str, value: str) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, graph.shapes[value])

    used = set(outputs)
    nodes = []
    for kind, given, made, attributes in reversed(graph.nodes):  # what nothing uses is left out
        if used.isdisjoint(made):
            continue
        used.update(given)
        nodes.append(helper.make_node(kind, given, made, **attributes))
    nodes.reverse()
    ends = [f"output{index}" for index in range(len(outputs))]
    nodes += [helper.make_node("Identity", [value], [end]) for value, end in zip(outputs, ends, strict=True)]
    made = helper.make_graph(
        nodes,
        "network",
        [slot(name, name) for name in inputs],
        [slot(end, value) for end, value in zip(ends, outputs, strict=True)],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="canvas")
    parts = [model.SerializeToString()]
    for name, value in graph.constants.items():
        if name in used:
            parts += _stored(name, value.detach().cpu().contiguous().numpy())
    return b"".join(parts)


def _stored(name: str, value: np.ndarray) -> list[Any]:
    """A model that has this constant alone, as parts of its bytes: written one after the other, models are merged.

    Protocol Buffers merge messages that way (protobuf.dev/programming-guides/encoding, "Last One Wins"); through the
    library each weight is copied five times, which takes longer than all else.
    """
    import onnx
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    head = onnx.TensorProto(name=name, data_type=kind, dims=value.shape).SerializeToString()
    data = value.reshape(-1).view(np.uint8)
    parts: list[Any] = [head, _length(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, value.nbytes), data]
    length = len(head) + len(parts[1]) + value.nbytes
    for field in (onnx.GraphProto.INITIALIZER_FIELD_NUMBER, onnx.ModelProto.GRAPH_FIELD_NUMBER):
        parts.insert(0, _length(field, length))
        length += len(parts[0])
    return parts


def _length(field: int, length: int) -> bytes:
    """The start of a field of so many bytes: its key, then the length by seven bits at a time."""
    made = [field << 3 | 2]
    while length >= 128:
        made.append(length & 127 | 128)
        length >>= 7
    return bytes([*made, length])
