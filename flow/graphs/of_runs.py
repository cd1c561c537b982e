"""Folded networks of runs: their files, what their hardware is called, and what their recipe asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bnnflow import Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.graph import Graph
from ..recipe.file import load_recipe
from ..recipe.schema import Recipe
from ..run.folder import Run
from ..run.names import FOLDED
from .inputs import open_graph


@dataclass(frozen=True, slots=True)
class Source:
    """Networks whose hardware is asked for.

    Attributes:
        graphs: by name: of a run "base" and "pruned", else the graph's own.
        recipe: of the run; None for files.
    """

    graphs: Mapping[str, Graph]
    recipe: Recipe | None = None

    @property
    def of_run(self) -> bool:
        """Whether they are folded as a run folded them."""
        return self.recipe is not None

    def one(self) -> Graph:
        """The pruned network, else the only one there is."""
        return self.graphs.get("pruned", next(iter(self.graphs.values())))


def networks(path: Path, contract: InputContract | None = None) -> Source:
    """The networks of a run, of one of its folders "base" and "pruned", or of a file.

    Networks of a run are called as the run calls their hardware.

    Raises:
        Problem: the folder is none of a run, or one of its files was changed since it was written.
    """
    if not path.is_dir():
        graph = open_graph(path, contract)
        return Source({graph.name: graph})
    run = Run.find(path)
    folder = path if (path / FOLDED).is_file() else None
    names = (folder.name,) if folder is not None else ("base", "pruned")
    places = {name: (path if folder is not None else path / name) / FOLDED for name in names}
    found = {name: place for name, place in places.items() if place.is_file()}
    if run is None or not found:
        raise Problem("there is no folded network in this folder", str(path), "give a run of `flow build`, or a file")
    recipe = load_recipe(run.folder / "model.yaml")
    called = {name: f"{recipe.name}_{name}".strip("_") for name in found}
    graphs = {name: replace(open_graph(place, contract), name=called[name]) for name, place in found.items()}
    return Source(graphs, recipe)
