"""What is found of single bits, margins and attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstBit:
    """A weight bit that changes many classes.

    Attributes:
        row, column, bit: its place in the matrix of weights.
        changed: images whose class it changes.
        right: images that are still classified rightly.
    """

    row: int
    column: int
    bit: int
    changed: int
    right: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCriticality:
    """Every weight bit of a layer flipped, one at a time.

    Attributes:
        layer: its name.
        bits: that it has.
        critical: bits that change the class of an image.
        critical_share: of them, 0 to 1.
        mean_changed: mean share of images whose class a bit changes, 0 to 1.
        clean: accuracy without faults, 0 to 1; None without labels.
        worst: the bits that change most.
    """

    layer: str
    bits: int
    critical: int
    critical_share: float
    mean_changed: float
    clean: float | None
    worst: list[WorstBit]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalityResult:
    """What `flow criticality` finds.

    Attributes:
        images: that were judged on.
        layers: those asked for.
        output: file of the tables of all bits; None for none.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    layers: list[LayerCriticality]
    output: str | None
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipSpread:
    """Certified flips over images; None where so many stand any number.

    Attributes:
        least, p10, median: least, tenth percentile and median.
        trivial_share: of images of which nothing is certified, 0 to 1.
    """

    least: int | None
    p10: int | None
    median: int | None
    trivial_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FewestFlips:
    """The fewest flips that a search found to change a class.

    Attributes:
        image: its index.
        flips: row and column of each.
    """

    image: int
    flips: list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMargins:
    """Margins of a layer.

    Attributes:
        layer: its name.
        median_flips: of input flips that turn a neuron; None where none can be turned.
        one_flip_share: of neurons that one flip turns, 0 to 1.
        constant_share: of neurons that none turn, 0 to 1.
        flip_probability: mean, of a neuron, at the rate asked for.
        certified: flips of weights that provably change no class.
        exact: whether one flip more, well chosen, changes it.
    """

    layer: str
    median_flips: float | None
    one_flip_share: float
    constant_share: float
    flip_probability: float
    certified: FlipSpread
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedMargins(LayerMargins):
    """Margins of a layer, and what a search found.

    Attributes:
        found: for each of the first images, flips found to be enough; None where none were found.
        weakest: the fewest of them; None where none were found.
    """

    found: list[int | None]
    weakest: FewestFlips | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackFlip:
    """One flip of a greedy attack.

    Attributes:
        layer, row, column, bit: its place.
        accuracy: with it and those before, 0 to 1.
    """

    layer: str
    row: int
    column: int
    bit: int
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What `flow margins` finds.

    Attributes:
        images: that were judged on.
        rate: of the flips of inputs, 0 to 1.
        last: name of the last layer.
        last_weights, last_inputs: certified flips there; the latter None where its inputs are no bits.
        layers: all but the last.
        neurons_on: images that margins of neurons are of.
        attack: flips, in order.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    rate: float
    last: str
    last_weights: FlipSpread
    last_inputs: FlipSpread | None
    layers: list[SearchedMargins | LayerMargins]
    neurons_on: int
    attack: list[AttackFlip]
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackStep:
    """One step of a progressive bit-flip attack.

    Attributes:
        flips: bits that are flipped behind it, in all.
        layer: whose bits it flips.
        cells: of its weight memory, word * width + bit.
        loss: mean cross entropy of the images attacked on, by the scores' spread; of a target, less it.
        accuracy: of the images judged, 0 to 1.
        share: of them, that have the target's class, 0 to 1; None without a target.
    """

    flips: int
    layer: str
    cells: list[int]
    loss: float
    accuracy: float
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomFlips:
    """Accuracy while weight bits are flipped in random orders, each bit once.

    Attributes:
        orders: how many; each flips the bits of the memories attacked, every bit with equal chance.
        flips: numbers of flips that accuracy is measured at: powers of two up to half of the bits, and the attack's.
        mean, low, high: accuracy at each, 0 to 1, with its 95 % interval for other orders and other images.
        after_as_many: mean accuracy after as many flips as the attack made, 0 to 1; None where it made none.
        to_level: of each order the first number of `flips` with which accuracy is at chance level; None: none is.
    """

    orders: int
    flips: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    after_as_many: float | None
    to_level: list[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResult:
    """What `flow attack` finds.

    Attributes:
        images: that were judged on, the first ones.
        attacked_on: images that gradients and losses are of, none of the former.
        classes: of the network.
        target: the class that all images were to get; None: any wrong one.
        level: accuracy at which the attack ends, or, of a target, share of images in its class, 0 to 1.
        layers: that were attacked.
        bits: of their weight memories.
        clean: accuracy without flips, 0 to 1.
        begun_with: flips of the map that it began with.
        flips: bits flipped in the end.
        accuracy: with them, 0 to 1.
        ended: "level", "flips" (as many as were allowed), or "stuck" (no candidates raise the loss).
        steps: in order.
        random: the control; None where none was asked for.
        cells: flips of each memory.
        map: file of the flips; None for none.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    attacked_on: int
    classes: int
    target: int | None
    level: float
    layers: list[str]
    bits: int
    clean: float
    begun_with: int
    flips: int
    accuracy: float
    ended: str
    steps: list[AttackStep]
    random: RandomFlips | None
    cells: Mapping[str, int]
    map: str | None
    input: InputHeld | None
