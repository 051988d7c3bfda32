"""What a kernel can do with PyTorch and Graphviz at hand: `Kernel.module` and `Kernel.draw`, attached to the native
class.

`module_from_source` also serves `layers.replace`. The source is written by the core; nothing here walks a kernel.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import canvas._core as _core
from canvas.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn  # imported by what is generated, when it is first used


def module_from_source(source: str) -> nn.Module:
    """Runs the Python source of a bound kernel and makes its module.

    The class is made once for each source in a process. Its instances can be pickled, copied and loaded in another
    process, where the class is made again from the source; tracebacks and compilers see the source's lines.

    Args:
        source: as `Kernel.source` or `BoundLayer.source` gives it; defines `Module`.

    Returns:
        A new module, initialised from the global random stream.

    Example:
        >>> module_from_source(kernel.source(canvas.Layer(16, 16)))
        DepthwiseSeparable()
    """
    return _class_of(source)()


@functools.lru_cache(maxsize=1024)
def _class_of(source: str) -> type[nn.Module]:
    file = f"<canvas kernel {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": "canvas.generated"}
    exec(compile(source, file, "exec"), namespace)
    generated = namespace["Module"]
    generated.source = source
    generated.__reduce__ = _reduce
    if "self.weight" not in source:
        generated.weight = property(_weight)
        generated.__jit_unused_properties__ = ["weight"]
    return generated


def _weight(module: nn.Module) -> Tensor:
    """For models that ask a layer's weight for its type or device. It has no elements: nothing computes with it."""
    for value in module.parameters():
        return value.new_empty(0)
    raise AttributeError(f"{type(module).__name__} has no weights")


def _reduce(module: Any) -> tuple[Any, ...]:
    return _blank, (module.source,), module.__dict__


def _blank(source: str) -> nn.Module:
    """An instance without state, to be filled by pickle."""
    generated = _class_of(source)
    return generated.__new__(generated)


def module(self: _core.Kernel, layer: _core.Layer, *, lower: bool = True) -> nn.Module:
    """The kernel as a PyTorch module for one layer, its free sizes chosen by `bind`.

    Args:
        layer: what it stands in for.
        lower: False gives the direct emission, one operation after the other, to compare with.

    Returns:
        A module from [N, c_in, *spatial] to [N, c_out, *(ceil(extent / stride))], or, of a token mixer, from
        [N, T, c_in] to [N, T, c_out], or, of a linear kernel, from [..., c_in] to [..., c_out]; weights drawn from the
        global random stream. It can be pickled, copied, compiled and stored channels last.

    Raises:
        Infeasible: no legal sizes for this layer.

    Example:
        >>> canvas.zoo()["depthwise_separable"].module(canvas.Layer(8, 16))(torch.zeros(1, 8, 32, 32)).shape
        torch.Size([1, 16, 32, 32])
    """
    return module_from_source(self.source(layer, rules=None if lower else []))


def draw(self: _core.Kernel, path: str | Path | None = None) -> str:
    """A picture of the kernel.

    Args:
        path: where to write it as well, as SVG.

    Returns:
        The SVG text.

    Raises:
        UserError: Graphviz's program `dot` is not installed, or the file cannot be written.

    Example:
        >>> "<svg" in canvas.zoo()["dense"].draw()
        True
    """
    import graphviz

    try:
        svg = graphviz.Source(self.dot()).pipe(format="svg", encoding="utf-8")
    except graphviz.ExecutableNotFound as error:
        raise UserError(
            "drawing needs Graphviz's program dot: install the package graphviz (apt install graphviz)"
        ) from error
    if path is not None:
        try:
            Path(path).write_text(svg, encoding="utf-8")
        except OSError as error:
            raise UserError(f"picture '{path}': cannot be written ({error.strerror}); choose another path") from error
    return svg


_core.Kernel.module = module  # type: ignore[attr-defined,unused-ignore]
_core.Kernel.draw = draw  # type: ignore[attr-defined,unused-ignore]
