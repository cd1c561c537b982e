"""Hardware simulated by Verilator, and whether it is what the simulators say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...build.rtl import control as registers
from ...build.rtl.words import checksum
from ...transforms.ir.graph import Graph
from ...transforms.streams import INPUT, streams_of
from ..results.hardware import Cosim, CosimRun, Difference, WordDifference
from .hardware import Hardware
from .inputs import input_held
from .rates import timing_of

if TYPE_CHECKING:
    from ...build.cosim.verilator import Simulated, Stalls, Tools, Words
    from ...sim.pipeline import Timing
    from ...transforms.ir.tensor import Array
    from ...transforms.streams import Stream

# Shares of cycles in which input and output stall, one pair a further run.
STALLS = ((0.3, 0.3), (0.0, 0.6), (0.6, 0.0))
_TRACED = 3
# Cycles from which on a program pays that takes longer to compile.
_MANY_CYCLES = 5_000_000
# Cycles of a waveform before the first wrong word, and behind it.
_BEFORE, _BEHIND = 200, 50
# Files of the waveform of a difference: FST, or VCD where the compiler has no lz4.h.
_FST, _VCD = ".fst", ".vcd"
WAVEFORMS = (f"difference{_FST}", f"difference{_VCD}")


@dataclass(frozen=True, slots=True)
class Checks:
    """How hardware is simulated.

    Attributes:
        stalls: further runs in which both ends stall at random.
        seed: of their stalls.
        seconds: that a build or a run may take; None: as long as it takes.
        structural: whether counts and sums are simulated as they are built from LUTs.
        waveforms: folder for the waveform around a difference; None: none is written.
    """

    stalls: int = len(STALLS)
    seed: int = 0
    seconds: float | None = None
    structural: bool = False
    waveforms: Path | None = None

    def runs(self) -> list[Stalls]:
        """Stalls of the further runs."""
        from ...build.cosim.verilator import Stalls

        return [Stalls(self.seed + 1 + place, *STALLS[place % len(STALLS)]) for place in range(self.stalls)]


def cosimulated(made: Hardware, images: Array, checks: Checks, folder: Path, tools: Tools) -> Cosim:
    """Simulate the hardware on images, with and without stalls, and compare it with the simulators.

    Args:
        made: hardware.
        images: as the graph takes them.
        checks: what is run.
        folder: of the design's files.
        tools: Verilator and compiler.

    Raises:
        Problem: a tool fails; status 1: it takes too long, or a stream breaks its contract.
    """
    from ...build.cosim.verilator import build, version
    from ...sim.engine.simulator import Simulator

    graph, leave, stalls, seconds = made.graph, made.design.leave, checks.runs(), checks.seconds
    began = time.perf_counter()
    interval = made.timing.interval or 0
    fast = len(images) * (1 + len(stalls)) * interval > _MANY_CYCLES
    program = build(made.design, folder, tools, seconds, fast=fast, structural=checks.structural)
    built = time.perf_counter() - began
    values = np.moveaxis(images, 1, -1) if graph.channels_first else images
    simulator = Simulator.of(graph)
    expected = dict(simulator.tensors(images, [leave.source]))[leave.source].reshape(len(images), -1)
    runs, results = [], []
    limit = 100_000 + 4 * max(made.timing.finished)
    for each in (None, *stalls):
        began = time.perf_counter()
        found = program.run(values, each, limit=limit, seconds=seconds)
        took = time.perf_counter() - began
        wrong = int((found.outputs != expected).sum())
        facts = (0, 0.0, 0.0) if each is None else (each.seed, each.input, each.output)
        seed, into, out = facts
        runs.append(
            CosimRun(
                seed=seed,
                stall_in=into,
                stall_out=out,
                images=len(images),
                different=wrong,
                cycles=found.cycles,
                seconds=round(took, 3),
            )
        )
        results.append(found)
    few = slice(0, min(_TRACED, len(images)))
    told = _told_by_registers(made, len(images[few]))
    asked = [f"images {len(images[few])}", *(f"r {address}" for address, _ in told.values())] if told else []
    traced = program.run(values[few], checksums=True, host=asked, limit=limit, seconds=seconds)
    streams = streams_of(graph).streams
    tensors = {INPUT: values[few], **simulator.tensors(images[few], _sources(graph))}
    carried = {each.name: tensors[_tensor(graph, each.source, tensors)] for each in streams}
    changed = [each for each in streams if traced.checksums[each.name] != checksum(carried[each.name], each)]
    first = None
    if changed:
        passed = program.words(values[few], changed[0], limit=limit, seconds=seconds)
        first = _first_word(changed[0], passed, carried[changed[0].name])
        if first is not None and checks.waveforms is not None:
            first = replace(first, waveform=_waveform(made, values[few], first.cycle, checks, folder, tools, limit))
    predicted = timing_of(graph, len(images), 2, made.depths, made.control)
    unexpected = [*_unlike(results[0], predicted, len(images)), *(f"words of {each.name} differ" for each in changed)]
    unexpected += _registers_unlike(told, traced)
    unexpected += [f"{run.different:,} outputs differ with stalls of seed {run.seed}" for run in runs if run.different]
    unexpected += [
        f"the hardware stands still with stalls of seed {run.seed}"
        for run, found in zip(runs[1:], results[1:], strict=True)
        if found.stuck
    ]
    finished = results[0].finished or (0,)
    intervals = np.diff(finished)
    assert predicted.latency is not None
    return Cosim(
        name=graph.name,
        input=input_held(graph),
        top=made.design.name,
        sha256=made.design.digest,
        tool=version(tools),
        images=len(images),
        outputs=int(expected.size),
        streams=len(traced.checksums),
        latency_cycles=finished[0],
        interval_cycles=int(intervals[-1]) if len(intervals) else None,
        predicted_latency=predicted.latency,
        predicted_interval=predicted.interval,
        fifo_peaks=dict(results[0].peaks),
        unexpected=unexpected,
        runs=runs,
        difference=_difference(results, expected, changed[0].name if changed else ""),
        first_word=first,
        equal=not unexpected,
        build_seconds=round(built, 3),
    )


def _told_by_registers(made: Hardware, images: int) -> dict[str, tuple[int, int]]:
    """Addresses of registers, and what they are to say, by name, when so many images came out without stalls."""
    if not made.design.controlled:
        return {}
    predicted, digest = timing_of(made.graph, images, 2, made.depths, made.control), made.design.digest
    told = {
        "BNNF": (registers.MAGIC, int.from_bytes(b"BNNF", "little")),
        **{f"HASH {n}": (registers.HASH + 4 * n, int(digest[8 * n : 8 * n + 8], 16)) for n in range(4)},
        "images that began": (registers.BEGAN, images),
        "images that ended": (registers.ENDED, images),
        "rows that were mended": (registers.MENDED, 0),
        "words beyond correction": (registers.FAILED, 0),
    }
    if predicted.intervals:
        told["interval"] = (registers.INTERVAL, predicted.intervals[-1])
    for place, fifo in enumerate(predicted.fifos):
        told[f"stalls of {fifo.name}"] = (registers.STREAMS + 8 * place, fifo.stalls)
        told[f"peak of {fifo.name}"] = (registers.STREAMS + 8 * place + 4, fifo.peak)
    return told


def _registers_unlike(told: Mapping[str, tuple[int, int]], traced: Simulated) -> list[str]:
    """What registers say that is not so; nothing of hardware that stood still before they were read."""
    if traced.stuck:
        return []
    if len(traced.read) != len(told):
        return [f"{len(traced.read)} of {len(told)} registers answered"]
    return [
        f"register {name!r} is {found:,}, not {value:,}"
        for (name, (_, value)), found in zip(told.items(), traced.read, strict=True)
        if found != value
    ]


def _first_word(stream: Stream, passed: Words, tensor: Array) -> WordDifference | None:
    """The first value of a stream that is not as its tensor says; None where words only are missing at the end."""
    expected = tensor.reshape(-1, stream.width)
    count = min(len(expected), len(passed.values))
    wrong = np.argwhere(passed.values[:count] != expected[:count])
    if not len(wrong):
        return None
    word, lane = (int(one) for one in wrong[0])
    place = word % stream.words * stream.width + lane
    return WordDifference(
        stream=stream.name,
        image=word // stream.words,
        place=place,
        channel=place % tensor.shape[-1],
        cycle=passed.cycles[word],
        expected=int(expected[word, lane]),
        found=int(passed.values[word, lane]),
    )


def _waveform(made: Hardware, values: Array, cycle: int, checks: Checks, folder: Path, tools: Tools, limit: int) -> str:
    """Write the waveform around a cycle: FST, or VCD where the compiler has no lz4.h; the file's name."""
    from ...build.cosim.verilator import build

    waveforms = checks.waveforms
    assert waveforms is not None
    cycles = range(max(0, cycle - _BEFORE), cycle + _BEHIND)

    def recorded(ending: str) -> str:
        program = build(made.design, folder, tools, checks.seconds, structural=checks.structural, waveform=ending)
        file = waveforms / f"difference{ending}"
        program.waveform(values, file, cycles, limit=limit, seconds=checks.seconds)
        return str(file)

    try:
        return recorded(_FST)
    except Problem as problem:
        if problem.status == CHECK_FAILED:
            # It took too long, which VCD would, too.
            raise
        return recorded(_VCD)


