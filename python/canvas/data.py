"""Image data sets: found on disk, checked, held as bytes. Called by the command line and by worker processes.

Nothing is downloaded here. The test split is read only when `Data.test` is touched, so that choosing among candidates
cannot see it by accident; validation data comes out of the training data (`Data.split`).
"""

from __future__ import annotations

import functools
import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from canvas.errors import UserError
from canvas.loaders import Loaders, loaders


class Images(NamedTuple):
    """Images as bytes [N, C, H, W] and their class numbers [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:  # the number of images, not of fields
        return len(self.labels)


@dataclass
class Data:
    """A data set for classification.

    Attributes:
        name: how it was asked for.
        train: the training data, validation included.
        classes: the names of the classes.
        mean, std: of each channel of the training images, in units of 0..1.
        load_test: reads the test split; called once, when `test` is first touched.
    """

    name: str
    train: Images
    classes: tuple[str, ...]
    load_test: Callable[[], Images] = field(repr=False)
    mean: Tensor = field(init=False)
    std: Tensor = field(init=False)
    _splits: dict[tuple[float, int], tuple[Images, Images]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        sample = self.train.images[:: max(1, len(self.train) // 5000)].double() / 255
        self.mean = sample.mean((0, 2, 3)).float()
        self.std = sample.std((0, 2, 3)).float().clamp_min(1e-3)

    @functools.cached_property
    def test(self) -> Images:
        """The test split; for final figures alone."""
        return self.load_test()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def normalise(self, images: Tensor) -> Tensor:
        """Bytes to floats of mean 0 and standard deviation 1 in each channel."""
        mean, std = (t.to(images.device).view(1, -1, 1, 1) for t in (self.mean, self.std))
        return (images.float() / 255 - mean) / std

    def split(self, fraction: float = 0.1, seed: int = 0) -> tuple[Images, Images]:
        """Splits the training data in two.

        Args:
            fraction: the part that becomes validation data, in (0, 1).
            seed: same seed, same split.

        Returns:
            (training, validation), disjoint, together all of the training data.

        Raises:
            UserError: a fraction that leaves one side empty.

        Example:
            >>> training, validation = load_data("fashion-mnist").split(0.1, seed=0)
            >>> len(training), len(validation)
            (54000, 6000)
        """
        if (fraction, seed) in self._splits:
            return self._splits[fraction, seed]
        size = len(self.train)
        held = round(size * fraction)
        if not 0 < held < size:
            raise UserError(
                f"validation fraction {fraction}: leaves {held} of {size} for validation; use 0.1, or more images"
            )
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        images, labels = self.train
        parts = Images(images[order[held:]], labels[order[held:]]), Images(images[order[:held]], labels[order[:held]])
        self._splits = {(fraction, seed): parts}  # asked for again and again; another one is hardly ever
        return parts


def load_data(spec: str) -> Data | Loaders:
    """Finds and reads a data set.

    Args:
        spec: `fashion-mnist`, `cifar10` or `cifar100`, looked for in $CANVAS_DATA, ./data and /usr/share/datasets; or a
            folder that holds one of them, or `train/CLASS/*.png` (or .jpg) and, optionally, `test/CLASS/*.png`. Without
            `test/`, every tenth image is kept for testing. Images of other sizes are scaled to the size of the first.
            Or `PATH.py:FUNCTION`: a function that gives a pair of DataLoaders, as `canvas.loaders.loaders` takes it.

    Returns:
        The data; the test split is not read yet.

    Raises:
        UserError: data that are missing, truncated or unreadable, with the file and what to do.

    Example:
        >>> load_data("fashion-mnist").shape
        (1, 28, 28)
    """
    if spec in FORMATS:
        return FORMATS[spec](spec, _roots())
    if ".py:" in spec:
        from canvas.models import from_file

        return loaders(from_file("data", spec))
    folder = Path(spec)
    if not folder.is_dir():
        raise UserError(
            f"data '{spec}': not a built-in data set ({', '.join(FORMATS)}), no PATH.py:FUNCTION, and not a folder"
        )
    if (folder / "train").is_dir():
        return _image_folder(folder)
    for load, (mark, *_) in ((_fashion_mnist, IDX_FILES), (_cifar10, CIFAR10_FILES), (_cifar100, CIFAR100_FILES)):
        if _find(mark, [folder]):
            return load(spec, [folder])
    raise UserError(f"data folder '{spec}': needs train/CLASS/*.png (or .jpg), IDX files or CIFAR's binary files")


def locate(name: str) -> Path:
    """The folder that a built-in data set is in.

    Raises:
        UserError: it is nowhere; the message says how to get it.

    Example:
        >>> (locate("fashion-mnist") / "train-images-idx3-ubyte.gz").is_file()
        True
    """
    files, advice = {
        "fashion-mnist": (IDX_FILES, IDX_ADVICE),
        "cifar10": (CIFAR10_FILES, CIFAR_ADVICE),
        "cifar100": (CIFAR100_FILES, CIFAR_ADVICE),
    }[name]
    return _need(files[0], _roots(), name, advice).parent


def _roots() -> list[Path]:
    named = os.environ.get("CANVAS_DATA")
    folders = [Path(named)] if named else []
    return [*folders, Path("data"), Path("data/usr/share/datasets"), Path("/usr/share/datasets")]


SUBFOLDERS = (
    "",
    "fashion-mnist",
    "FashionMNIST/raw",
    "cifar10",
    "cifar100",
    "cifar-10-batches-bin",
    "cifar-100-binary",
)


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        for subfolder in SUBFOLDERS:
            for ending in ("", ".gz"):
                path = root / subfolder / (name + ending)
                if path.is_file():
                    return path
    return None


def _need(name: str, roots: Sequence[Path], data: str, advice: str) -> Path:
    path = _find(name, roots)
    if path is None:
        places = ", ".join(str(root) for root in roots)
        raise UserError(f"data '{data}': file {name} not found in {places}; {advice}")
    return path


def _read(path: Path, size: int, advice: str) -> np.ndarray:
    """Reads exactly `size` bytes of a plain or gzipped file."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"data file '{path}': cannot be read ({error}); {advice}") from error
    if len(raw) != size:
        raise UserError(f"data file '{path}': expected {size:,} bytes, found {len(raw):,}; {advice}")
    return np.frombuffer(raw, dtype=np.uint8)


