"""Stuck channels of a unit: what each of them costs, and which a PE that is stuck should compute.

PE p of a unit with PE of them computes the channels p, p + PE, p + 2 PE, ... (`bnnflow_mvau.sv`); one that is stuck at
0 or 1 gives this in all bits of all of them, in every image: the fault `pe:p stuck-at-0` of the target streams. In
which order a unit computes its channels is free (`transforms.passes.permute`), so the PE may be given those that
matter least. That is the idea of Gambardella et al., Efficient Error-Tolerant Quantized Neural Network Accelerators,
DFT 2019 (arXiv:1912.07394), who call it fault-aware scheduling; how they rank channels is not taken from there: here
each is measured, stuck, by itself or together with those before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import LabelSelect
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, class_count, classes_of
from ...images import batches, checked_labels
from ...walk import BATCH, Walk
from ..injection.cells import CLEAR, SET, Cells
from ..injection.layout import chosen
from ..injection.streams import Stream, changed, streams
from ..injection.tail import Tail

CRITERIA = ("accuracy", "changed")
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class StuckOutcome:
    """What some stuck channels do.

    Attributes:
        right: images that are classified rightly.
        changed: images with another class than without.
    """

    right: int
    changed: int


@dataclass(frozen=True, slots=True)
class StuckUnit:
    """A unit whose results are stuck in some channels.

    Attributes:
        graph: dataflow level, folded as it will be built.
        place: the stream that the unit makes.
        bit: 0 or 1: what all bits of a stuck channel's results are.
    """

    graph: Graph
    place: Stream
    bit: int

    @staticmethod
    def of(graph: Graph, unit: str, bit: int) -> StuckUnit:
        """One unit of a graph.

        Raises:
            Problem: there is none of that name that has PEs; another bit than 0 or 1.
        """
        if bit not in (0, 1):
            raise Problem(f"a PE that is stuck at {bit}", "--stuck", "give 0 or 1")
        known = units(graph)
        if unit not in known and any(node.name == unit for node in graph.nodes):
            what = f"{unit!r} ({type(graph.node(unit).op).__name__}) has no PEs that could be stuck"
            raise Problem(what, "--unit", f"units with PEs: {', '.join(known)}")
        chosen(unit, known, "unit")
        return StuckUnit(graph, next(flow for flow in streams(graph, "streams") if flow.layer == unit), bit)

    @property
    def pes(self) -> int:
        """PEs that the unit has."""
        return self.place.pe

    @property
    def channels(self) -> int:
        """Channels that it computes."""
        return self.place.type.channels

    @property
    def value(self) -> int:
        """What a stuck channel gives: -1 or +1 of such bits, else the number that the bits are in two's complement."""
        kind = self.place.type
        cells = Cells(np.arange(kind.bits), np.full(kind.bits, SET if self.bit else CLEAR, np.uint8))
        return int(changed(np.array([kind.range[0]]), cells, kind)[0])

    def on(self, pe: int) -> Array:
        """The channels that a PE computes.

        Raises:
            Problem: there is no such PE.
        """
        if not 0 <= pe < self.pes:
            count = "one PE, PE 0" if self.pes == 1 else f"PEs 0 to {self.pes - 1}"
            raise Problem(f"there is no PE {pe}: {self.place.layer!r} has {count}", "--pe", "give one of these")
        return np.arange(pe, self.channels, self.pes)

    def judge(self, images: Array, labels: Array, stuck: Sequence[Array]) -> list[StuckOutcome]:
        """What each of several sets of channels does when all of its channels are stuck.

        Only what stands behind the unit runs again, and of each image only while something differs.

        Args:
            images, labels: (N, *input shape), (N,).
            stuck: sets of channels.

        Raises:
            Problem: images or labels that do not fit the graph.
        """
        checked_labels(labels, len(images), class_count(self.graph))
        layer, simulator = self.place.layer, Simulator.of(self.graph)
        walk = Walk.of(self.graph, {}, {layer: self.place.wide})
        right, other = np.zeros(len(stuck), np.int64), np.zeros(len(stuck), np.int64)
        for first, block in zip(range(0, len(images), BATCH), batches(images, BATCH), strict=True):
            tail, truth = Tail.of(simulator, walk, layer, block), labels[first : first + BATCH]
            clean, before = tail.clean[layer], tail.classes
            kind = np.result_type(clean.dtype, np.min_scalar_type(self.value))
            for place, channels in enumerate(stuck):
                part = clean[..., channels] != self.value
                which = np.flatnonzero(part.reshape(len(part), -1).any(axis=1))
                made = clean[which].astype(kind)
                made[..., channels] = self.value
                found = before.copy()
                found[which] = classes_of(self.graph, tail.scores_with(which, made))
                right[place] += int((found == truth).sum())
                other[place] += int((found != before).sum())
        return [StuckOutcome(*pair) for pair in zip(right.tolist(), other.tolist(), strict=True)]


