"""A build as it is asked for: the recipe is read and the stages are known before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ..run.names import STAGE_NAMES

if TYPE_CHECKING:
    from ..recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Planned:
    """A recipe, its run folder, and the stages from `first` (empty: those that are not up to date) to `last`."""

    recipe: Recipe
    folder: Path
    first: str
    last: str

    def built(self, quiet: bool = False) -> Any:
        """What the last stage finds; None in a process of torchrun that helps another one train."""
        from ..run import processes
        from ..stages.train import follow
        from .build import built

        with processes.join_processes() as leads:
            if not leads:
                follow(self.recipe)
                return None
            return built(self.recipe, self.folder, self.last, self.first, quiet=quiet)


def planned(path: Path, run: Path | None, changes: Sequence[str], first: str = "", last: str = "report") -> Planned:
    """Read a recipe and see which stages are wanted.

    Args:
        path: of the recipe.
        run: folder; None: runs/<name>.
        changes: `key=value` of the recipe.
        first, last: stages.

    Raises:
        Problem: no such stage, or what the recipe has wrong.
    """
    listed = f"stages are: {', '.join(STAGE_NAMES)}"
    for name in filter(None, (first, last)):
        if name not in STAGE_NAMES:
            raise Problem(f"there is no stage {name!r}", "--from, --to", listed)
    if first and STAGE_NAMES.index(first) > STAGE_NAMES.index(last):
        raise Problem(f"stage {first!r} comes after {last!r}", "--from, --to", listed)
    if path.suffix == ".onnx":
        raise Problem("this is a network, not a recipe", str(path), "flow check, simulate and estimate take ONNX files")
    from ..recipe.file import load_recipe

    made = load_recipe(path, changes)
    return Planned(made, run or Path("runs") / made.name, first, last)