# Fashion-MNIST in the IDX format: 16 bytes of header before images, 8 before labels.
IDX_ADVICE = (
    "install Debian's package dataset-fashion-mnist (without root: apt-get download it and unpack it into ./data "
    "with dpkg -x), or set CANVAS_DATA to the folder of the IDX files"
)
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FASHION_CLASSES = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def _idx_pair(name: str, roots: Sequence[Path], files: tuple[str, str], count: int) -> Images:
    paths = [_need(file, roots, name, IDX_ADVICE) for file in files]
    arrays = []
    for path, header, size, magic in zip(paths, (16, 8), (784, 1), (2051, 2049), strict=True):
        raw = _read(path, header + count * size, IDX_ADVICE)
        got = int.from_bytes(raw[:4].tobytes(), "big")
        if got != magic:
            raise UserError(f"data file '{path}': not an IDX file (starts with {got}, not {magic}); {IDX_ADVICE}")
        arrays.append(torch.from_numpy(raw[header:].copy()))
    return _checked(Images(arrays[0].view(count, 1, 28, 28), arrays[1].long()), 10, paths[1])


def _fashion_mnist(name: str, roots: Sequence[Path]) -> Data:
    train = _idx_pair(name, roots, IDX_FILES[:2], 60000)
    test = functools.partial(_idx_pair, name, tuple(roots), IDX_FILES[2:], 10000)
    return Data(name, train, tuple(FASHION_CLASSES), test)


