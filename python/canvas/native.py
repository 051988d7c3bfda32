"""Native code: kernels of a network as compiled C++ loops, the rest as PyTorch runs it. The backend "native" calls it.

The core writes a kernel's C++ source (`_core.native_source`), `native_compiler` makes a library of it, and
`NativeKernel` runs that in place of the emitted module. What follows a kernel in the network (batch norm, addition,
relu) is computed with it.
"""

from __future__ import annotations

import copy
import ctypes
import inspect
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from canvas import _core, native_compiler, native_op
from canvas.errors import UserError

LARGE_PAGE, MADV_HUGEPAGE = 2**21, 14
SIZES = re.compile(r"^Sizes: (.*)\.$", re.MULTILINE)


def kernel_of(module: nn.Module) -> tuple[_core.Kernel, dict[str, int]]:
    """The kernel that a module was emitted from, and its sizes.

    Raises:
        UserError: the module was not emitted from a kernel.

    Example:
        >>> kernel_of(canvas.zoo()["dense"].module(canvas.Layer(8, 16)))[1]["K"]
        16
    """
    text = inspect.cleandoc(type(module).__doc__ or "")
    found = SIZES.search(text)
    if not hasattr(type(module), "source") or found is None:
        raise UserError(f"native code: {type(module).__name__} is no kernel's module")
    sizes = {name: int(size) for name, size in (part.split(" = ") for part in found[1].split(", "))}
    return _core.parse(text[: found.start()]), sizes


