"""Where compiled kernels are kept, which is said from above: nothing here knows a user's folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Folder = Callable[[], Path | None]
_SAID: list[Folder] = []


def keep_in(folder: Folder) -> None:
    """Keep machine code in the folder that a function gives when it is first needed; in none where it gives None."""
    _SAID[:] = [folder]


def kept_in() -> Path | None:
    """The folder where machine code is kept; None where none was said, and each process compiles for itself."""
    return _SAID[0]() if _SAID else None
