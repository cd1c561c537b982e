"""Decoded data sets on disk, mapped into memory, so that files are decoded once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .dataset import Dataset

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_VERSION = 2


def cached(folder: Path | None, name: str, files: Iterable[Path], decode: Callable[[], Dataset]) -> Dataset:
    """The data set from the cache, or decoded and put there.

    An entry belongs to the names, sizes and times of change of `files`; a damaged one is made anew.

    Args:
        folder: of the cache; None decodes every time.
        name: of the data set.
        files: what it is decoded from.
        decode: reads it.
    """
    if folder is None:
        return decode()
    key = hashlib.sha256(json.dumps([_VERSION, name, [_stamp(path) for path in files]]).encode()).hexdigest()[:16]
    entry = folder / f"{name}-{key}"
    found = _read(entry)
    if found is not None:
        return found
    made = decode()
    try:
        _write(entry, made)
    except OSError:
        return made  # no room or no permission: a cache is never needed
    return _read(entry) or made


def _stamp(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def _read(entry: Path) -> Dataset | None:
    try:
        facts = json.loads((entry / "facts.json").read_text())
        arrays = {key: np.load(entry / f"{key}.npy", mmap_mode="r", allow_pickle=False) for key in _ARRAYS}
        if [list(array.shape) for array in arrays.values()] != facts["shapes"]:
            return None
        return Dataset(facts["name"], tuple(facts["classes"]), **arrays, source=facts["source"], files=facts["files"])
    except (OSError, ValueError, KeyError, EOFError, TypeError):
        return None


def _write(entry: Path, made: Dataset) -> None:
    temporary = entry.with_name(f".{entry.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        shapes = []
        for key in _ARRAYS:
            array = getattr(made, key)
            shapes.append(list(array.shape))
            np.save(temporary / f"{key}.npy", array, allow_pickle=False)
        facts = {"name": made.name, "classes": made.classes, "source": made.source, "files": made.files}
        (temporary / "facts.json").write_text(json.dumps({**facts, "shapes": shapes}))
        shutil.rmtree(entry, ignore_errors=True)
        temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
