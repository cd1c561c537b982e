"""Folded networks of runs: their files, what their hardware is called, and what their recipe asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import CHECK_FAILED, Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.graph import Graph
from ..run.folder import Run
from ..run.names import FOLDED, HARDWARE
from .inputs import open_graph

if TYPE_CHECKING:
    from ..recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """Networks whose hardware is asked for.

    Attributes:
        graphs: by name: of a run "base" and "pruned", else the graph's own.
        files: that they were read from, by the same names.
        recipe: of the run; None for files.
    """

    graphs: Mapping[str, Graph]
    files: Mapping[str, Path]
    recipe: Recipe | None = None

    @property
    def first(self) -> str:
        """Name of the pruned network, else of the only one there is."""
        return "pruned" if "pruned" in self.graphs else next(iter(self.graphs))


def networks(path: Path, contract: InputContract | None = None) -> Source:
    """The networks of a run, of one of its folders "base" and "pruned", or of a file.

    Args:
        path: of one of these.
        contract: what an input holds whose file does not say so.

    Raises:
        Problem: the folder is none of a run; status 1: one of its networks is gone, or a network, a file of its
            hardware or the recipe was changed since it was written.
    """
    if not path.is_dir():
        graph = open_graph(path, contract)
        return Source({graph.name: graph}, {graph.name: path})
    run = Run.find(path)
    if run is not None and path.absolute() == run.folder:
        lost = [f"{name}/{FOLDED}" for name in ("base", "pruned") if run.holds(f"{name}/{FOLDED}")]
        lost = [name for name in lost if not run.path(name).is_file()]
        if lost:
            raise Problem(f"{lost[0]} is missing", str(path), "build the recipe again", CHECK_FAILED)
    places = [path] if (path / FOLDED).is_file() else [path / network for network in ("base", "pruned")]
    files = {place.absolute().name: place / FOLDED for place in places if (place / FOLDED).is_file()}
    if run is None or not files:
        raise Problem(
            "there is no run's folded network in this folder", str(path), "give a run of `flow build`, or a file"
        )
    turns, changed = run.turns(), run.changed_since("report")
    newer = [name for name in ("train", "prune") if name in changed and turns.get(name, 0) > turns.get("schedule", 0)]
    if newer:
        what = f"the folded networks of this run are older than its {', '.join(newer)}"
        raise Problem(what, str(path), "run `flow build` again, with the same -s as then")
    # Who asks about a run's hardware means the files that lie there.
    for place in places:
        for written in sorted((place / HARDWARE).rglob("*")):
            run.verify(written)
    from ..recipe.of_runs import recipe_of

    recipe = recipe_of(run)
    graphs = {name: named(open_graph(file, contract), recipe, name) for name, file in files.items()}
    return Source(graphs, files, recipe)


def named(graph: Graph, recipe: Recipe, network: str) -> Graph:
    """The graph of a run's network, "base" or "pruned", by the name that its hardware is to have."""
    return replace(graph, name=f"{recipe.name}_{network}".strip("_"))