def _sources(graph: Graph) -> list[str]:
    """Tensors that streams carry."""
    names = {each.source for each in streams_of(graph).streams}
    return [node.name for node in graph.nodes if node.name in names]


def _tensor(graph: Graph, source: str, tensors: Mapping[str, Array]) -> str:
    """The tensor of what a stream's source writes; a converter passes on what its own source wrote."""
    if source in tensors:
        return source
    entry = next(each for each in streams_of(graph).streams if each.target == source)
    return _tensor(graph, entry.source, tensors)


def _unlike(found: Simulated, predicted: Timing, images: int) -> list[str]:
    """What of cycles and FIFOs is not as predicted."""
    told = []
    if found.stuck:
        short = [
            f"{fifo.name} ({found.written[fifo.name]:,} of {images * fifo.words:,} words)"
            for fifo in predicted.fifos
            if found.written[fifo.name] < images * fifo.words
        ]
        told.append(f"the hardware stands still; streams that miss words: {', '.join(short)}")
        return told
    for place, (here, there) in enumerate(zip(found.finished, predicted.finished, strict=True)):
        if here != there:
            told.append(f"image {place} ends after {here:,} cycles, predicted {there:,}")
            break
    for fifo in predicted.fifos:
        if found.written[fifo.name] != images * fifo.words:
            told.append(f"{found.written[fifo.name]:,} words in {fifo.name}, not {images * fifo.words:,}")
        if found.peaks[fifo.name] != fifo.peak:
            told.append(f"{fifo.name} held {found.peaks[fifo.name]:,} words, predicted {fifo.peak:,}")
    return told


def _difference(results: Sequence[Simulated], expected: Array, stream: str) -> Difference | None:
    for found in results:
        wrong = np.argwhere(found.outputs != expected)
        if len(wrong):
            image, place = (int(one) for one in wrong[0])
            return Difference(
                stream=stream,
                image=image,
                place=place,
                expected=int(expected[image, place]),
                found=int(found.outputs[image, place]),
            )
    return None
