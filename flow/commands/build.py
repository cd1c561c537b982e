"""A recipe built in its run folder: looked at as a whole first, then stage by stage. It prints, as `screen` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..recipe.file import dump
from ..recipe.schema import Recipe
from ..run.folder import Run
from ..show import builds as screen_builds
from ..stages.all import run_stages
from ..stages.build import Build
from ..stages.validate import MEMO, memo_key, validate_build


def built(
    recipe: Recipe,
    folder: Path,
    last: str = "report",
    first: str = "",
    quiet: bool = False,
    keep_recipe: bool = False,
    then: Callable[[Build, Any], Any] = lambda build, found: found,
) -> Any:
    """Run or skip the stages up to `last`; nothing in the folder changes where the recipe is refused.

    Args:
        recipe: what to build.
        folder: new, empty, or an earlier run.
        last: the last stage.
        first: the stage from which on nothing is skipped; empty skips all that is up to date.
        quiet: prints nothing.
        keep_recipe: leaves the run's own recipe as it is, and the network that was trained by it.
        then: made of the build and the result of `last`; what it gives is returned.

    Raises:
        Problem: what the recipe has wrong, or a stage finds.
    """
    images, notes = validate_build(recipe, folder)
    if not quiet:
        for note in notes:
            print(f"note: {note}", flush=True)
    text = None if keep_recipe else dump(recipe)
    # What a recipe that stays as it is says of the network must stay true.
    fixed = ("data", "train") if keep_recipe else ()
    with Run.open(folder, text, first, fixed) as run, screen_builds.Stages(run, quiet=quiet) as shown:
        run.write(MEMO, json.dumps({"key": memo_key(recipe, images)}))
        build = Build(run, recipe, shown.progress, _dataset=images)
        return then(build, run_stages(build, last, shown.announce))
