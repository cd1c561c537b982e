"""Data sets are the published ones, split as documented; everything else is refused with a reason."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.models.data import idx as module
from bnnflow.models.data import load as load_module
from bnnflow.models.data.load import Dataset, data_set_names, load_dataset
from tests.places import DATA

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def contents() -> dict[str, bytes]:
    pixels = np.arange(5 * 28 * 28).reshape(5, 28, 28)
    return {
        TRAIN_IMAGES: idx(pixels),
        TRAIN_LABELS: idx(np.array([3, 1, 4, 1, 9])),
        TEST_IMAGES: idx(pixels[:2]),
        TEST_LABELS: idx(np.array([0, 5])),
    }


@pytest.fixture
def publish(contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """Write the files (with changes), have the unchanged ones pass as the published MNIST, and load it."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(module._IDX, "mnist", replace(module._IDX["mnist"], sha256=sums))

    def write(**changes: bytes) -> Dataset:
        for name, content in contents.items():
            (tmp_path / name).write_bytes(changes.get(name.split("-ubyte")[0].replace("-", "_"), content))
        return load_dataset("mnist", tmp_path)

    return write


def test_digits_are_split_as_documented(digits: Dataset) -> None:
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.dtype == np.uint8 and digits.train_images.max() == 240
    assert digits.train_labels.dtype == np.int64
    assert np.bincount(digits.test_labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert hashlib.sha256(digits.test_images).hexdigest().startswith("5d0f4d3ca149811a"), "another split than before"
    with pytest.raises(ValueError, match="read-only"):
        digits.train_images[0] = 0


def test_digits_lose_and_repeat_no_image(digits: Dataset) -> None:
    with np.load(load_module._DIGITS) as stored:
        wanted = np.concatenate([stored["images"].reshape(-1, 64) * 15, stored["labels"][:, None]], axis=1)
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    labels = np.concatenate([digits.train_labels, digits.test_labels])[:, None]
    found = np.concatenate([images, labels], axis=1)
    assert sorted(map(bytes, found.astype(np.uint8))) == sorted(map(bytes, wanted.astype(np.uint8)))


def test_loading_does_not_import_torch() -> None:
    load = "from bnnflow.models.data.load import load_dataset; load_dataset('digits')"
    code = f"import sys; {load}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_idx_files_are_read_plain_and_gzipped(publish: Callable[..., Dataset], tmp_path: Path) -> None:
    plain = publish()
    assert plain.train_images.shape == (5, 1, 28, 28)
    assert plain.train_images[0, 0, 1, :3].tolist() == [28, 29, 30]
    assert plain.test_labels.tolist() == [0, 5]
    folder = tmp_path / "all" / "mnist"
    folder.mkdir(parents=True)
    for path in tmp_path.glob("*-ubyte"):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    zipped = load_dataset("mnist", tmp_path / "all")
    assert zipped.source == str(folder)
    assert zipped.files == plain.files
    np.testing.assert_array_equal(zipped.train_images, plain.train_images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images_idx3": b""}, "magic absent"),
        ({"train_images_idx3": b"\x1f\x8b\x08\x00 compressed"}, "magic 1f8b0800"),
        ({"train_labels_idx1": idx(np.zeros((5, 1)))}, "magic 00000802, not 00000801"),
        ({"train_images_idx3": bytes([0, 0, 8, 3, 0])}, "header is cut short"),
        ({"train_images_idx3": idx(np.zeros((5, 28, 28)))[:-1]}, "3936 bytes, but the file has 3935"),
        ({"train_images_idx3": idx(np.zeros((0, 28, 28))), "train_labels_idx1": idx(np.zeros(0))}, "holds no data"),
        ({"train_labels_idx1": idx(np.zeros(4))}, "5 images but 4 labels"),
        ({"train_labels_idx1": idx(np.array([3, 1, 10, 1, 9]))}, "label 10 of image 2 is outside 0 to 9"),
        ({"train_labels_idx1": idx(np.array([3, 1, 4, 1, 8]))}, "not the published file of mnist"),
    ],
)
def test_damaged_files_are_refused(publish: Callable[..., Dataset], changes: dict[str, bytes], message: str) -> None:
    with pytest.raises(Problem, match=message) as caught:
        publish(**changes)
    assert "-ubyte" in caught.value.where
    assert caught.value.hint


def test_a_cut_gzip_file_is_refused(contents: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(Problem, match="damaged or cut short"):
        load_dataset("mnist", tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / TRAIN_IMAGES).touch()
    with pytest.raises(Problem, match=rf"missing {TRAIN_LABELS}\[.gz\], {TEST_IMAGES}") as caught:
        load_dataset("fashion-mnist", tmp_path)
    assert str(tmp_path / "fashion-mnist") in caught.value.where
    assert "dataset-fashion-mnist" in caught.value.hint
    with pytest.raises(Problem, match="missing") as caught:
        load_dataset("mnist")
    assert "--data-dir" in caught.value.hint


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(Problem, match="unknown data set 'fashion_mnst'") as caught:
        load_dataset("fashion_mnst")
    assert "did you mean 'fashion-mnist'?" in caught.value.hint
    assert all(name in caught.value.hint for name in data_set_names())


@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="no MNIST in BNNFLOW_DATA")
def test_the_real_mnist_is_recognised() -> None:
    mnist = load_dataset("mnist", DATA)
    assert np.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    with pytest.raises(Problem, match="not the published file of fashion-mnist") as caught:
        load_dataset("fashion-mnist", DATA / "mnist")
    assert caught.value.hint == "this is the file of mnist"
