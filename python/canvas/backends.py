"""What a network runs on when it is timed: PyTorch eager, Inductor, ONNX Runtime, OpenVINO. Called by latency, bench.

A backend turns a module into a callable that computes the same in eval mode, as quickly as that backend can. A new
backend is one class here and one line in `BACKENDS`; it never measures anything.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, fx, nn

from canvas import native, native_compiler, native_endings
from canvas.errors import UserError
from canvas.example import Example, call, channels_last, store_channels_last
from canvas.folding import fold
from canvas.native_network import NativeNetwork
from canvas.onnx_graph import Unsupported, onnx_bytes, write_onnx
from canvas.onnx_table import FOR_OPENVINO
from canvas.workload import NATIVE, NATIVE_BF16, OPERATIONS, Workload

Callee = Callable[[Example], Any]
AUTO = "auto"  # whichever is quickest for a network


class Backend(Protocol):
    """The interface: `reset` is called once before the networks of one comparison are prepared."""

    name: str
    packages: tuple[str, ...]  # that it imports and not everybody has
    workload: Workload  # what its cost model counts

    def reset(self) -> None:
        """Forgets what earlier comparisons left behind."""

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        """Makes a callable of a module; the module is left as it is.

        Args:
            model: any module.
            example: its inputs; the callable takes inputs of the same shapes.

        Returns:
            A function of the inputs that computes what the module does in eval mode.
        """
        ...


class Eager:
    """PyTorch as it is: channels last, inference mode, batch norms and constants folded."""

    name = "eager"
    packages: tuple[str, ...] = ()
    workload = OPERATIONS

    def reset(self) -> None:
        pass

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        return _by_pytorch(fold(copy.deepcopy(model).eval()))


def _by_pytorch(model: nn.Module) -> Callee:
    """Runs it channels last, in inference mode."""
    ready = store_channels_last(model)

    def run(inputs: Example) -> Any:
        with torch.inference_mode():
            return call(ready, channels_last(inputs))

    return run


class Inductor:
    """torch.compile with frozen parameters."""

    name = "inductor"
    packages: tuple[str, ...] = ()
    workload = OPERATIONS

    def reset(self) -> None:
        torch._dynamo.reset()  # else recompilation limits are reached and the code runs uncompiled

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        import torch._inductor.config as config

        ready = store_channels_last(copy.deepcopy(model).eval())
        compiled = torch.compile(ready)

        def run(inputs: Example) -> Any:
            with torch.no_grad():
                return call(compiled, channels_last(inputs))

        with config.patch(freezing=True):
            run(example)
        return run


class OnnxRuntime:
    """ONNX Runtime on the CPU, with all its graph optimisations."""

    name = "onnxruntime"
    packages: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
    workload = OPERATIONS

    def reset(self) -> None:
        pass

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        need(f"backend {self.name}", *self.packages)
        import onnxruntime

        arguments = _positional(self.name, example)
        names = [f"input{index}" for index in range(len(arguments))]
        data = onnx_bytes(model, arguments, names)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait as long as by default still hold the cores when another session runs in turns with this one.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "500")
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

        def run(inputs: Example) -> Any:
            feed = {
                name: value.numpy()
                for name, value in zip(names, _positional(self.name, inputs), strict=True)
                if isinstance(value, Tensor)
            }
            return [torch.from_numpy(array) for array in session.run(None, feed)]

        return run


class OpenVino:
    """OpenVINO on the CPU, in float32 whatever the processor could do with less."""

    name = "openvino"
    packages: tuple[str, ...] = ("openvino",)
    workload = OPERATIONS

    def reset(self) -> None:
        pass

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        need(f"backend {self.name}", *self.packages)
        import openvino

        arguments = _positional(self.name, example)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        request = (
            openvino.Core().compile_model(_openvino_model(model, arguments), "CPU", settings).create_infer_request()
        )

        def run(inputs: Example) -> Any:
            feed = [value.numpy() for value in _positional(self.name, inputs) if isinstance(value, Tensor)]
            return [torch.from_numpy(array) for array in request.infer(feed).values()]

        return run


class Native:
    """The whole network as compiled C++ loops. On the CPU.

    Where it does what native code lacks, its kernels and what follows them are compiled, and the rest runs as in eager.

    Args:
        name: of the backend.
        tune: whether variants of the whole network's code are timed, to take the quickest.
        precision: see `native_compiler.reads_bf16`.
    """

    packages: tuple[str, ...] = ()

    def __init__(self, name: str, tune: bool = False, precision: str = "fp32") -> None:
        self.name, self.tune, self.precision = name, tune, precision
        self.workload = NATIVE if precision == "fp32" else NATIVE_BF16

    def reset(self) -> None:
        pass

    def prepare(self, model: nn.Module, example: Example) -> Callee:
        try:
            return _whole(model, example, self.tune, self.precision)
        except Unsupported as refusal:
            warnings.warn(f"backend native compiles kernel by kernel: the network has {refusal}", stacklevel=2)
        ready = native.with_native_kernels(copy.deepcopy(model).eval(), self.precision)
        ready = ready if isinstance(ready, native.NativeKernel) else fold(ready)
        if isinstance(ready, fx.GraphModule):
            native_endings.join_endings(ready)
        run = _by_pytorch(ready)
        run(example)
        return run


def _whole(model: nn.Module, example: Example, tune: bool, precision: str) -> Callee:
    """A network of one input as one piece of native code."""
    arguments = () if isinstance(example, dict) else example if isinstance(example, tuple) else (example,)
    if len(arguments) != 1 or not isinstance(arguments[0], Tensor):
        raise Unsupported("other inputs than one tensor")
    network = NativeNetwork(model, arguments[0], tune, precision)

    def run(inputs: Example) -> Any:
        [x] = inputs if isinstance(inputs, tuple) else (inputs,)
        return network(x)

    run(example)
    return run


def _openvino_model(model: nn.Module, arguments: tuple[Any, ...]) -> Any:
    """Through ONNX where that can say all of it (measured: 20 times quicker), else by torch.export."""
    import openvino

    if importlib.util.find_spec("onnx") and all(isinstance(value, Tensor) for value in arguments):
        try:
            return openvino.Core().read_model(write_onnx(model, arguments, table=FOR_OPENVINO))
        except Unsupported:
            pass
    with torch.no_grad():
        return openvino.convert_model(torch.export.export(copy.deepcopy(model).eval(), arguments))


def usual(device: str = "cpu") -> str:
    """What latencies are measured with unless somebody says otherwise: native code, where it can be compiled.

    Args:
        device: the type of the network's.

    Returns:
        A name in `BACKENDS`.

    Example:
        >>> usual("cuda")
        'eager'
    """
    return "native" if device == "cpu" and native_compiler.compiler() else "eager"


def need(what: str, *packages: str) -> None:
    """Demands packages that not everybody has.

    Args:
        what: needs them, as an error message begins.
        packages: names to import.

    Raises:
        UserError: some are not installed; it names them and the command.

    Example:
        >>> need("backend eager", "torch")
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{what}: not installed: {', '.join(missing)}; pip install {' '.join(missing)}")


def _positional(backend: str, example: Example) -> tuple[Any, ...]:
    if isinstance(example, dict):
        raise UserError(f"backend {backend}: takes models of positional inputs; give the example as a tuple")
    return example if isinstance(example, tuple) else (example,)


BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (Eager(), Native("native"), Inductor(), OnnxRuntime(), OpenVino())
}


# For those who name it: one takes seconds a network, the other computes other numbers.
NAMED: dict[str, Backend] = {
    backend.name: backend for backend in (Native("native-tuned", tune=True), Native("native-bf16", precision="bf16"))
}


# The largest relative error (2-norm) of outputs that a backend of fewer bits is allowed, where others are held to less.
ROUNDING = {"native-bf16": 0.05}


def find(name: str) -> Backend:
    """The backend of a name.

    Raises:
        UserError: no such backend.
    """
    known = BACKENDS | NAMED
    if name not in known:
        raise UserError(f"backend '{name}': unknown; use one of {', '.join(known)}")
    return known[name]