def units(graph: Graph) -> tuple[str, ...]:
    """Units that have PEs, in the graph's order; but the choice of the best class, which makes no channels."""
    made = {flow.layer for flow in streams(graph, "streams")}
    return tuple(
        node.name
        for node in graph.nodes
        if node.name in made and hasattr(node.op, "pe") and not isinstance(node.op, LabelSelect)
    )


def least(
    unit: StuckUnit,
    images: Array,
    labels: Array,
    by: str = "accuracy",
    together: bool = True,
    progress: Progress = lambda done: None,
) -> Array:
    """As many channels as one PE computes: those that cost least when they are stuck, ascending.

    Args:
        unit: the unit, and how it is stuck.
        images, labels: that choose; not those that judge.
        by: "accuracy", or "changed" classes; the other one decides where channels are equal, then their number.
        together: take one channel after another, each time the one with which those taken so far cost least; else those
            that cost least alone.
        progress: called with sets of channels measured, `tried` in all.

    Raises:
        Problem: as for `StuckUnit.judge`; an unknown criterion.
    """
    chosen(by, CRITERIA, "criterion")
    count, done = unit.channels // unit.pes, 0
    taken: list[int] = []
    while len(taken) < count:
        left = [channel for channel in range(unit.channels) if channel not in taken]
        found = unit.judge(images, labels, [np.array([*taken, channel]) for channel in left])
        ranked = [left[place] for place in sorted(range(len(left)), key=lambda place: (*cost(found[place], by), place))]
        taken += ranked[: 1 if together else count]
        done += len(left)
        progress(done)
    return np.sort(np.array(taken))


def cost(one: StuckOutcome, by: str) -> tuple[int, int]:
    """What is compared by a criterion, the least first; the other one decides where it is equal."""
    return (-one.right, one.changed) if by == "accuracy" else (one.changed, -one.right)


def by_cost(stuck: Sequence[StuckUnit], images: Array, labels: Array, by: str = "accuracy") -> Array:
    """All channels of a unit by what each costs alone, the least first; equal ones by their number.

    Args:
        stuck: the unit with each bit that its channels may be stuck at; the worse one counts.
        images, labels: that choose.
        by: as for `least`.

    Raises:
        Problem: as for `least`.
    """
    chosen(by, CRITERIA, "criterion")
    channels = range(stuck[0].channels)
    found = [unit.judge(images, labels, [np.array([channel]) for channel in channels]) for unit in stuck]
    return np.array(sorted(channels, key=lambda place: (*max(cost(each[place], by) for each in found), place)))


def tried(unit: StuckUnit, together: bool) -> int:
    """Sets of channels that `least` measures."""
    steps = unit.channels // unit.pes if together else 1
    return sum(unit.channels - taken for taken in range(steps))


def order_with(unit: StuckUnit, pe: int, channels: Array) -> Array:
    """The order in which these channels are those of a PE, and as few as possible move: new channel i is old order[i].

    Args:
        unit: the unit.
        pe: the PE.
        channels: as many as it computes.
    """
    order, places = np.arange(unit.channels), unit.on(pe)
    assert len(channels) == len(places)
    going, coming = np.setdiff1d(places, channels), np.setdiff1d(channels, places)
    order[going], order[coming] = coming, going
    return order
