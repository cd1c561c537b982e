"""CIFAR-10 in every form that it is found in: binary version, python pickles, npz, image mosaics."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ..npz import read_npz
from .dataset import Dataset
from .pickles import load_arrays

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OBTAIN = (
    "get cifar-10-binary.tar.gz (Krizhevsky 2009; `flow data get cifar10` fetches it), unpack it and name its folder "
    "with --data-dir"
)
_FOLDERS = ("", "cifar10", "cifar-10-batches-bin", "cifar-10-batches-py")
_RECORD = 3073
_SIDE = 32
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))

Part = tuple[np.ndarray, np.ndarray]


def find_files(folders: tuple[Path, ...]) -> list[Path]:
    """The files of the first complete form in the first folder that has one, training files first; [] for none."""
    for folder in folders:
        for name in _FOLDERS:
            for form in (_binary, _pickles, _archives):
                files = form(folder / name)
                if files:
                    return files
    return []


def _binary(folder: Path) -> list[Path]:
    return _whole([folder / f"{stem}.bin" for stem in (*_TRAIN, "test_batch")])


def _pickles(folder: Path) -> list[Path]:
    return _whole([folder / stem for stem in (*_TRAIN, "test_batch")])


def _archives(folder: Path) -> list[Path]:
    train = sorted(folder.glob("cifar10_train*.npz"))
    return _whole([*train, folder / "cifar10_test.npz"]) if train else []


def _whole(files: list[Path]) -> list[Path]:
    return files if all(path.is_file() for path in files) else []


def load_cifar10(folders: tuple[Path, ...]) -> Dataset:
    """Read CIFAR-10; the last file is the test part.

    Raises:
        Problem: no complete form is found, or a file is damaged.
    """
    files = find_files(folders)
    if not files:
        where = ", ".join(map(str, folders)) or "no folder was named"
        raise Problem("cifar10: no complete set of files", f"looked in: {where}", OBTAIN)
    sums: dict[str, str] = {}
    parts: list[Part] = []
    for path in files:
        content = path.read_bytes()
        sums[path.name] = hashlib.sha256(content).hexdigest()
        parts.append(_reader(path)(content, path))
    *train, test = parts
    return Dataset(
        name="cifar10",
        classes=CLASSES,
        train_images=np.concatenate([images for images, _ in train]),
        train_labels=np.concatenate([labels for _, labels in train]),
        test_images=test[0],
        test_labels=test[1],
        source=str(files[0].parent),
        files=sums,
    )


def _reader(path: Path) -> Callable[[bytes, Path], Part]:
    return {".bin": _from_binary, ".npz": _from_npz}.get(path.suffix, _from_pickle)


def _from_binary(content: bytes, path: Path) -> Part:
    """Records of one label byte and 3,072 bytes, channels first."""
    if not content or len(content) % _RECORD:
        what = f"{len(content)} bytes are no whole records of {_RECORD}"
        raise Problem(what, str(path), "the file is cut short: unpack it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    return _checked(records[:, 1:].reshape(-1, 3, _SIDE, _SIDE), records[:, 0], path)


def _from_pickle(content: bytes, path: Path) -> Part:
    held = load_arrays(content, path)
    images = held.get("data")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3072,):
        raise Problem("the pickle has no 'data' of 3,072 bytes an image", str(path), OBTAIN)
    labels = np.asarray(held.get("labels", []))
    return _checked(images.reshape(-1, 3, _SIDE, _SIDE), labels, path)


def _from_npz(content: bytes, path: Path) -> Part:
    """Arrays `images` and `labels`, or `labels` and lossless mosaics of 25 rows of 40 images (`mosaic_00`, ...)."""
    stored = read_npz(content, path, "an npz of images and labels", OBTAIN)
    if "images" in stored:
        images = stored["images"]
        images = images.transpose(0, 3, 1, 2) if images.shape[-1:] == (3,) and images.ndim == 4 else images
    else:
        images = _mosaics(stored, path)
    return _checked(np.ascontiguousarray(images), stored.get("labels", np.empty(0)), path)


def _mosaics(stored: dict[str, np.ndarray], path: Path) -> np.ndarray:
    from PIL import Image

    parts = []
    for key in sorted(name for name in stored if name.startswith("mosaic_")):
        try:
            mosaic = np.asarray(Image.open(io.BytesIO(stored[key].tobytes())).convert("RGB"))
            tiles = mosaic.reshape(mosaic.shape[0] // _SIDE, _SIDE, -1, _SIDE, 3)
        except Exception as error:  # each of pillow's readers has errors of its own
            raise Problem(f"{key} is no mosaic of 32x32 images: {error}", str(path), OBTAIN) from error
        parts.append(tiles.transpose(0, 2, 4, 1, 3).reshape(-1, 3, _SIDE, _SIDE)[: len(stored.get("labels", ()))])
    if not parts:
        raise Problem("neither 'images' nor a mosaic", str(path), OBTAIN)
    return np.concatenate(parts)


def _checked(images: np.ndarray, labels: np.ndarray, path: Path) -> Part:
    shapes = (len(labels), 3, _SIDE, _SIDE), (len(images),)
    if (images.shape, labels.shape) != shapes or images.dtype != np.uint8 or labels.dtype.kind not in "iu":
        what = f"labels {labels.shape} {labels.dtype} for images {images.shape} {images.dtype}"
        raise Problem(what, str(path), "the file is damaged: unpack it again")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise Problem("a label is outside 0 to 9", str(path), "the file is damaged: unpack it again")
    return images.copy(), labels.astype(np.int64)
