"""The recipes of runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..run.folder import RECIPE, Run, verify_recorded
from .file import load_recipe
from .schema import Recipe


def recipe_of(run: Run, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a run, as the run wrote it, with changes `key=value`.

    Raises:
        Problem: it is missing, refused, or (status 1) was changed since it was written.
    """
    verify_recorded(run.path(RECIPE))
    return load_recipe(run.path(RECIPE), changes)
