"""The work behind `flow permute`: what a stuck PE costs, and a graph that gives it the channels that matter least.

Every second image chooses channels, the others judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...sim.engine.simulator import Simulator
from ...sim.faults.analysis.stuck import CRITERIA, StuckOutcome, StuckUnit, cost, least, order_with, tried, units
from ...sim.faults.campaigns.statistics import both
from ...sim.faults.injection.layout import chosen
from ...sim.verify import Level, verify
from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ...transforms.passes.permute import PermuteChannels
from ...transforms.unit_channels import UnitChannels
from ...transforms.writing.write import write
from ..graphs.inputs import input_held
from ..results.stuck_pes import PermutedGraph, StuckAccuracy, StuckPe, StuckPes, StuckPlan
from ..run.files import write_whole
from .faults import FaultedGraph
from .halves import Halves
from .simulation import Images

GRAPHS = (".onnx",)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BadPe:
    """What is known of the PE that is bad; what is not is tried.

    Attributes:
        units: it may be of; none: of any.
        pe: its index; None: any.
        stuck: 0 or 1; None: both.
    """

    units: Sequence[str] = ()
    pe: int | None = None
    stuck: int | None = None

    @property
    def known(self) -> bool:
        """One PE, stuck at one bit."""
        return len(self.units) == 1 and self.pe is not None and self.stuck is not None

    def check(self, output: Path | None) -> None:
        """Refuse an index without its unit, and a file for a PE that is not known.

        Raises:
            Problem: either.
        """
        if self.pe is not None and len(self.units) != 1:
            raise Problem(f"PE {self.pe} of {len(self.units) or 'all'} units", "--pe", "name its unit with --unit")
        if output is not None and not self.known:
            hint = "give --unit, --pe and --stuck; a graph has one order, which suits one PE"
            raise Problem("a graph is written for one PE that is known to be bad", "--output", hint)


def permute(
    source: FaultedGraph,
    given: Images,
    bad: BadPe,
    by: str = "accuracy",
    together: bool = True,
    output: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> StuckPlan:
    """What stuck PEs cost with the channels as they lie, and with those that matter least on the stuck PE.

    Where one PE is known to be bad, the graph in that order is made, compared with the old one tensor by tensor on all
    images, and written where there is a file for it.

    Args:
        source, given: graph and images, with labels.
        bad: what is known of the PE.
        by: of `stuck.CRITERIA`: what channels are chosen by.
        together: measure them together, one taken after another; else each alone, which is quicker.
        output: .onnx file.
        progress: called with sets of channels measured and in all.

    Raises:
        Problem: files that are missing or cannot be written; a graph that is not folded; images without labels; a unit,
            PE or bit that there is not; a known PE for which no order is of use.
    """
    chosen(by, CRITERIA, "criterion")
    bad.check(output)
    source.check(given, (output, GRAPHS))
    graph = folded_graph(source)
    names = list(dict.fromkeys(bad.units)) or list(units(graph))
    bits = (0, 1) if bad.stuck is None else (bad.stuck,)
    asked = [StuckUnit.of(graph, name, bit) for name in names for bit in bits]
    for unit in asked:
        if bad.pe is not None:
            unit.on(bad.pe)
    channels = UnitChannels.of(graph)
    why = [_why_not(unit, channels) for unit in asked]
    if bad.known and why[0]:
        what = f"another order of the channels of {names[0]!r} spares nothing: {why[0]}"
        raise Problem(what, "--unit", "leave --pe out to see what each PE of each unit costs")
    halves, done = Halves.of(graph, source.path, given), 0
    rows: list[StuckPes] = []
    sets = [0 if reason else tried(unit, together) for unit, reason in zip(asked, why, strict=True)]
    for unit, reason, count in zip(asked, why, sets, strict=True):
        spared = None
        if not reason:

            def shown(made: int, done: int = done) -> None:
                progress(done + made, sum(sets))

            spared = least(unit, *halves.choosing, by, together, shown)
            if bad.known and bad.pe is not None:
                here, there = unit.judge(*halves.choosing, [unit.on(bad.pe), spared])
                # One channel after another is no search of all sets: those that are on it may cost less.
                spared = spared if cost(there, by) < cost(here, by) else unit.on(bad.pe)
            done += count
        rows.append(_row(unit, halves, reason, spared, [] if reason else channels.moved_with(unit.place.layer), bad.pe))
    permuted = None
    if bad.known:
        assert bad.pe is not None
        permuted = _permuted(asked[0], bad.pe, rows[0], halves.images, output)
    return StuckPlan(
        images=len(halves.choosing[0]),
        judged=len(halves.judging[0]),
        clean=float(np.mean(Simulator.of(graph).classes(halves.judging[0]) == halves.judging[1])),
        by=by,
        together=together,
        units=rows,
        permuted=permuted,
        input=input_held(graph),
    )


def _why_not(unit: StuckUnit, channels: UnitChannels) -> str:
    """Why another order of a unit's channels is of no use; empty where it is."""
    reason = channels.why_not_any(unit.place.layer)
    return reason or ("its one PE computes all of them" if unit.pes == 1 else "")


def _row(
    unit: StuckUnit, halves: Halves, reason: str, spared: Array | None, moved: Sequence[str], pe: int | None
) -> StuckPes:
    pes = range(unit.pes) if pe is None else [pe]
    found = unit.judge(*halves.judging, [*(unit.on(each) for each in pes), *([] if spared is None else [spared])])
    judged = len(halves.judging[0])
    before = [_on_pe(each, one, judged) for each, one in zip(pes, found, strict=False)]
    return StuckPes(
        unit=unit.place.layer,
        operation=type(unit.graph.node(unit.place.layer).op).__name__,
        stuck=unit.bit,
        pes=unit.pes,
        channels=unit.channels,
        before=before,
        spared=None if spared is None else spared.tolist(),
        # Of the permuted graph with a PE stuck, and of this one with these channels stuck, it is the same.
        after=None if spared is None else accuracy_of(found[-1], judged),
        moved_with=list(moved),
        reason=reason,
    )


def _permuted(unit: StuckUnit, pe: int, row: StuckPes, images: np.ndarray, output: Path | None) -> PermutedGraph:
    assert row.spared is not None
    order = order_with(unit, pe, np.array(row.spared))
    made = PermuteChannels({row.unit: order})(unit.graph)
    (same,) = verify([Level("folded", unit.graph), Level("permuted", made.graph, made.equivalences)], images)
    if output is not None:
        write_whole(output, write(made.graph).SerializeToString())
    return PermutedGraph(
        path=None if output is None else str(output),
        pe=pe,
        order=order.tolist(),
        tensors=same.tensors,
        values=same.values,
    )


def _on_pe(pe: int, one: StuckOutcome, images: int) -> StuckPe:
    found = accuracy_of(one, images)
    return StuckPe(pe=pe, accuracy=found.accuracy, low=found.low, high=found.high, changed=found.changed)


def folded_graph(source: FaultedGraph) -> Graph:
    """The graph, folded.

    Raises:
        Problem: nobody said how.
    """
    graph, known = source.open(source.path)
    if not known:
        hint = "give --fps, --folding or --pe-simd, or a graph that is folded"
        raise Problem("which channels a PE computes is said by PE, but this graph is not folded", graph.name, hint)
    return graph


def accuracy_of(one: StuckOutcome, images: int) -> StuckAccuracy:
    """What it says of other images.

    Args:
        one: counts.
        images: that were judged on.
    """
    low, high = both(one.right / images, 0.0, images)
    return StuckAccuracy(accuracy=one.right / images, low=low, high=high, changed=one.changed / images)
