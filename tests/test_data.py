"""Finding, checking, reading and splitting of data sets; the files are made here."""

import gzip
import pickle

import numpy as np
import pytest
import torch

from canvas import data as module
from canvas.data import Data, Images, load_data
from canvas.errors import UserError


@pytest.fixture
def nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_roots", lambda: [tmp_path])
    return tmp_path


def write_idx(folder, part="train", count=60000, zipped=True, classes=10):
    folder.mkdir(parents=True, exist_ok=True)
    header = (2051).to_bytes(4, "big") + count.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2
    images = header + bytes(count * 784)
    labels = (
        (2049).to_bytes(4, "big") + count.to_bytes(4, "big") + (np.arange(count) % classes).astype(np.uint8).tobytes()
    )
    for name, raw in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{name}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(raw, 1) if zipped else raw)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read_and_the_test_split_only_when_touched(nothing_installed, zipped):
    write_idx(nothing_installed / "fashion-mnist", zipped=zipped)
    data = load_data("fashion-mnist")  # no test files yet
    assert data.shape == (1, 28, 28) and len(data.train) == 60000 and len(data.classes) == 10
    assert data.train.labels[:12].tolist() == [*range(10), 0, 1]
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte not found"):
        _ = data.test
    write_idx(nothing_installed / "fashion-mnist", "t10k", 10000, zipped)
    assert len(data.test) == 10000


def test_canvas_data_is_looked_at_first(tmp_path, monkeypatch):
    write_idx(tmp_path)
    monkeypatch.setenv("CANVAS_DATA", str(tmp_path))
    assert int(load_data("fashion-mnist").train.images.max()) == 0  # these files are all zeros


def test_missing_data_say_where_they_were_looked_for_and_how_to_get_them(nothing_installed):
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte not found in .*dataset-fashion-mnist.*CANVAS_DATA"):
        load_data("fashion-mnist")
    with pytest.raises(UserError, match=r"data_batch_1.bin not found in .*binary version"):
        load_data("cifar10")


def test_a_truncated_file_is_named_with_both_sizes(nothing_installed):
    write_idx(nothing_installed, zipped=False)
    path = nothing_installed / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte': expected 47,040,016 bytes, found 47,039,016"):
        load_data("fashion-mnist")


def test_a_truncated_or_foreign_gzip_file_is_named(nothing_installed):
    write_idx(nothing_installed)
    path = nothing_installed / "train-labels-idx1-ubyte.gz"
    for broken in (path.read_bytes()[:-100], b"not gzip", b""):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz': (cannot be read|expected)"):
            load_data("fashion-mnist")


def test_labels_beyond_the_classes_are_refused(nothing_installed):
    write_idx(nothing_installed, zipped=False, classes=11)
    with pytest.raises(UserError, match="holds class 10 of only 10 classes"):
        load_data("fashion-mnist")


@pytest.mark.parametrize(("classes", "header", "files"), [(10, 1, 5), (100, 2, 1)])
def test_cifar_records_are_label_then_three_planes(tmp_path, classes, header, files):
    count = 10000 if classes == 10 else 50000
    record = np.zeros((count, header + 3072), dtype=np.uint8)
    record[:, header - 1] = np.arange(count) % classes
    record[:, header : header + 1024] = 255  # red
    names = module.CIFAR10_FILES if classes == 10 else module.CIFAR100_FILES
    for name in names[:files]:
        (tmp_path / name).write_bytes(record.tobytes())
    data = load_data(str(tmp_path))
    assert data.shape == (3, 32, 32) and len(data.train) == files * count and len(data.classes) == classes
    assert data.train.images[5, :, 7, 9].tolist() == [255, 0, 0]
    assert data.train.labels[:3].tolist() == [0, 1, 2]
    assert data.mean.tolist() == [1, 0, 0]
    (tmp_path / names[-1]).write_bytes(record[:10000].tobytes()[:-1])
    with pytest.raises(UserError, match=r"expected 30,7\d0,000 bytes, found 30,7\d9,999|found 30,7"):
        _ = data.test


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, count in (("train", 12), ("test", 3)):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                size = (8, 6) if index else (16, 12)
                image.new("RGB", size, (100 * label, 50, index)).save(tmp_path / part / name / f"{index:02}.png")
    return tmp_path


def test_an_image_folder_is_scaled_to_the_first_image(pictures):
    data = load_data(str(pictures))
    assert data.classes == ("cat", "dog") and data.shape == (3, 12, 16)
    assert len(data.train) == 24 and len(data.test) == 6
    assert data.train.images[13, :, 0, 0].tolist() == [100, 50, 1]


def test_without_a_test_folder_every_tenth_image_is_kept(pictures):
    import shutil

    shutil.rmtree(pictures / "test")
    data = load_data(str(pictures))
    assert len(data.train) == 22 and len(data.test) == 2


def test_faults_of_an_image_folder(pictures, tmp_path):
    (pictures / "test" / "bird").mkdir()
    with pytest.raises(UserError, match="class 'bird' has no folder in train/"):
        load_data(str(pictures))
    (pictures / "test" / "bird").rmdir()
    (pictures / "train" / "cat" / "03.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"image '.*03.png': cannot be read"):
        load_data(str(pictures))
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="found 0 images"):
        load_data(str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"not a built-in data set .* and not a folder"):
        load_data("fashion-mist")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="needs train/CLASS"):
        load_data(str(tmp_path / "nothing"))


def small(count=50):
    images = torch.randint(256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 0, 0, 0] = torch.arange(count)  # each image is known by its first pixel
    return Data("small", Images(images, torch.arange(count) % 3), ("a", "b", "c"), lambda: None)


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 0.98])
def test_a_split_is_a_partition_and_depends_on_the_seed_alone(fraction):
    data = small()
    torch.manual_seed(fraction > 0.3)
    training, validation = data.split(fraction, seed=3)
    assert len(validation) == round(50 * fraction)
    both = torch.cat([training.images, validation.images])[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(50))
    assert torch.equal(validation.labels, validation.images[:, 0, 0, 0].long() % 3)
    assert torch.equal(validation.images, data.split(fraction, seed=3)[1].images)
    assert fraction > 0.9 or not torch.equal(training.images, data.split(fraction, seed=4)[0].images)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.001])
def test_an_empty_split_is_refused(fraction):
    with pytest.raises(UserError, match="validation fraction"):
        small().split(fraction)


def test_normalised_training_images_have_mean_0_and_deviation_1():
    data = small()
    normal = data.normalise(data.train.images)
    assert abs(float(normal.mean())) < 1e-5 and abs(float(normal.std()) - 1) < 1e-3


def test_data_can_be_sent_to_a_worker(nothing_installed):
    write_idx(nothing_installed)
    again = pickle.loads(pickle.dumps(load_data("fashion-mnist")))
    assert len(again.train) == 60000 and again.classes[0] == "top"
