"""What callers from Python may give: paths as text, arrays or their files, and changes of a recipe as a mapping."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bnnflow import Problem

if TYPE_CHECKING:
    import numpy as np

    from ..graphs.fault_folding import Folding

PathLike = str | os.PathLike[str]
Changes = Mapping[str, Any] | Sequence[str]
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
    """A value as YAML: JSON is a part of it."""
    return json.dumps(str(value) if isinstance(value, os.PathLike) else value, default=list)


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
        Problem: it is of another kind, out of range, or none of the choices.
    """
    from ..recipe.bounds import checked
    from ..recipe.fields import field_facts

    facts = field_facts(key)
    if value is not None:
        _check_kind(key, value, facts.kind, facts.many)
    return checked(key, value, [str(word) for word in facts.choices], facts.bounds, facts.kind is int)


def _check_kind(key: str, value: Any, kind: type, many: bool) -> None:
    """What a command line cannot give, but a caller can: text for a list of it, or for a number."""
    if many and (isinstance(value, str) or not isinstance(value, Iterable)):
        raise Problem(f"{key}: {value!r} is not a list", key=key, hint=f"give [{value!r}]")
    wanted = {int: (Integral, "a whole number"), float: (Real, "a number"), str: (str, "text")}.get(kind)
    for one in value if many else [value]:
        if wanted is not None and (not isinstance(one, wanted[0]) or isinstance(one, bool)):
            raise Problem(f"{key}: {one!r} is not {wanted[1]}", key=key)
