"""What is written of a network's hardware, and what its simulation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import BESIDE, OPTIONAL
from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareUnit:
    """A unit as an instance of the library.

    Attributes:
        name: of its node.
        module: of the library.
        latency: cycles from a step to the word that it writes.
        memory_bits: of its weights, thresholds and constants.
    """

    name: str
    module: str
    latency: int
    memory_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtl:
    """What `flow rtl` writes.

    Attributes:
        name: of the graph.
        input: what it holds; None where it is not known.
        folder: where the files are.
        top: name of the top module.
        sha256: of the network, its folding and its FIFOs.
        clock_mhz: of the constraints, in MHz.
        interval_cycles, latency_cycles: cycles between images, and of the first one, as `sim.pipeline` simulates them.
        fps: images per second at that clock.
        fifo_depths: words of every FIFO, by name.
        units: in the order of the graph.
        registers: whether a host finds AXI-Lite registers.
        host_memories: memories that it can write, those in a code among them.
        sets: of words in them, at most; 0: there are none.
        protection: codes of the memories, as they were asked for; empty: none.
        scrubbed_memories: those whose rows are walked through while no unit reads them.
        files: number of files.
        notes: of the compiler and the folding.
    """

    name: str
    input: InputHeld | None
    folder: str
    top: str
    sha256: str
    clock_mhz: float
    interval_cycles: int
    latency_cycles: int
    fps: float
    fifo_depths: Mapping[str, int]
    units: list[HardwareUnit]
    registers: bool | None = field(default=None, metadata=OPTIONAL)
    host_memories: int | None = field(default=None, metadata=OPTIONAL)
    sets: int | None = field(default=None, metadata=OPTIONAL)
    protection: str | None = field(default=None, metadata=OPTIONAL)
    scrubbed_memories: int | None = field(default=None, metadata=OPTIONAL)
    files: int
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWritten:
    """That a network's hardware was not written.

    Attributes:
        reason: why.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlResult:
    """The hardware, by network."""

    networks: Mapping[str, Rtl | NotWritten] = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosimRun:
    """One run of the hardware's simulation.

    Attributes:
        seed: of the stalls.
        stall_in, stall_out: shares of cycles in which the host offers or takes no word, 0 to 1.
        images: sent through.
        different: integers of the outputs that differ from the simulator's.
        cycles: in all.
        seconds: that it took.
    """

    seed: int
    stall_in: float
    stall_out: float
    images: int
    different: int
    cycles: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where hardware and simulator part.

    Attributes:
        stream: the first whose words differ, in the order of the graph; empty where only stalls make the difference.
        image, place: of the first output that differs; place counts the values of an image from 0.
        expected, found: its value.
    """

    stream: str
    image: int
    place: int
    expected: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WordDifference:
    """The first wrong value of the first stream that differs.

    Attributes:
        stream: its name.
        image: number, from 0.
        place: of the value among those of the image in this stream, from 0.
        channel: of the value, from 0.
        cycle: in which its word was written, counted from the first word that went in.
        expected, found: its value.
        waveform: file of the cycles around it; empty where none was asked for.
    """

    stream: str
    image: int
    place: int
    channel: int
    cycle: int
    expected: int
    found: int
    waveform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosim:
    """What `flow cosim` finds.

    Attributes:
        name: of the graph.
        input: what it holds; None where it is not known.
        top: name of the top module.
        sha256: of the network, its folding and its FIFOs.
        tool: that simulates, with its version.
        images: sent through in the run without stalls.
        outputs: integers compared in that run.
        streams: whose every word was compared with the simulator's tensor, by a checksum.
        latency_cycles, interval_cycles: of the hardware; a single image has no interval.
        predicted_latency, predicted_interval: as `sim.pipeline` simulates them.
        fifo_peaks: most words that each FIFO held.
        unexpected: what differs from the prediction, for people; empty where all is equal.
        runs: the first without stalls.
        difference: None where all outputs are equal.
        first_word: None where the words of all streams are equal, or only fewer.
        equal: whether outputs, streams, cycles and FIFOs all are as predicted.
        build_seconds: of the simulation program; 0 where it was kept from before.
    """

    name: str
    input: InputHeld | None
    top: str
    sha256: str
    tool: str
    images: int
    outputs: int
    streams: int
    latency_cycles: int
    interval_cycles: int | None
    predicted_latency: int
    predicted_interval: int | None
    fifo_peaks: Mapping[str, int]
    unexpected: list[str]
    runs: list[CosimRun]
    difference: Difference | None
    first_word: WordDifference | None
    equal: bool
    build_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CosimResult:
    """What the simulations found, by network whose hardware was written."""

    networks: Mapping[str, Cosim] = field(default_factory=dict, metadata=BESIDE)
