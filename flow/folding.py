"""Folding a graph: for the target of a recipe, for a rate, or by FINN's folding file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

from ..transforms.compile import stages
from ..transforms.graph import Graph
from .inputs import load_json

if TYPE_CHECKING:
    from ..build.parts import Part
    from .recipe import Recipe

FPS = 10_000.0


def fold_for(recipe: Recipe, graph: Graph) -> Graph:
    """A dataflow graph folded for the recipe's target.

    Raises:
        Problem: at its place in the recipe; an unknown part, or a rate that cannot be met (status 1).
    """
    from ..build.parts import part
    from ..build.schedule import schedule as fold

    target, key = recipe.target, "target.part"
    try:
        chip = part(target.part)
        key = "target.fps"
        return fold(graph, target.fps, target.clock_mhz, chip)
    except Problem as problem:
        raise recipe.problem(key, problem.what, problem.hint, problem.status) from problem


def compile_and_fold(
    graph: Graph, chip: Part, clock_mhz: float, fps: float | None, folding: Path | None, finn_plus: bool
) -> tuple[dict[str, Graph], Graph]:
    """The graph of every level, and the last folded for a rate or by FINN's folding file.

    Without either, the rate is `FPS` images a second.

    Raises:
        Problem: it does not compile, no folding reaches the rate, or the folding file names no unit, does not fit, or
            is given beside a rate.
    """
    from ..build.schedule import apply_folding, schedule

    made = {stage.level: stage.graph for stage in stages(graph, finn_plus=finn_plus)}
    if folding is None:
        return made, schedule(made["dataflow"], FPS if fps is None else fps, clock_mhz, chip)
    if fps is not None:
        raise Problem("a folding file and a rate to fold for", "--folding, --fps", "give one of them")
    config = load_json(folding, "folding file")
    if not config:
        raise Problem("the folding file names no unit", str(folding), 'write {"MVAU_hls_0": {"PE": 2, "SIMD": 4}}')
    return made, apply_folding(made["dataflow"], config)
