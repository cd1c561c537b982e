"""Files that are either whole or absent: written under a temporary name, moved into place, checked when
read."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MAGIC = b"bnnflow1"
_DIGEST = hashlib.sha256().digest_size


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it to `path`; on any error `path` stays as
    it was.

    Args:
        path: the final name; its folder is made where it is absent.
        write: called once with the temporary path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name by which whoever opens a run folder again knows what a killed process left.
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, strings, lists, dictionaries) with its sha256 in front, atomically."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    whole = _MAGIC + hashlib.sha256(content).digest() + content
    write_atomically(path, lambda temporary: temporary.write_bytes(whole))


def load(path: Path) -> dict[str, Any] | None:
    """Read what `save` wrote; None where the file is absent, cut short, changed, or not of this kind."""
    import torch

    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST
    payload = content[start:]
    if content[: len(_MAGIC)] != _MAGIC or content[len(_MAGIC) : start] != hashlib.sha256(payload).digest():
        return None
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None
