"""What a stuck PE costs, and what another order of channels spares."""

from __future__ import annotations

from dataclasses import dataclass

from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckAccuracy:
    """Accuracy with some channels of a unit stuck, on images that chose nothing.

    Attributes:
        accuracy, low, high: with its 95 % interval for other images; 0 to 1.
        changed: share of images with another class than without the fault, 0 to 1.
    """

    accuracy: float
    low: float
    high: float
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckPe(StuckAccuracy):
    """Accuracy with one PE stuck, the channels in the order that they have.

    Attributes:
        pe: its index, from 0.
    """

    pe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckPes:
    """One unit with a PE stuck.

    Attributes:
        unit: its name.
        operation: what it is.
        stuck: 0 or 1, what all bits of the PE's results are.
        pes, channels: that the unit has; PE p computes channels p, p + pes, p + 2 pes, ...
        before: PE by PE, those that were asked for.
        spared: the channels that cost least on the images that chose: as many as a PE computes, ascending; None where
            the order is of no use.
        after: with these on the stuck PE, whichever it is; likewise.
        moved_with: MVAUs whose channels are ordered with them.
        reason: why the order is of no use; empty where it is.
    """

    unit: str
    operation: str
    stuck: int
    pes: int
    channels: int
    before: list[StuckPe]
    spared: list[int] | None
    after: StuckAccuracy | None
    moved_with: list[str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicatedChannels:
    """A unit that computes some of its channels three times, and a vote behind it.

    Attributes:
        channels, rows: that are replicated, and rows that the unit then has.
        mean: accuracy, 0 to 1, over every PE of the unit stuck at each bit, one at a time.
        worst: of them.
        worst_pe, worst_stuck: the PE, and the bit.
        voter_worst: of every PE of the voter, which nothing outvotes; None where nothing is replicated.
        voter_pes: that it has; likewise.
        lut, bram18, cycles: of the whole graph, estimated.
        tensors, values: that were compared with the old graph's on all images; all are equal.
    """

    channels: int
    rows: int
    mean: float
    worst: StuckAccuracy
    worst_pe: int
    worst_stuck: int
    voter_worst: StuckAccuracy | None
    voter_pes: int | None
    lut: int
    bram18: int
    cycles: int
    tensors: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationPlan:
    """What `flow replicate` finds.

    Attributes:
        images, judged: that chose the channels, and that judge.
        clean: accuracy without faults on the images that judge.
        unit: its name.
        stuck: bits that a PE may be stuck at.
        pes, channels: that the unit has.
        by: "accuracy" or "changed", what channels are chosen by, each stuck alone.
        critical: the channels, those first that cost most.
        front: by the number of channels that are replicated, ascending.
        part: that costs are estimated for.
        source: of these estimates.
        output: the graph's file; None: not written.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    judged: int
    clean: float
    unit: str
    stuck: list[int]
    pes: int
    channels: int
    by: str
    critical: list[int]
    front: list[ReplicatedChannels]
    part: str
    source: str
    output: str | None
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutedGraph:
    """A graph whose channels are in another order.

    Attributes:
        path: the file; None: not written.
        pe: the bad PE, which computes the channels that are spared.
        order: which old channel of the unit each new one is.
        tensors, values: that were compared with the old graph's, in that order, on all images; all are equal.
    """

    path: str | None
    pe: int
    order: list[int]
    tensors: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckPlan:
    """What `flow permute` finds.

    Attributes:
        images, judged: that chose the channels, and that judge.
        clean: accuracy without faults on the images that judge.
        by: "accuracy" or "changed", what channels are chosen by.
        together: they were measured together, one taken after another; else each alone.
        units: each with each bit that a PE may be stuck at.
        permuted: the graph for one bad PE; None where all were looked at.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    judged: int
    clean: float
    by: str
    together: bool
    units: list[StuckPes]
    permuted: PermutedGraph | None
    input: InputHeld | None
