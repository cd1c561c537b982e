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


def beside(path: Path | None, mark: str) -> Path | None:
    """The path of a file that goes with another, such as `prune-step2.pt` with `prune.pt`; None of None."""
    return path and path.with_name(f"{path.stem}-{mark}{path.suffix}")


def save_sealed(content: bytes, magic: bytes, path: Path) -> None:
    """Write `magic`, the sha256 of `content`, and `content` to one file, atomically."""
    whole = magic + hashlib.sha256(content).digest() + content
    write_atomically(path, lambda temporary: temporary.write_bytes(whole))


def load_sealed(magic: bytes, path: Path) -> bytes | None:
    """The content that `save_sealed` wrote; None where the file is absent, cut short, changed, or of another kind."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    start = len(magic) + _DIGEST
    content = whole[start:]
    is_whole = whole.startswith(magic) and whole[len(magic) : start] == hashlib.sha256(content).digest()
    return content if is_whole else None


def save(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, strings, lists, dictionaries) with its sha256 in front, atomically."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    save_sealed(buffer.getvalue(), _MAGIC, path)


def load_stored(path: Path) -> dict[str, Any] | None:
    """Read what `save` wrote; None where the file is absent, cut short, changed, or not of this kind."""
    import torch

    content = load_sealed(_MAGIC, path)
    if content is None:
        return None
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None
