"""Data sets that are published as four IDX files: MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from .dataset import Dataset

_TRAIN_IMAGES = "train-images-idx3-ubyte"
_TRAIN_LABELS = "train-labels-idx1-ubyte"
_TEST_IMAGES = "t10k-images-idx3-ubyte"
_TEST_LABELS = "t10k-labels-idx1-ubyte"


@dataclass(frozen=True, slots=True)
class _Idx:
    """A data set published as four IDX files: class names, sha256 of each file, known folders, where to get
    it."""

    classes: tuple[str, ...]
    sha256: dict[str, str]
    folders: tuple[Path, ...]
    obtain: str


_IDX = {
    "mnist": _Idx(
        classes=tuple("0123456789"),
        sha256={
            _TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            _TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            _TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            _TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        folders=(),
        obtain="`flow data get mnist` fetches it; or get the four original IDX files (LeCun, Cortes, Burges) and "
        "name their folder with --data-dir",
    ),
    "fashion-mnist": _Idx(
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        sha256={
            _TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            _TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            _TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            _TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        folders=(Path("/usr/share/datasets/fashion-mnist"),),
        obtain="`flow data get fashion-mnist` fetches Debian's dataset-fashion-mnist; or get the four IDX files from "
        "github.com/zalandoresearch/fashion-mnist and name their folder with --data-dir",
    ),
}


def load_idx(name: str, looked_in: tuple[Path, ...]) -> Dataset:
    """Read "mnist" or "fashion-mnist" from the first folder that has all four files.

    Raises:
        Problem: files are missing, damaged, or not the published ones.
    """
    published = _IDX[name]
    found = _find(name, published, looked_in)
    contents = {stem: _read(path) for stem, path in found.items()}
    arrays: dict[str, np.ndarray] = {}
    for images_stem, labels_stem in ((_TRAIN_IMAGES, _TRAIN_LABELS), (_TEST_IMAGES, _TEST_LABELS)):
        images = _parse(contents[images_stem], found[images_stem], dimensions=3)
        labels = _parse(contents[labels_stem], found[labels_stem], dimensions=1)
        _check_pair(images, labels, found[images_stem], found[labels_stem], len(published.classes))
        arrays[images_stem] = images[:, None]
        arrays[labels_stem] = labels.astype(np.int64)
    sums = {stem: hashlib.sha256(content).hexdigest() for stem, content in contents.items()}
    for stem, path in found.items():
        _check_sum(name, stem, sums[stem], path)
    return Dataset(
        name=name,
        classes=published.classes,
        train_images=arrays[_TRAIN_IMAGES],
        train_labels=arrays[_TRAIN_LABELS],
        test_images=arrays[_TEST_IMAGES],
        test_labels=arrays[_TEST_LABELS],
        source=str(found[_TRAIN_IMAGES].parent),
        files=sums,
    )


def _find(name: str, published: _Idx, folders: tuple[Path, ...]) -> dict[str, Path]:
    """The file of each IDX name in the first folder that has all four, `.gz` before plain."""
    best: dict[str, Path] = {}
    for folder in folders:
        candidates = {stem: (folder / f"{stem}.gz", folder / stem) for stem in published.sha256}
        found = {stem: path for stem, paths in candidates.items() for path in paths[::-1] if path.is_file()}
        if len(found) == len(published.sha256):
            return found
        best = max(best, found, key=len)
    missing = [f"{stem}[.gz]" for stem in published.sha256 if stem not in best]
    where = ", ".join(map(str, folders)) or "no folder was named"
    raise Problem(f"{name}: missing {', '.join(missing)}", where=f"looked in: {where}", hint=published.obtain)


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Problem(
            f"the gzip file is damaged or cut short ({error})", where=str(path), hint="copy the file again"
        ) from error
    except OSError as error:
        raise Problem(f"the file cannot be read ({error.strerror or error})", where=str(path)) from error


def _parse(content: bytes, path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file: magic 0x0000080D (D dimensions), D big-endian sizes, then the bytes."""
    header = 4 + 4 * dimensions
    magic = content[:4].hex()
    expected = f"000008{dimensions:02x}"
    again = "copy the file again, or check that its name is right"
    if magic != expected:
        what = f"not an IDX file of {dimensions} dimensions: magic {magic or 'absent'}, not {expected}"
        raise Problem(what, str(path), again)
    if len(content) < header:
        raise Problem(f"the IDX header is cut short: {len(content)} bytes", str(path), again)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    wanted = header + int(np.prod([int(size) for size in shape], dtype=object))
    if len(content) != wanted:
        raise Problem(f"the header says {shape}, {wanted} bytes, but the file has {len(content)}", str(path), again)
    if wanted == header:
        raise Problem(f"the file holds no data: sizes {shape}", str(path), again)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _check_pair(images: np.ndarray, labels: np.ndarray, images_path: Path, labels_path: Path, classes: int) -> None:
    if len(images) != len(labels):
        raise Problem(
            f"{len(images)} images but {len(labels)} labels",
            where=f"{images_path}, {labels_path}",
            hint="both files must come from the same data set and split",
        )
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        raise Problem(
            f"label {labels[wrong[0]]} of image {wrong[0]} is outside 0 to {classes - 1}",
            where=str(labels_path),
            hint="copy the file again",
        )


def _check_sum(name: str, stem: str, sha256: str, path: Path) -> None:
    if sha256 == _IDX[name].sha256[stem]:
        return
    owners = [other for other, idx in _IDX.items() if idx.sha256[stem] == sha256]
    hint = f"this is the file of {owners[0]}" if owners else _IDX[name].obtain
    raise Problem(f"not the published file of {name}: its content has sha256 {sha256[:16]}...", str(path), hint)


def folders_of(name: str) -> tuple[Path, ...]:
    """Where the system's packages put a data set."""
    return _IDX[name].folders if name in _IDX else ()


def obtain(name: str) -> str:
    """How to get the files of a data set."""
    return _IDX[name].obtain


def find_folder(name: str, folders: tuple[Path, ...]) -> Path | None:
    """The first folder that has all four files, or None."""
    try:
        return _find(name, _IDX[name], folders)[_TRAIN_IMAGES].parent
    except Problem:
        return None
