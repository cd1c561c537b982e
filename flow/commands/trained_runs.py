"""Runs that are trained already, opened with changes to their recipe that came later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnflow import Problem

from ..recipe.file import load_recipe
from ..recipe.objects import held_out_share
from ..recipe.schema import Recipe
from ..run.folder import RECIPE, Run
from ..stages.build import Build


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run with changes to its recipe that came after its training.

    Attributes:
        run: its folder.
        recipe: with the changes; what training held out is what the run says, whatever pruning asks.
        trained_by: the run's own recipe.
    """

    run: Run
    recipe: Recipe
    trained_by: Recipe

    @property
    def build(self) -> Build:
        """What its stages share, for commands that do none of them."""
        return Build(self.run, self.recipe, lambda name: lambda done, total, figures: None, trained_by=self.trained_by)


def opened(source: Path, folder: Path | None, overrides: Sequence[str], wishes: Sequence[str] = ()) -> TrainedRun:
    """A run folder, or a recipe file's run, whose network is trained already.

    Raises:
        Problem: neither, a recipe without a run yet, or one that holds out other images than its training did.
    """
    if source.is_dir():
        run = Run.find(source)
        if run is None:
            raise Problem("this is not a run folder", str(source), "give a folder that `flow build` made")
        made = changed(run, run.path(RECIPE), overrides, wishes)
    else:
        place = folder or Path("runs") / load_recipe(source, overrides, wishes).name
        run = Run.find(place)
        if run is None:
            raise Problem("this recipe is not trained yet", str(place), f"flow build {source} --to train")
        made = changed(run, source, overrides, wishes)
    share = held_out_share(made.trained_by)
    if held_out_share(made.recipe) != share:
        what = f"the network is trained, and a share of {share:g} of its images was held out"
        raise made.recipe.problem("train.validation", what, "leave it out, or `flow build` the recipe anew")
    return made


def changed(run: Run, path: Path, overrides: Sequence[str], wishes: Sequence[str] = ()) -> TrainedRun:
    """A run with the recipe of a file, changed; a share to hold out that is said there stays."""
    recipe, own = load_recipe(path, overrides, wishes), load_recipe(run.path(RECIPE))
    share = held_out_share(own)
    if held_out_share(recipe) != share and recipe.train.validation is None:
        recipe = load_recipe(path, [*overrides, f"train.validation={share:g}"], wishes)
    return TrainedRun(run, recipe, own)


def trained(build: Build, which: str = "base") -> Any:
    """A trained network of the run: base or pruned.

    Raises:
        Problem: there is none, or its file was changed.
    """
    from ..run.folder import verify_recorded
    from ..run.names import WEIGHTS

    path = build.file(which, WEIGHTS)
    if which not in ("base", "pruned") or not path.is_file():
        if which == "base":
            hint = "flow build its recipe --to train"
            raise Problem("this run has no trained network", str(build.run.folder), hint)
        raise Problem(f"this run has no network {which!r}", "--network", "base or, where `flow build` made it, pruned")
    verify_recorded(path)
    return build.load(which)
