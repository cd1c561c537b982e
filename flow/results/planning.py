"""What plans against faults say."""

from __future__ import annotations

from dataclasses import dataclass

from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAccuracy:
    """Accuracy of a plan, on images and fault maps that did not choose it.

    Attributes:
        mean, low, high: with its 95 % interval for other maps and other images; 0 to 1.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRate:
    """How bad one memory may be.

    Attributes:
        memory: its name.
        bits: that it holds.
        rate: bit error rate, 0 to 1.
        alone: accuracy, 0 to 1, with this memory alone at that rate, on the images that chose it.
    """

    memory: str
    bits: int
    rate: float
    alone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TolerancePlan:
    """What `flow tolerance` finds.

    Attributes:
        images, judged: that chose the rates, and that judge them.
        maps: fault maps of each measurement.
        clean: accuracy without faults on the images that judge.
        floor: what was asked for on the images that chose: their accuracy without faults less the loss.
        rates: memory by memory.
        accuracy: with all of them.
        uniform: the highest rate that all memories stand together; 0: none of those tried.
        uniform_accuracy: with that.
        measured: how many settings of all memories were measured.
        output: table of the rates, which `flow faults --table` reads; None: not written.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    judged: int
    maps: int
    clean: float
    floor: float
    rates: list[MemoryRate]
    accuracy: JudgedAccuracy
    uniform: float
    uniform_accuracy: JudgedAccuracy
    measured: int
    output: str | None
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedNetwork:
    """Codes of some memories, and what they are worth.

    Attributes:
        protect: as `--protect` of `flow rtl` and `--protection` of `flow faults` read it; "none" for none.
        lut, bram18: what they take, estimated.
        extra_bits: check bits and copies.
        accuracy: with faults in all memories.
    """

    protect: str
    lut: int
    bram18: int
    extra_bits: int
    accuracy: JudgedAccuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionPlan:
    """What `flow protect` finds.

    Attributes:
        images, judged: that chose the codes, and that judge them.
        maps: fault maps of each measurement.
        rate: bit error rate.
        clean: accuracy without faults on the images that judge.
        front: cheapest first; each was more accurate, on the images that chose, than those before it.
        pick: number of the one that is written, from 0: the cheapest that loses no more than was asked for, on the
            images that judge.
        output: the plan, which `--protect` and `--protection` read; None: not written.
        input: what the graph's input holds; None where it is not known.
    """

    images: int
    judged: int
    maps: int
    rate: float
    clean: float
    front: list[ProtectedNetwork]
    pick: int
    output: str | None
    input: InputHeld | None
