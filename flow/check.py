"""The work behind `flow check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnnflow import Problem

from ..transforms.compile import stages
from ..transforms.contract import InputContract
from ..transforms.destinations import destinations
from ..transforms.read import Surveyed, load, read, survey
from .inputs import input_facts, open_graph, verify_file


@dataclass(frozen=True, slots=True)
class Checked:
    """How a model fares: one row an operator, and the first reason why it does not compile.

    Attributes:
        rows: the file's operators in order.
        problem: None where the whole compiles.
        notes: remarks of the compiler.
        ends: the graph's node names to where they end in hardware, where the whole compiles.
        input: what the compiled graph's input holds, as `inputs.input_facts` gives it, where the whole compiles.
    """

    rows: tuple[Surveyed, ...]
    problem: Problem | None
    notes: tuple[str, ...] = ()
    ends: Mapping[str, str] = field(default_factory=dict)
    input: Mapping[str, Any] | None = None

    def end(self, row: Surveyed) -> str:
        """Where an operator ends in hardware; empty where nothing is known or nothing is left of it."""
        return ", ".join(dict.fromkeys(self.ends[name] for name in row.made if name in self.ends))


def check_graph(path: Path, contract: InputContract | None = None) -> Checked:
    """What becomes of every operator of an ONNX file, and whether the whole compiles."""
    verify_file(path)
    model = load(path)
    rows = tuple(survey(model))
    problem = next((row.problem for row in rows if row.problem), None)
    if problem is None:
        try:
            made = stages(open_graph(path, contract))
            ends = destinations(made[0].graph, made[-1].graph) if made[0].level == "network" else {}
            notes = tuple(note for stage in made for note in stage.notes)
            return Checked(rows, None, notes, ends, input_facts(made[-1].graph))
        except Problem as found:
            problem = found
    return Checked(rows, problem)


def check_recipe(path: Path, overrides: Sequence[str] = ()) -> Checked:
    """Check a recipe without training: its network, untrained, is exported and compiled for the target."""
    import tempfile

    from ..models.export import export_qonnx
    from .context import dataset, make_network, onnx_graph
    from .fault_campaign import fault_settings
    from .folding import fold_for
    from .recipe import load as load_recipe

    recipe = load_recipe(path, overrides)
    if recipe.faults.enabled:
        fault_settings(recipe)
    if recipe.model.onnx is not None:
        onnx_graph(recipe, dataset(recipe))
        return check_graph(recipe.model.onnx, recipe.model.contract())
    network = make_network(recipe, dataset(recipe))
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        export_qonnx(network.eval(), exported, network.spec.input_shape)
        checked = check_graph(exported)
        if checked.problem is None:
            fold_for(recipe, stages(read(exported))[-1].graph)
    return checked
