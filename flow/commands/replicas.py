"""The work behind `flow replicate`: channels that are computed three times, what that spares under a stuck PE, and what
it costs. Every second image chooses channels, the others judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...build.cost import estimate, usual_model
from ...build.parts import Part
from ...sim.engine.simulator import Simulator
from ...sim.faults.analysis.stuck import StuckOutcome, StuckUnit, by_cost
from ...sim.verify import Level, verify
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau
from ...transforms.ir.tensor import Array
from ...transforms.passes.replicate import ReplicateChannels, check_count, counts, why_not
from ...transforms.passes.rewrite import Rewritten
from ...transforms.writing.write import write
from ..graphs.inputs import input_held
from ..recipe.parts import part_of
from ..results.stuck_pes import ReplicatedChannels, ReplicationPlan
from ..run.files import write_whole
from .faults import FaultedGraph
from .halves import Halves
from .simulation import Images
from .stuck_pes import GRAPHS, accuracy_of, folded_graph

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Replication:
    """What is to be replicated.

    Attributes:
        unit: an MVAU with one threshold a channel.
        channels: how many of its channels, each a row of the front; none: `SHARES` of them, or what is near.
        stuck: 0 or 1, what a PE may be stuck at; None: either.
        by: of `stuck.CRITERIA`: what channels are chosen by.
    """

    unit: str
    channels: Sequence[int] = ()
    stuck: int | None = None
    by: str = "accuracy"


def replicate(
    source: FaultedGraph,
    given: Images,
    wanted: Replication,
    output: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> ReplicationPlan:
    """Accuracy with any one PE of a unit stuck, and cost, by how many of its channels are computed three times.

    Args:
        source, given: graph and images, with labels.
        wanted: of which unit, and how many.
        output: .onnx file of the graph; of one number of channels.
        progress: called with graphs judged and in all.

    Raises:
        Problem: files that are missing or cannot be written; a graph that is not folded; images without labels; a unit
            that cannot vote, or a number of channels that its PEs do not divide.
    """
    if output is not None and len(wanted.channels) != 1:
        raise Problem("a graph has one number of replicated channels", "--output", "give it with --channels")
    source.check(given, (output, GRAPHS))
    graph = folded_graph(source)
    bits = (0, 1) if wanted.stuck is None else (wanted.stuck,)
    stuck = [StuckUnit.of(graph, wanted.unit, bit) for bit in bits]
    numbers = _numbers(graph, wanted)
    part = part_of(source.folding.part)
    halves = Halves.of(graph, source.path, given)
    critical = by_cost(stuck, *halves.choosing, wanted.by)[::-1]
    (judging, truth), front = halves.judging, []
    for done, number in enumerate(numbers):
        progress(done, len(numbers))
        made = ReplicateChannels(wanted.unit, np.sort(critical[:number]))(graph) if number else None
        front.append(_judged(graph, made, wanted.unit, number, bits, part, halves))
        if output is not None and made is not None:
            write_whole(output, write(made.graph).SerializeToString())
    progress(len(numbers), len(numbers))
    return ReplicationPlan(
        images=len(halves.choosing[0]),
        judged=len(judging),
        clean=float(np.mean(Simulator.of(graph).classes(judging) == truth)),
        unit=wanted.unit,
        stuck=list(bits),
        pes=stuck[0].pes,
        channels=stuck[0].channels,
        by=wanted.by,
        critical=critical.tolist(),
        front=front,
        part=part.name,
        source=usual_model(graph, part.family)[0].source,
        output=None if output is None else str(output),
        input=input_held(graph),
    )


def _numbers(graph: Graph, wanted: Replication) -> list[int]:
    """How many channels are replicated in each row, ascending; none first."""
    why = why_not(graph, wanted.unit)
    if why:
        raise Problem(f"channels of {wanted.unit!r} cannot be replicated: {why}", "--unit", "name another unit")
    op = graph.node(wanted.unit).op
    assert isinstance(op, Mvau)
    able = counts(op)
    for number in wanted.channels:
        check_count(op, number, "--channels")
    shares = [min(able, key=lambda one: abs(one - share * len(op.weight))) for share in SHARES]
    return [0, *sorted(set(wanted.channels or shares))]


def _judged(
    graph: Graph,
    made: Rewritten | None,
    unit: str,
    number: int,
    bits: Sequence[int],
    part: Part,
    halves: Halves,
) -> ReplicatedChannels:
    """One row: of the graph as it is, or of one with replicated channels."""
    new, tensors, values, voter = graph, 0, 0, None
    if made is not None:
        new = made.graph
        (same,) = verify([Level("folded", graph), Level("replicated", new, made.equivalences)], halves.images)
        tensors, values = same.tensors, same.values
        (voter,) = (node.name for node in new.nodes if node.name not in graph.types)
    judging = halves.judging
    found = _every(new, unit, bits, judging)
    worst = min(found, key=lambda one: one.outcome.right)
    behind = [] if voter is None else _every(new, voter, bits, judging)
    cost, judged = estimate(new, usual_model(new, part.family)[0]), len(judging[0])
    return ReplicatedChannels(
        channels=number,
        rows=new.types[unit].channels,
        mean=sum(one.outcome.right for one in found) / len(found) / judged,
        worst=accuracy_of(worst.outcome, judged),
        worst_pe=worst.pe,
        worst_stuck=worst.bit,
        voter_worst=min(
            (accuracy_of(one.outcome, judged) for one in behind), key=lambda one: one.accuracy, default=None
        ),
        voter_pes=len(behind) // len(bits) or None,
        lut=cost.lut,
        bram18=cost.bram18,
        cycles=cost.cycles,
        tensors=tensors,
        values=values,
    )


@dataclass(frozen=True, slots=True)
class _Stuck:
    """One PE that is stuck, and what that does."""

    pe: int
    bit: int
    outcome: StuckOutcome


def _every(graph: Graph, unit: str, bits: Sequence[int], judging: tuple[Array, Array]) -> list[_Stuck]:
    """Every PE of a unit stuck at every bit, one at a time."""
    made = []
    for bit in bits:
        stuck = StuckUnit.of(graph, unit, bit)
        outcomes = stuck.judge(*judging, [stuck.on(pe) for pe in range(stuck.pes)])
        made += [_Stuck(pe, bit, outcome) for pe, outcome in enumerate(outcomes)]
    return made
