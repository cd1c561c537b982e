"""What fault campaigns find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..run.typed_json import OPTIONAL
from .costs import InputHeld
from .fault_analysis import Margins


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCurve:
    """Accuracy of one network over the rates of a campaign's first series; all from 0 to 1.

    Attributes:
        clean: without faults.
        mean: over the fault maps, by rate.
        low, high: of the 95 % interval for other maps and other test images.
    """

    clean: float
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndervoltedMemories:
    """What maps of undervolted block RAMs hit.

    Attributes:
        board: whose memories were measured.
        voltage: volts.
        board_rate: share of the board's cells that are faulty, 0 to 1.
        block_rams, bits: of the memories that are hit, with their check bits.
        faulty, ones: mean cells of a map that read 0, and how many of them held 1.
        rate: faulty share of the bits, 0 to 1, over the maps that were drawn.
        elsewhere: memories of the target that are not undervolted, and where they lie.
    """

    board: str
    voltage: float
    board_rate: float
    block_rams: int
    bits: int
    faulty: float
    ones: float
    rate: float
    elsewhere: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassUnderFaults:
    """Images of one true class under faults; shares are of these images, 0 to 1.

    Attributes:
        label: the class, from 0.
        images: that have it.
        clean: classified rightly without faults.
        accuracy, low, high: with them, mean over maps, and its 95 % interval for other maps and other images.
        half_width: what the maps leave of that interval.
        changed, changed_low, changed_high: with another class than without faults, likewise.
    """

    label: int
    images: int
    clean: float
    accuracy: float
    low: float
    high: float
    half_width: float
    changed: float
    changed_low: float
    changed_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginLoss:
    """How far faults bring the true class's score down to the best other one, or below it.

    Attributes:
        unit: "integers" where the network's output is integers, else "scores", its floats.
        clean, faulty: mean margin over images without faults, and over maps and images with them.
        loss: the one less the other.
        half_width: of the loss, half of its 95 % interval for other maps on the same images; None where there is one
            map, or all are equal, which says nothing of others.
        greatest: loss of the map that loses most.
    """

    unit: Literal["integers", "scores"]
    clean: float
    faulty: float
    loss: float
    half_width: float | None
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSeries:
    """Fault maps of one point of a campaign's grid.

    Attributes:
        target: what is hit.
        layers: of the memories hit; ["all"] for every one.
        model: the fault.
        rate: 0 to 1; of a table, the greatest or that of memories not named.
        rates: for people.
        injected: the rates of a flip from 0 to 1 and from 1 to 0, by memory.
        protection: of the memories.
        seed: of the maps.
        images, maps: that were judged on, and drawn.
        mean, low, high: accuracy (0 to 1) and its 95 % interval for other maps and other images.
        half_width, test_half_width: what the maps and what the images leave of that interval.
        worst: accuracy of the worst map.
        worse_share: at 95 %, of all maps at most so many are worse, 0 to 1.
        changed: silent data corruption: share of images with another class than without faults, 0 to 1.
        changed_low, changed_high: its 95 % interval for other maps and other images; None in older summaries.
        undervolted: of models that were measured; None for others.
        classes: class by class, those without images left out; None where it was not asked for.
        worst_class: the one whose accuracy falls most; likewise.
        margin: what scores lose; likewise.
    """

    target: str
    layers: list[str]
    model: str
    rate: float
    rates: str
    injected: Mapping[str, Any]
    protection: str
    seed: int
    images: int
    maps: int
    mean: float
    low: float
    high: float
    half_width: float
    test_half_width: float
    worst: float
    worse_share: float
    changed: float
    changed_low: float | None = field(default=None, metadata=OPTIONAL)
    changed_high: float | None = field(default=None, metadata=OPTIONAL)
    undervolted: UndervoltedMemories | None = field(default=None, metadata=OPTIONAL)
    classes: list[ClassUnderFaults] | None = field(default=None, metadata=OPTIONAL)
    worst_class: int | None = field(default=None, metadata=OPTIONAL)
    margin: MarginLoss | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleFaultSeries(FaultSeries):
    """Single faults, each a "map" of its own.

    Attributes:
        population: faults that there are.
        critical: of those drawn, how many change the class of an image.
        critical_share, critical_low, critical_high: of all, 0 to 1, with the interval at `confidence`.
        confidence: of that interval, 0 to 1.
    """

    population: int
    critical: int
    critical_share: float
    critical_low: float
    critical_high: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSeries:
    """One network less another, on the same images and fault maps.

    Attributes:
        first, second: names of the networks.
        target, layers, model, rate, rates, protection, seed: as of `FaultSeries`.
        maps: that both have.
        difference: of mean accuracies, -1 to 1.
        half_width, test_half_width: of it, at 95 %, for other maps and at most for other images.
        wins, losses: maps on which the first is better or worse.
        p_sign: of the two-sided sign test.
        equal: what both have alike: the "rate" of a unit and the protection, the mean number of "faults" of a map, or
            the "memory" that the first takes without a code, into which the second fits with one.
        first_mean, second_mean: accuracies, 0 to 1; None in older summaries, as the rest.
        second_rates, second_protection: what the second suffers, and its protection.
        bits, second_bits: of the memories that are hit, with check bits; None for streams.
    """

    first: str
    second: str
    target: str
    layers: list[str]
    model: str
    rate: float
    rates: str
    protection: str
    seed: int
    maps: int
    difference: float
    half_width: float
    test_half_width: float
    wins: int
    losses: int
    p_sign: float
    equal: Literal["rate", "faults", "memory"] = field(default="rate", metadata=OPTIONAL)
    first_mean: float | None = field(default=None, metadata=OPTIONAL)
    second_mean: float | None = field(default=None, metadata=OPTIONAL)
    second_rates: str | None = field(default=None, metadata=OPTIONAL)
    second_protection: str | None = field(default=None, metadata=OPTIONAL)
    bits: int | None = field(default=None, metadata=OPTIONAL)
    second_bits: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProtection:
    """What a protection costs one memory, estimated.

    Attributes:
        memory: its name.
        bits: that it holds without protection.
        protection: its name.
        extra_bits: check bits, copies and unused rests.
        bram18, bram18_plain: block RAMs of 18 kbit with and without it, were the memory in block RAMs.
        lut: of decoders.
    """

    memory: str
    bits: int
    protection: str
    extra_bits: int
    bram18: int
    bram18_plain: int
    lut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCampaign:
    """One grid on some networks, with the same maps and images.

    Attributes:
        images: that were judged on.
        maps: a series; "least to most" where they differ.
        rates: of the first series, 0 to 1.
        labels: the same for people.
        what: target, fault and layers of the first series.
        networks: the curve of each.
        series: all points of each.
        wanted: half width that was asked for; None for none.
        not_reached: series that the most maps allowed left wider.
        paired: the first network less each other, point by point.
        costs: of protections, memory by memory.
        metrics: that were asked for beyond accuracy.
        equal: what else the networks were to have alike in `paired`, beyond rates.
        certified: margins and certified flips of each network; None where they were not asked for.
    """

    images: int
    maps: int | str
    rates: list[float]
    labels: list[str]
    what: str
    networks: Mapping[str, FaultCurve]
    series: Mapping[str, list[SingleFaultSeries | FaultSeries]]
    wanted: float | None
    not_reached: int
    paired: list[PairedSeries]
    costs: Mapping[str, list[MemoryProtection]]
    metrics: list[str] | None = field(default=None, metadata=OPTIONAL)
    equal: list[str] | None = field(default=None, metadata=OPTIONAL)
    certified: Mapping[str, Margins] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCampaign(FaultCampaign):
    """What `flow faults` finds.

    Attributes:
        store: the file that holds the results; None for none.
        input: what the first graph's input holds; None where it is not known.
    """

    store: str | None
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMapCells:
    """A fault map that was written.

    Attributes:
        map: its file.
        cells: faulty ones of each memory.
    """

    map: str
    cells: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassUnderMap:
    """Images of one true class under one fault map; shares are of these images, 0 to 1.

    Attributes:
        label: the class, from 0.
        images: that have it.
        clean: classified rightly without the map.
        accuracy, low, high: with it, and its 95 % interval for other images of the class under the same map.
        changed, changed_low, changed_high: with another class than without it, likewise.
    """

    label: int
    images: int
    clean: float
    accuracy: float
    low: float
    high: float
    changed: float
    changed_low: float
    changed_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginUnderMap:
    """How far one fault map brings the true class's score down to the best other one, or below it.

    Attributes:
        unit: "integers" where the network's output is integers, else "scores", its floats.
        clean, faulty: mean margin over images without the map, and with it.
        loss: the one less the other.
    """

    unit: Literal["integers", "scores"]
    clean: float
    faulty: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultMapReplay(FaultMapCells):
    """What one fault map does.

    Attributes:
        clean, accuracy: without and with it, 0 to 1.
        trial: 0.
        images, right, changed: that were judged on, that are classified rightly, whose class changes.
        metrics: that were asked for beyond accuracy; None where none were.
        changed_low, changed_high: silent data corruption, the 95 % interval of the share of changed images for other
            images under the same map, 0 to 1; None where no metric was asked for.
        classes: class by class, those without images left out; None where it was not asked for.
        worst_class: the one whose accuracy falls most; likewise.
        margin: what scores lose; likewise.
    """

    clean: float
    accuracy: float
    trial: int
    images: int
    right: int
    changed: int
    metrics: list[str] | None = field(default=None, metadata=OPTIONAL)
    changed_low: float | None = field(default=None, metadata=OPTIONAL)
    changed_high: float | None = field(default=None, metadata=OPTIONAL)
    classes: list[ClassUnderMap] | None = field(default=None, metadata=OPTIONAL)
    worst_class: int | None = field(default=None, metadata=OPTIONAL)
    margin: MarginUnderMap | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMemory:
    """What a placement does for one memory of a design.

    Attributes:
        memory: its name.
        block_rams: that it takes.
        changed: mean images whose class changes when a part of one of them reads 0.
        faulty_random, faulty: cells in use that are expected to be faulty, placed at random and as planned.
    """

    memory: str
    block_rams: int
    changed: float
    faulty_random: float
    faulty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementResult:
    """What `flow placement` finds.

    Attributes:
        board: whose memories were measured.
        memories: how many it has.
        voltage: volts that it is planned for.
        images: that block RAMs were judged on.
        share: of a block RAM's cells that read 0 at once.
        block_rams: of the design.
        faulty_random, faulty: cells in use that are expected to be faulty, placed at random and as planned.
        weighted: the planned sum of faulty cells times images changed, over the random one; None where that is 0.
        layers: memory by memory.
        elsewhere: memories that are not in block RAM, and where they lie.
        output: the file of the plan.
        input: what the graph's input holds; None where it is not known.
    """

    board: str
    memories: int
    voltage: float
    images: int
    share: float
    block_rams: int
    faulty_random: float
    faulty: float
    weighted: float | None
    layers: list[PlacedMemory]
    elsewhere: Mapping[str, str]
    output: str
    input: InputHeld | None
