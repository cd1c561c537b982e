"""The work behind `flow check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnnflow import Problem

from ...transforms.ir.contract import InputContract
from ...transforms.ir.graph import Graph
from ...transforms.passes.compile import stages
from ...transforms.passes.destinations import destinations
from ...transforms.reading.read import Surveyed, load, survey_operators
from ..results.costs import InputHeld
from ..results.graphs import CheckResult, OperatorCheck
from .inputs import input_held, open_graph, verify_file


@dataclass(frozen=True, slots=True)
class Checked:
    """How a model fares: one row an operator, and the first reason why it does not compile.

    Attributes:
        rows: the file's operators in order.
        problem: None where the whole compiles.
        notes: remarks of the compiler.
        ends: the graph's node names to where they end in hardware, where the whole compiles.
        input: what the compiled graph's input holds, where the whole compiles and it is known.
        graphs: of every level, where the whole compiles.
    """

    rows: tuple[Surveyed, ...]
    problem: Problem | None
    notes: tuple[str, ...] = ()
    ends: Mapping[str, str] = field(default_factory=dict)
    input: InputHeld | None = None
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    def end(self, row: Surveyed) -> str:
        """Where an operator ends in hardware; empty where nothing is known or nothing is left of it."""
        return ", ".join(dict.fromkeys(self.ends[name] for name in row.made if name in self.ends))

    def result(self, notes: Sequence[str], left_out: Sequence[str]) -> CheckResult:
        """What `flow check` says, with what a user should know and what could not be looked at."""
        operators = [
            OperatorCheck(
                node=row.node,
                operator=row.operator,
                becomes=row.becomes,
                ends_in=self.end(row),
                problem=row.problem.what if row.problem else None,
            )
            for row in self.rows
        ]
        return CheckResult(
            compiles=self.problem is None,
            operators=operators,
            notes=list(notes),
            left_out=list(left_out),
            input=self.input,
            problem=str(self.problem) if self.problem else None,
            refusal=self.problem,
        )


def check_graph(path: Path, contract: InputContract | None = None) -> Checked:
    """What becomes of every operator of an ONNX file, and whether the whole compiles."""
    verify_file(path)
    model = load(path)
    rows = tuple(survey_operators(model))
    problem = next((row.problem for row in rows if row.problem), None)
    if problem is None:
        try:
            made = stages(open_graph(path, contract))
            steps = [stage.origins for stage in made[1:]]
            ends = destinations(made[0].graph, made[-1].graph, steps) if made[0].level == "network" else {}
            notes = tuple(note for stage in made for note in stage.notes)
            graphs = {stage.level: stage.graph for stage in made}
            return Checked(rows, None, notes, ends, input_held(made[-1].graph), graphs)
        except Problem as found:
            problem = found
    return Checked(rows, problem)