class NativeKernel(nn.Module):
    """An emitted kernel module as native code, for inference on the CPU in float32.

    Compiled at its first call. It keeps the module, so that gradients and other types of numbers have a way: there
    PyTorch computes. In `torch.compile` it is an operator of the graph.

    Args:
        module: from `Kernel.module` or `canvas.replace`.
        precision: see `native_compiler.reads_bf16`.

    Raises:
        UserError: see `native_compiler.reads_bf16`; at the first call: there is no compiler, or the input has another
            shape than the kernel was made for.

    Example:
        >>> layer = canvas.Layer(16, 32, (8, 8))
        >>> native = NativeKernel(canvas.zoo()["depthwise_separable"].module(layer)).eval()
        >>> with torch.no_grad(): native(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 32, 8, 8])
    """

    def __init__(self, module: nn.Module, precision: str = "fp32") -> None:
        super().__init__()
        self.module = module
        self.bf16 = native_compiler.reads_bf16(precision)
        self.kernel, self.sizes = kernel_of(module)
        self.scale: Tensor | None = None
        self.shift: Tensor | None = None
        self.adds = self.relu = False  # what is added to the result is the second input
        self._run: Any = None
        self._weights: tuple[tuple[int, int], ...] = ()  # that it was made with: where they lie, and how often changed
        self._held: list[Tensor] = []
        self.number = native_op.register(self)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Multiplies each output channel and adds to it, after what was absorbed before."""
        self.scale = scale if self.scale is None else self.scale * scale
        self.shift = shift if self.shift is None else self.shift * scale + shift
        self._run = None

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        if (addend is not None) != self.adds:
            raise UserError(f"native code: takes {1 + self.adds} inputs")
        if torch.is_grad_enabled() or not self._takes(x, addend):
            return self._by_pytorch(x, addend)
        if torch.compiler.is_compiling():
            return torch.ops.canvas.native(x, addend, self.number)  # type: ignore[no-any-return]
        return self.run(x, addend)

    def run(self, x: Tensor, addend: Tensor | None) -> Tensor:
        """The native code's result, by the parameters as they are now (what is written to their `data` goes unseen)."""
        weights = tuple((value.data_ptr(), _version(value)) for value in self.module.parameters())
        if self._run is None:
            self._run = _Run(self)
        elif weights != self._weights:
            self._run.compiled.prepare(self._run.stored(self))
        else:
            return self._run(x, addend)  # type: ignore[no-any-return]
        # Kept, so that no other weights come to lie where they are.
        self._weights, self._held = weights, [value.detach() for value in self.module.parameters()]
        return self._run(x, addend)  # type: ignore[no-any-return]

    def shaped(self, x: Tensor) -> Tensor:
        """A tensor like the result, without values."""
        positions = x.shape[2:] if self.channels_first else x.shape[1:-1]
        stride = self.sizes.get("s", 1) if self.channels_first else 1
        y = x.new_empty([*x.shape[: x.dim() > 1], *(-(-extent // stride) for extent in positions), self.sizes["K"]])
        return y.movedim(-1, 1) if self.channels_first else y

    def _takes(self, x: Tensor, addend: Any) -> bool:
        """Whether all is float32 on the CPU, and what is added no larger than the result."""
        if x.dtype != torch.float32 or x.device.type != "cpu" or addend is None:
            return x.dtype == torch.float32 and x.device.type == "cpu"
        if not isinstance(addend, Tensor) or addend.dtype != torch.float32 or addend.device.type != "cpu":
            return False
        sizes = zip(reversed(addend.shape), reversed(self.shaped(x).shape), strict=False)
        return addend.dim() <= x.dim() and all(one in (1, size) for one, size in sizes)

    def _by_pytorch(self, x: Tensor, addend: Tensor | None) -> Tensor:
        y: Tensor = self.module(x)
        if self.scale is not None and self.shift is not None:
            shape = (-1, *[1] * (y.dim() - 2)) if self.channels_first else (-1,)
            y = y * self.scale.view(shape).to(y) + self.shift.view(shape).to(y)
        if addend is not None:
            y = y + addend
        return y.relu() if self.relu else y

    @property
    def channels_first(self) -> bool:
        """Whether the channels are the second axis, as in convolutions."""
        return any(name in self.sizes for name in "DHW")

    def by_channel(self, value: Tensor) -> bool:
        """Whether a value that is added to the result is one number for each output channel."""
        positions = sum(name in self.sizes for name in "DHW")  # behind the channels
        return value.dim() > positions and value.shape[-1 - positions] == self.sizes["K"] == value.numel()

    def __deepcopy__(self, memo: dict[int, Any]) -> NativeKernel:
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        twin.__dict__.update(self.__dict__ | {"_run": None, "number": native_op.register(twin)})
        twin._modules = copy.deepcopy(self._modules, memo)
        return twin


def _version(value: Tensor) -> int:
    """How often a tensor was changed in place; of those of inference mode nobody counts."""
    return 0 if value.is_inference() else value._version


class _Run:
    """The compiled kernel with its constants."""

    def __init__(self, owner: NativeKernel) -> None:
        sizes = owner.sizes
        text, names, constants, scratch, _ = _core.native_source(
            owner.kernel,
            sizes,
            native_compiler.target().width,
            native_compiler.target().registers,
            scale=owner.scale is not None,
            addend=owner.adds,
            relu=owner.relu,
            bf16=owner.bf16,
        )
        self.names = names
        self.compiled = Compiled(text, self.stored(owner), constants, scratch)
        self.c_in, self.c_out = sizes["C"], sizes["K"]
        self.positions = [sizes[name] for name in ("DHW" if owner.channels_first else "T") if name in sizes]
        self.stride = sizes.get("s", 1) if owner.channels_first else 1
        self.channels_first = owner.channels_first

    def stored(self, owner: NativeKernel) -> list[Tensor]:
        """The parameters as the code takes them."""
        values: dict[str, Any] = dict(owner.module.named_parameters())
        values |= {"ending.scale": owner.scale, "ending.shift": owner.shift}
        return [values[name].detach().float().cpu().contiguous() for name in self.names]

    def __call__(self, x: Tensor, addend: Tensor | None) -> Tensor:
        images = self._images(x)
        last = (x.movedim(1, -1) if self.channels_first else x).contiguous()
        positions = list(last.shape[1:-1]) if self.positions else list(x.shape[1:-1])
        out = [-(-extent // self.stride) for extent in positions]
        y = torch.empty([last.shape[0], *out, self.c_out] if last.dim() > 1 else [self.c_out])
        if addend is not None:
            addend = addend.expand((y.movedim(-1, 1) if self.channels_first else y).shape)
            addend = (addend.movedim(1, -1) if self.channels_first else addend).contiguous()
        self.compiled.run(last, addend, y, images)
        return y.movedim(-1, 1) if self.channels_first else y

    def _images(self, x: Tensor) -> int:
        if not self.positions:  # every position by itself
            if x.shape[-1] != self.c_in:
                raise UserError(f"native code: takes [..., {self.c_in}], got {list(x.shape)}")
            return math.prod(x.shape[:-1])
        wanted = [self.c_in, *self.positions] if self.channels_first else [*self.positions, self.c_in]
        if list(x.shape[1:]) != wanted:
            raise UserError(f"native code: was made for inputs of shape {['N', *wanted]}, got {list(x.shape)}")
        return x.shape[0]


class Compiled:
    """Native code that is loaded, its constants in place, with room to run in.

    Args:
        source: what `_core.native_source` or `_core.NativeNetwork.source` gave.
        parameters: in its order, contiguous floats on the CPU.
        constants, scratch: floats that it needs, as told with it.

    Raises:
        UserError: as `load`.

    Example:
        >>> Compiled(*_core.native_source(...)).run(x, None, y, 32)  # doctest: +SKIP
    """

    def __init__(self, source: str, parameters: Sequence[Tensor], constants: int, scratch: int) -> None:
        self.library, self.scratch = native_compiler.load(source), scratch
        self.constants = _room(constants)
        self.place = self.constants.data_ptr()
        self.rooms: list[tuple[int, int, Tensor]] = []  # that no call is in: floats, address
        self.address = ctypes.cast(self.library.run, ctypes.c_void_p).value or 0
        self.prepare(parameters)

    def prepare(self, parameters: Sequence[Tensor]) -> None:
        """Takes these parameters in place of those before."""
        pointers = (ctypes.c_void_p * max(1, len(parameters)))(*[value.data_ptr() for value in parameters])
        self.library.prepare(pointers, ctypes.c_void_p(self.place))

    def run(self, x: Tensor, addend: Tensor | None, y: Tensor, images: int) -> None:
        """Computes y of so many images, on PyTorch's threads. All lie contiguous in memory. Calls may run at once."""
        threads = torch.get_num_threads()
        needed = self.scratch * (threads if images >= threads else 1)
        try:
            room = self.rooms.pop()
        except IndexError:
            room = -1, 0, self.constants
        if room[0] < needed:
            made = _room(needed)
            room = needed, made.data_ptr(), made
        other = 0 if addend is None else addend.data_ptr()
        _core.run_native(self.address, x.data_ptr(), other, y.data_ptr(), self.place, room[1], images, threads)
        self.rooms.append(room)


def _room(count: int) -> Tensor:
    """So many zeros, from an address that is a multiple of 64 bytes; many in large pages, where the system has them."""
    large = 8 * count > LARGE_PAGE
    step = (LARGE_PAGE if large else 64) // 4
    room = torch.empty(-(-count // step) * step + step)
    skipped = -room.data_ptr() // 4 % step
    if large and sys.platform == "linux":  # advice: what it answers changes nothing
        size = ctypes.c_size_t(-(-count // step) * LARGE_PAGE)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(room.data_ptr() + 4 * skipped), size, MADV_HUGEPAGE)
    return room[skipped : skipped + count].zero_()


def with_native_kernels(model: nn.Module, precision: str = "fp32") -> nn.Module:
    """The model with each emitted kernel module as a `NativeKernel`: changed in place, or a new one where it is one."""
    if hasattr(type(model), "source"):
        return NativeKernel(model, precision)
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and hasattr(type(child), "source"):
                parent._modules[name] = NativeKernel(child, precision)
    return model
