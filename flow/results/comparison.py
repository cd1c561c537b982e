"""A pruned network's hardware beside that of the unpruned one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a design takes of an FPGA, at one level of truth.

    Attributes:
        level: "estimated" or "synthesized", which is before placing.
        source: cost model, or tool and version.
        lut: look-up tables, those that are memories among them.
        lut_ram: those that are memories or shift registers; 0 of FINN's formulas, which do not tell them apart.
        ff: flip-flops; None where they are not counted.
        bram18: block RAMs, of 18 kbit where the family has such, else of its own size.
        dsp: multipliers.
    """

    level: str
    source: str
    lut: int
    lut_ram: int
    ff: int | None
    bram18: int
    dsp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedNetwork:
    """A network as it is folded for a comparison.

    Attributes:
        cycles: an image, of the slowest unit.
        interval_cycles: an image in the steady state, simulated word by word with the FIFOs that are counted; None
            where an image is too many words to simulate beside an estimate.
        fps: images per second at the target's clock, by `interval_cycles` where it is known.
        estimated: resources by the cost model.
        synthesized: the same design mapped by yosys; left out where neither run nor cache holds it.
    """

    cycles: int
    interval_cycles: int | None
    fps: float
    estimated: Taken
    synthesized: Taken | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure of the unpruned and the pruned network.

    Attributes:
        figure: "cycles", "lut", "lut_ram", "ff", "bram18" or "dsp".
        level: "estimated" or "synthesized"; cycles are "exact".
        base, pruned: the two.
        change: pruned against unpruned, relative; None where the unpruned one takes none.
        low, high: of `change`, where each of the two is off by the stated error in the less favourable direction; None
            where no error is stated.
        within_error: whether the two differ, and by less than the stated errors of both together.
    """

    figure: str
    level: str
    base: int
    pruned: int
    change: float | None
    low: float | None
    high: float | None
    within_error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTaken:
    """What a unit, or all that stands between units, takes.

    Attributes:
        cycles: an image.
        pe, simd: its folding; 0 of what stands between units.
        lut: estimated, those that are memories among them.
        bram18: estimated.
        synthesized_lut: the same mapped by yosys; left out where it is not known.
    """

    cycles: int
    pe: int
    simd: int
    lut: int
    bram18: int
    synthesized_lut: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPair:
    """A unit of both networks.

    Attributes:
        name: of its node; "between units" for FIFOs at the input and converters together.
        op: FINN's name of the unit.
        base, pruned: what it takes; None where a network has no such unit.
        lut: change of its estimated LUTs; None where a network has no such unit.
    """

    name: str
    op: str
    base: UnitTaken | None
    pruned: UnitTaken | None
    lut: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Both networks, folded for one thing that is equal.

    Attributes:
        equal: what, for people.
        cycles_asked: an image, at most; None where resources are equal.
        lut_allowed, bram18_allowed: that each may take, estimated; None where the rate is equal.
        searched: whether a network has branches, so that its folding is searched, and a better one may exist.
        base, pruned: the networks.
        changes: of the whole, a row a figure and level.
        layers: unit by unit, in the order of the unpruned network.
    """

    equal: str
    cycles_asked: int | None
    lut_allowed: int | None
    bram18_allowed: int | None
    searched: bool
    base: FoldedNetwork
    pruned: FoldedNetwork
    changes: list[Change]
    layers: list[UnitPair]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCompared:
    """That the networks are not compared so.

    Attributes:
        reason: why, for people.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareComparison:
    """A pruned network's hardware beside that of the unpruned one, at equal rate and at equal resources.

    Attributes:
        run: name of the run.
        part, family, clock_mhz: target.
        cost_model: name of the model that folds and counts.
        errors: stated error of an estimate by figure: mean relative error of units that the model's fit did not see; 0
            where all were equal. Empty where none is stated.
        worst_lut_error: the largest of these of LUTs; None where none is stated.
        units_held_out: number of these units.
        fifos: how FIFOs are counted, for people.
        rate: at equal rate.
        resources: at equal resources.
    """

    run: str
    part: str
    family: str
    clock_mhz: float
    cost_model: str
    errors: Mapping[str, float]
    worst_lut_error: float | None
    units_held_out: int
    fifos: str
    rate: Compared | NotCompared
    resources: Compared | NotCompared


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyCandidate:
    """A network that may be as accurate as an unpruned one.

    Attributes:
        run: name of the run.
        network: "base", "pruned", or "step N" of a pruning.
        accuracy: 0 to 1.
        loss: accuracy less than that of the unpruned network.
        half_width: half of the 95 % interval of `loss` over the choice of images, as of independent answers; None where
            the number of images is not known.
        within: whether the loss is within the tolerance.
        lut, bram18: estimated.
        cycles: an image.
        share: of the part's LUTs and block RAMs, added up.
    """

    run: str
    network: str
    accuracy: float
    loss: float
    half_width: float | None
    within: bool
    lut: int
    bram18: int
    cycles: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualAccuracy:
    """Networks within a tolerance of an unpruned one's accuracy, and the smallest of them.

    Attributes:
        tolerance: accuracy that may be lost, 0 to 1.
        judged_on: whose images the accuracies are of.
        costs: at what rate the networks are folded, for people.
        unpruned: the one that they are held against.
        candidates: pruned networks, as they were given.
        smallest: place in `candidates` of the one with the least share of the part among those within the tolerance;
            None where none is.
    """

    tolerance: float
    judged_on: str
    costs: str
    unpruned: AccuracyCandidate
    candidates: list[AccuracyCandidate]
    smallest: int | None
