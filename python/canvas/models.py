"""The built-in networks, and the loading of a user's own. Called by the command line and by worker processes.

A model spec is a built-in name or `PATH.py:FUNCTION`. Nothing here knows of kernels or data.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import cloudpickle
import torch
from torch import Tensor, nn

from canvas.errors import UserError, one_line


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network: a stem of one convolution, stages of basic blocks, one linear layer.

    Args:
        widths: channels of each stage; every stage but the first halves the resolution.
        blocks: basic blocks in each stage.
        stem_stride: 2 halves the resolution before the first stage.
        stem_pool: 3x3 max-pooling of stride 2 ends the stem, and halves it too.
        num_classes: outputs of the network.
        in_channels: channels of the images.
        stem_size: width of the stem's window, odd.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        stem_stride: int = 1,
        stem_pool: bool = False,
        num_classes: int = 10,
        in_channels: int = 3,
        stem_size: int = 3,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], stem_size, stem_stride, stem_size // 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1) if stem_pool else nn.Identity(),
        )
        stages, channels = [], widths[0]
        for index, width in enumerate(widths):
            stage = []
            for block in range(blocks):
                stage.append(BasicBlock(channels, width, 2 if index > 0 and block == 0 else 1))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.stages(self.stem(x))).flatten(1))


def resnet8(num_classes: int = 10, in_channels: int = 1) -> ResNet:
    """ResNet-8, its stem of stride 2 with pooling, widths 64, 128, 256: trains in seconds on one core (28 x 28 images).

    Example:
        >>> resnet8()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    return ResNet((64, 128, 256), 1, 2, True, num_classes, in_channels)


def resnet20(num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """ResNet-20 for 32 x 32 images: widths 16, 32 and 64, three blocks a stage.

    Example:
        >>> resnet20()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ResNet((16, 32, 64), 3, 1, False, num_classes, in_channels)


def resnet18(num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """ResNet-18 with the stem used for 32 x 32 images (3x3, stride 1, no pooling).

    Example:
        >>> resnet18()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    return ResNet((64, 128, 256, 512), 2, 1, False, num_classes, in_channels)


def resnet18_imagenet(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18 for 224 x 224 images (He et al. 2016, arXiv 1512.03385): a stem of 7x7, stride 2, and pooling.

    Example:
        >>> resnet18_imagenet()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1000])
    """
    return ResNet((64, 128, 256, 512), 2, 2, True, num_classes, in_channels, stem_size=7)


FROM_FILE = "canvas_model_"  # begins the names of modules that are users' files
BUILT_IN: dict[str, Callable[..., ResNet]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "resnet18_imagenet": resnet18_imagenet,
}
IMAGES = {"resnet8": "1x28x28", "resnet20": "3x32x32", "resnet18": "3x32x32", "resnet18_imagenet": "3x224x224"}


def load_model(spec: str, num_classes: int = 10, in_channels: int | None = None) -> nn.Module:
    """Builds the model that a spec names.

    Args:
        spec: a built-in name, or `PATH.py:FUNCTION`; the function is called without arguments.
        num_classes: outputs of a built-in model (a user's function decides for itself).
        in_channels: image channels of a built-in model; by default the model's own (1 for resnet8, else 3).

    Returns:
        A new module; its weights come from the global random stream.

    Raises:
        UserError: an unknown name; a file that is missing, raises, lacks the function or gives something else.

    Example:
        >>> load_model("resnet8", num_classes=10, in_channels=1).head.out_features
        10
    """
    if spec in BUILT_IN:
        extra = {} if in_channels is None else {"in_channels": in_channels}
        return BUILT_IN[spec](num_classes=num_classes, **extra)
    path, colon, function = spec.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UserError(f"model '{spec}': not a built-in model ({', '.join(BUILT_IN)}) and not PATH.py:FUNCTION")
    model = from_file("model", spec)
    if not isinstance(model, nn.Module):
        raise UserError(f"model file '{path}': {function}() must return a torch.nn.Module, got {type(model).__name__}")
    return model


def save_network(network: nn.Module, path: Path) -> None:
    """Writes a network whole, classes of a user's model file with it; the file is complete or not there.

    Args:
        network: any module.
        path: the file; its folder is made.

    Raises:
        UserError: it cannot be written.

    Example:
        >>> save_network(resnet8(), Path("networks/original.pt"))  # doctest: +SKIP
    """
    for name in {type(module).__module__ for module in network.modules()}:
        if name.startswith(FROM_FILE):
            cloudpickle.register_pickle_by_value(sys.modules[name])
    new = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network, new, pickle_module=cloudpickle)
        os.replace(new, path)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises the latter
        new.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {one_line(error)[:200]}; free some space, or keep none") from error


def saved_network(path: str | os.PathLike[str]) -> nn.Module:
    """A network that `save_network` or torch.save wrote whole. Loading runs code from the file.

    Raises:
        UserError: there is no such file, or it holds no network.

    Example:
        >>> saved_network("demo/original.pt")  # doctest: +SKIP
    """
    try:
        network = torch.load(path, map_location="cpu", weights_only=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # a pickle may raise anything
        raise UserError(f"{path}: not a saved network: {one_line(error)[:200]}") from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{path}: holds {type(network).__name__}, not a network; save it with torch.save(network, path)"
        )
    return network


def from_file(what: str, spec: str) -> object:
    """What a function of a user's file gives, called without arguments.

    Args:
        what: it is, for error messages.
        spec: `PATH.py:FUNCTION`.

    Raises:
        UserError: the file is missing, raises, or lacks the function; or that raises.

    Example:
        >>> from_file("model", "nets.py:build")  # doctest: +SKIP
    """
    place, _, function = spec.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise UserError(f"{what} file '{path}': no such file; give an existing PATH.py:FUNCTION")
    name = FROM_FILE + path.stem
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # classes of the file can then be inspected and copied
    directory = str(path.resolve().parent)
    sys.path.insert(0, directory)  # the file may import its neighbours, as when it is run as a script
    try:
        _run(what, path, "running the file", lambda: module_spec.loader.exec_module(module))  # type: ignore[union-attr]
        build = getattr(module, function, None)
        if not callable(build):
            own = [n for n, f in vars(module).items() if inspect.isroutine(f) and f.__module__ == name]
            raise UserError(f"{what} file '{path}': no function '{function}'; it has {', '.join(own) or 'no function'}")
        return _run(what, path, f"calling {function}()", build)
    finally:
        sys.path.remove(directory)


def _run(what: str, path: Path, doing: str, call: Callable[[], object]) -> object:
    """Runs the user's code; whatever it raises becomes one line with the user's file and line."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{path}:{line}" if line else str(path)
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"{what} file '{where}': {doing} raised {type(error).__name__}: {first}") from error
