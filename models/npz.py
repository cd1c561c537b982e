"""npz files from strangers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from bnnflow import Problem


def read_npz(content: bytes, path: Path, what: str, hint: str) -> dict[str, np.ndarray]:
    """Every array of an npz file; nothing in it is executed.

    Args:
        content: of the file.
        path, what, hint: for the message: where it lies, what it should be, what to do.

    Raises:
        Problem: it is no npz file, damaged, or holds something else than numbers and text.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except Exception as error:  # damage comes to light in zipfile, zlib, numpy or its tokenizer, as errors of each
        raise Problem(f"not {what}: {error}", str(path), hint) from error
