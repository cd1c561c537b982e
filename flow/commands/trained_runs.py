"""Runs that are trained already, opened with changes to their recipe that came later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnnflow import Problem

from ..recipe.file import load_recipe
from ..recipe.objects import held_out_share
from ..recipe.schema import Recipe
from ..run.folder import Run
from ..stages.build import Build


def opened(
    source: Path, folder: Path | None, overrides: Sequence[str], wishes: Sequence[str] = ()
) -> tuple[Recipe, Run]:
    """The recipe and the run folder of a run folder or a recipe file, for a network that is trained already.

    Raises:
        Problem: neither, a recipe without a run yet, or one that holds out other images than its training did.
    """
    if source.is_dir():
        run = Run.find(source)
        if run is None:
            raise Problem("this is not a run folder", str(source), "give a folder that `flow build` made")
        return _unchanged(as_trained(run.path("model.yaml"), run, overrides, wishes), run), run
    recipe = load_recipe(source, overrides, wishes)
    place = folder or Path("runs") / recipe.name
    run = Run.find(place)
    if run is None:
        raise Problem("this recipe is not trained yet", str(place), f"flow build {source} --to train")
    return _unchanged(as_trained(source, run, overrides, wishes), run), run


def as_trained(path: Path, run: Run, overrides: Sequence[str], wishes: Sequence[str] = ()) -> Recipe:
    """A recipe with changes for a trained run: what training held out is what the run says, whatever pruning asks."""
    recipe, share = load_recipe(path, overrides, wishes), held_out_share(load_recipe(run.path("model.yaml")))
    if held_out_share(recipe) == share or recipe.train.validation is not None:
        return recipe
    return load_recipe(path, [*overrides, f"train.validation={share:g}"], wishes)


def _unchanged(recipe: Recipe, run: Run) -> Recipe:
    """The recipe, where what it says of images that training holds out is what training did."""
    share = held_out_share(load_recipe(run.path("model.yaml")))
    if held_out_share(recipe) != share:
        what = f"the network is trained, and a share of {share:g} of its images was held out"
        raise recipe.problem("train.validation", what, "leave it out, or `flow build` the recipe anew")
    return recipe


def check_trained_so(recipe: Recipe, run: Run) -> None:
    """Refuse changes with which the network of a run would be trained anew: the run's recipe would not say so."""
    own = load_recipe(run.path("model.yaml"))
    sections = ("seed", "data", "model", "train", "fault_training", "approximation", "ensemble")
    now, then = (one.model_dump(mode="json", include=set(sections)) for one in (recipe, own))
    now["train"]["validation"] = then["train"]["validation"] = held_out_share(own)
    for section in sections:
        of = now[section] if isinstance(now[section], dict) else {"": now[section]}
        was = then[section] if isinstance(then[section], dict) else {"": then[section]}
        for name in (name for name in of if of[name] != was[name] and (section, name) != ("train", "threads")):
            key = f"{section}.{name}".rstrip(".")
            what = f"the network of this run was trained with another {key}, and would be trained anew"
            hint = "give -o FOLDER to prune the network that is there, or `flow build` a recipe of its own"
            raise recipe.problem(key, what, hint)


def build_of(run: Run, recipe: Recipe) -> Build:
    """A run with changes to its recipe that came after its training."""
    trained_by = load_recipe(run.path("model.yaml"))
    return Build(run, recipe, lambda name: lambda done, total, figures: None, trained_by=trained_by)


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
