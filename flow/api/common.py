"""What arguments of the Python API become: paths, changes of a recipe as text, and the recipe's defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bnnflow import Problem

from ..recipe.bounds import checked
from .arguments import Changes, PathLike

if TYPE_CHECKING:
    import numpy as np

    from ..graphs.fault_folding import Folding

T = TypeVar("T")


def path_of(given: PathLike | None) -> Path | None:
    """A path; None for none."""
    return None if given is None else Path(given)


def array_of(given: np.ndarray | PathLike | None) -> np.ndarray | Path | None:
    """An array, or the path of its .npy file."""
    return Path(given) if isinstance(given, (str, os.PathLike)) else given


def changes_of(changes: Changes) -> list[str]:
    """Changes of a recipe as `key=value`: {"train.epochs": 3} or ["train.epochs=3"]."""
    if isinstance(changes, Mapping):
        return [f"{key}={_text(value)}" for key, value in changes.items()]
    return list(changes)


def _text(value: Any) -> str:
    """A value as YAML: JSON is a part of it.

    Raises:
        Problem: it is of a kind that recipes do not know.
    """
    return json.dumps(str(value) if isinstance(value, os.PathLike) else value, default=_plain)


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as Python's, other collections as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Iterable):
        return list(value)
    raise Problem(f"{value!r} is no value of a recipe", "changes", "give numbers, text, lists or mappings")


def folding_of(
    fps: float | None, folding: PathLike | None, pe_simd: str, part: str | None, clock_mhz: float | None
) -> Folding:
    """How a graph is folded for faults; None of part and clock: the recipe's defaults.

    Raises:
        Problem: a number is out of its key's range.
    """
    from ..graphs.fault_folding import Folding

    chip, clock = given_or_default(part, "target.part"), given_or_default(clock_mhz, "target.clock_mhz")
    return Folding(checked_key(fps, "target.fps"), path_of(folding), pe_simd, chip, clock)


def given_or_default(value: T | None, key: str) -> T:
    """A value that is given, else the recipe's one default of a key.

    Raises:
        Problem: it is out of the key's range.
    """
    from ..recipe.fields import default

    found: T = default(key) if value is None else checked_key(value, key)
    return found


def checked_key(value: T, key: str) -> T:
    """A value, which is allowed for a key of the recipe; None is.

    Raises:
        Problem: it is out of range, none of the choices, or a list that holds nothing where the key's must.
    """
    from ..recipe.fields import field_facts

    facts = field_facts(key)
    if facts.filled and isinstance(value, Sequence) and not value:
        raise Problem(f"{key}: the list is empty", key=key, hint="leave it out, or give what it is to hold")
    return checked(key, value, [str(word) for word in facts.choices], facts.bounds, facts.kind is int)