# CIFAR in the official binary layout: a record is 1 (CIFAR-10) or 2 (CIFAR-100) label bytes, then 3 x 32 x 32 bytes.
CIFAR_ADVICE = "unpack the official binary version into ./data, or set CANVAS_DATA to its folder"
CIFAR10_FILES = ("data_batch_1.bin", *(f"data_batch_{i}.bin" for i in range(2, 6)), "test_batch.bin")
CIFAR100_FILES = ("train.bin", "test.bin")
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _cifar(name: str, roots: Sequence[Path], files: Sequence[str], count: int, classes: int) -> Images:
    header = 1 if classes == 10 else 2
    paths = [_need(file, roots, name, CIFAR_ADVICE) for file in files]
    size = header + 3072
    records = np.concatenate([_read(p, count * size, CIFAR_ADVICE) for p in paths]).reshape(-1, size)
    images = torch.from_numpy(records[:, header:].reshape(-1, 3, 32, 32).copy())
    return _checked(Images(images, torch.from_numpy(records[:, header - 1].astype(np.int64))), classes, paths[0])


def _cifar10(name: str, roots: Sequence[Path]) -> Data:
    train = _cifar(name, roots, CIFAR10_FILES[:5], 10000, 10)
    test = functools.partial(_cifar, name, tuple(roots), CIFAR10_FILES[5:], 10000, 10)
    return Data(name, train, tuple(CIFAR10_CLASSES), test)


def _cifar100(name: str, roots: Sequence[Path]) -> Data:
    train = _cifar(name, roots, CIFAR100_FILES[:1], 50000, 100)
    names = _find("fine_label_names.txt", roots)
    classes = names.read_text().split() if names else [f"class {i}" for i in range(100)]
    test = functools.partial(_cifar, name, tuple(roots), CIFAR100_FILES[1:], 10000, 100)
    return Data(name, train, tuple(classes), test)


FORMATS: dict[str, Callable[[str, Sequence[Path]], Data]] = {
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
}


def _checked(data: Images, classes: int, path: Path) -> Images:
    if int(data.labels.max()) >= classes:
        raise UserError(f"data file '{path}': holds class {int(data.labels.max())} of only {classes} classes")
    return data


def _image_folder(folder: Path) -> Data:
    classes = tuple(sorted(p.name for p in (folder / "train").iterdir() if p.is_dir()))
    files = _image_files(folder / "train", classes)
    if len(files) < 2:
        raise UserError(
            f"data folder '{folder / 'train'}': needs CLASS/*.png or CLASS/*.jpg, found {len(files)} images"
        )
    first = _open_image(files[0][0], None)
    layout = (first.mode if first.mode == "L" else "RGB", first.size)
    if (folder / "test").is_dir():
        unknown = sorted(p.name for p in (folder / "test").iterdir() if p.is_dir() and p.name not in classes)
        if unknown:
            raise UserError(f"data folder '{folder / 'test'}': class '{unknown[0]}' has no folder in train/")
        held = _image_files(folder / "test", classes)
        if not held:
            raise UserError(f"data folder '{folder / 'test'}': no images; add test/CLASS/*.png or remove the folder")
    else:
        held = files[9::10] or files[-1:]
        kept = set(files) - set(held)
        files = [entry for entry in files if entry in kept]
    test = functools.partial(_read_images, tuple(held), layout)
    return Data(str(folder), _read_images(files, layout), classes, test)


def _image_files(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    endings = {".png", ".jpg", ".jpeg"}
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in endings
    ]


def _read_images(files: Sequence[tuple[Path, int]], layout: tuple[str, tuple[int, int]]) -> Images:
    arrays = [np.asarray(_open_image(path, layout)) for path, _ in files]
    images = torch.from_numpy(np.stack(arrays))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
    return Images(images, torch.tensor([label for _, label in files]))


def _open_image(path: Path, layout: tuple[str, tuple[int, int]] | None):  # type: ignore[no-untyped-def]
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("reading a folder of images needs the package pillow: pip install pillow") from error
    try:
        with Image.open(path) as image:
            image.load()
            if layout is None:
                return image.copy()
            mode, size = layout
            converted = image.convert(mode)
            return converted if converted.size == size else converted.resize(size, Image.Resampling.BILINEAR)
    except OSError as error:
        raise UserError(f"image '{path}': cannot be read ({error}); replace or remove it") from error
