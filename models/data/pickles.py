"""Pickled dictionaries of numpy arrays from strangers, read without running anything in them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

# A name in a pickle is looked up here and nowhere else; old and new files name numpy's parts differently.
_MAKER = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _MAKER,
    ("numpy._core.multiarray", "_reconstruct"): _MAKER,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _OnlyArrays(pickle.Unpickler):
    """Knows numpy's arrays and nothing else that can be called."""

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return found


def load_arrays(content: bytes, path: Path) -> dict[str, Any]:
    """The dictionary that `content` pickles: numbers, text, lists and numpy arrays of numbers.

    Args:
        content: the pickle; keys and text of Python 2 are read as Latin-1.
        path: for the message.

    Raises:
        Problem: it holds anything else, or is damaged.
    """
    hint = "get the original files again, or the binary version; nothing of this one was run"
    try:
        loaded = _OnlyArrays(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        raise Problem(f"not a pickle of plain arrays: {error}", str(path), hint) from error
    if not isinstance(loaded, dict):
        raise Problem(f"the pickle holds no dictionary but {type(loaded).__name__}", str(path), hint)
    named = {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in loaded.items()}
    for key, value in named.items():
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            raise Problem(f"the array {key!r} holds objects, not numbers", str(path), hint)
    return named
