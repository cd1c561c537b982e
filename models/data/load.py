"""Read a data set by name into numpy arrays; nothing is downloaded and torch is not imported."""

from __future__ import annotations

import difflib
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from . import cifar, idx, own, speech
from .cache import cached
from .dataset import Dataset, mixed, stratified

__all__ = ["DataSetPlace", "Dataset", "data_set_names", "load_dataset", "survey_data_sets"]

_DIGITS = Path(__file__).with_name("digits.npz")
_DIGITS_TEST = 360
_PUBLISHED = ("mnist", "fashion-mnist", "cifar10", "speech-commands")


def data_set_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows, besides module:function."""
    return ("digits", *_PUBLISHED, "folder", "npz")


def load_dataset(
    name: str, folder: Path | None = None, places: tuple[Path, ...] = (), cache: Path | None = None
) -> Dataset:
    """Read the data set `name`.

    "digits" comes with the package: 8x8 pixels times 15 (0 to 240), 1,437 training and 360 test images in a
    fixed split stratified by class. "mnist" and "fashion-mnist" are read from their four published IDX
    files, plain or gzipped, whose decompressed content is checked by sha256. "cifar10": binary version, python
    pickles or npz. "speech-commands": WAV files by the official split, or prepared features. "folder": image files,
    a subfolder a class. "npz": four arrays. "module:function": what the function gives.
    Images of the last three and of "speech-commands" are put into another order (`mixed`).

    Args:
        name: one of `data_set_names()`, or module:function.
        folder: where the files lie, directly or in a subfolder called `name`; for "npz" the file itself. None looks
            where the system's packages put them, and in `places`.
        places: further folders to look in where none is named.
        cache: folder for decoded data; None keeps none.

    Raises:
        Problem: the name is unknown, files are missing, damaged, or not the published ones.
    """
    if name == "digits":
        return _digits()
    if ":" in name:
        return mixed(_from_module(name, folder))
    if name not in data_set_names():
        close = difflib.get_close_matches(name.lower().replace("_", "-"), data_set_names(), n=1, cutoff=0.5)
        known = f"known data sets: {', '.join(data_set_names())}, or module:function"
        hint = f"did you mean {close[0]!r}? {known}" if close else known
        raise Problem(f"unknown data set {name!r}", hint=hint)
    if name in ("folder", "npz"):
        if folder is None:
            raise Problem(f"data set {name!r} needs its path", "data.dir", "for example dir: my-images")
        if name == "npz":
            return mixed(own.load_npz(folder))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return cached(cache, name, files, lambda: mixed(own.load_folder(folder)))
    looked_in = _looked_in(name, folder, places)
    if name == "cifar10":
        return cached(cache, name, cifar.find_files(looked_in), lambda: cifar.load_cifar10(looked_in))
    if name == "speech-commands":
        at = speech.find_words(looked_in)
        files = [] if at is None else [at] if at.is_file() else [at, *(at / word for word in speech.WORDS)]
        return cached(cache if files else None, name, files, lambda: mixed(speech.load_speech(looked_in)))
    return idx.load_idx(name, looked_in)


def _looked_in(name: str, folder: Path | None, places: tuple[Path, ...]) -> tuple[Path, ...]:
    if folder is not None:
        return (folder, folder / name)
    system = idx.folders_of(name)
    return (*system, *(path for place in places for path in (place, place / name) if path.is_dir()))


def _from_module(name: str, folder: Path | None) -> Dataset:
    from ..user_code import import_user_module

    module_name, _, function = name.partition(":")
    module = import_user_module(module_name, str(folder or ""), "data.name")
    found = getattr(module, function, None)
    if not callable(found):
        raise Problem(f"{function!r} in {module_name} is no function", "data.name", "name a function without arguments")
    return own.from_function(name, found)


@dataclass(frozen=True, slots=True)
class DataSetPlace:
    """Where a data set is, or how to get it; a row of `flow data`.

    Attributes:
        name: as in `data: {name: ...}`.
        where: its folder or file; "" where it was not found.
        how: how to get it.
    """

    name: str
    where: str
    how: str


def survey_data_sets(folder: Path | None = None, places: tuple[Path, ...] = ()) -> list[DataSetPlace]:
    """Where each data set is found, without reading it."""
    rows = [DataSetPlace("digits", "bnnflow", "comes with bnnflow")]
    for name in _PUBLISHED:
        looked_in = _looked_in(name, folder, places)
        if name == "cifar10":
            files = cifar.find_files(looked_in)
            rows.append(DataSetPlace(name, str(files[0].parent) if files else "", cifar.OBTAIN))
        elif name == "speech-commands":
            rows.append(DataSetPlace(name, str(speech.find_words(looked_in) or ""), speech.OBTAIN))
        else:
            rows.append(DataSetPlace(name, str(idx.find_folder(name, looked_in) or ""), idx.obtain(name)))
    return rows


def _digits() -> Dataset:
    content = _DIGITS.read_bytes()
    with np.load(io.BytesIO(content)) as stored:
        images = (stored["images"] * np.uint8(15))[:, None]
        labels = stored["labels"].astype(np.int64)
    test = stratified(labels, _DIGITS_TEST)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        source="bnnflow",
        files={_DIGITS.name: hashlib.sha256(content).hexdigest()},
    )
