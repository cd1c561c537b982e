"""Hardware of a folded graph, and whether its simulation is what the simulators say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...build.parts import Part
from ...build.rtl import control as registers
from ...build.rtl.beside import Vectors
from ...build.rtl.design import Design, design
from ...build.rtl.words import checksum, to_words, value_bits
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import AddBorder, ChannelwiseMul
from ...transforms.streams import INPUT, streams_of
from ..results.hardware import Cosim, CosimRun, Difference, HardwareUnit, Rtl, WordDifference
from .control import PLAIN, HardwareChoices, control_of, writable
from .inputs import input_held
from .rates import rate, timing_of

if TYPE_CHECKING:
    from ...build.cosim.verilator import Simulated, Stalls, Tools, Words
    from ...build.rtl.control import Control
    from ...sim.pipeline import Timing
    from ...transforms.ir.tensor import Array
    from ...transforms.streams import Stream

# Shares of cycles in which input and output stall, one pair a further run.
STALLS = ((0.3, 0.3), (0.0, 0.6), (0.6, 0.0))
_TRACED = 3
# Cycles from which on a program pays that takes longer to compile.
_MANY_CYCLES = 5_000_000
_RATE_IMAGES = 3
# Images of a test bench.
_VECTORS = 3
# Cycles of a waveform before the first wrong word, and behind it.
_BEFORE, _BEHIND = 200, 50


@dataclass(frozen=True, slots=True)
class Hardware:
    """Hardware of a folded graph.

    Attributes:
        graph: dataflow level, folded.
        design: its files.
        depths: words of every FIFO.
        timing: of some images, as predicted.
        control: what a host can ask of it; None: it has no registers.
        asked: what was asked for.
    """

    graph: Graph
    design: Design
    depths: Mapping[str, int]
    timing: Timing
    control: Control | None = None
    asked: HardwareChoices = PLAIN


def hardware_of(
    graph: Graph, depth: int, own: Mapping[str, int], clock_mhz: float, asked: HardwareChoices | None = None
) -> Hardware:
    """Hardware whose FIFOs have `depth` words but for those in `own`, and for those that must be deeper.

    Those are the FIFOs without which the rate would be less than with unbounded ones, or the graph would stand still;
    what `own` names stays as it is. `asked`: what a host is to ask of it.

    Raises:
        Problem: a unit that has no hardware.
    """
    # Refused before anything is simulated.
    asked = asked or PLAIN
    graph = writable(graph, asked)
    control = control_of(graph, asked)
    design(graph, depth, own, clock_mhz, control, primitives=asked.primitives)
    restored = rate(graph, depth, own, _RATE_IMAGES, control).restoring
    chosen = {each.name: depth for each in streams_of(graph).streams} | dict(restored) | dict(own)
    timing = timing_of(graph, _RATE_IMAGES, depth, chosen, control)
    made = design(graph, depth, chosen, clock_mhz, control, _vectors(graph), asked.primitives)
    return Hardware(graph, made, chosen, timing, control, asked)


def _vectors(graph: Graph) -> Vectors | None:
    """Drawn images for a test bench; None where the host computes the network's first quantizer."""
    from ...sim.engine.simulator import Simulator

    kind = graph.input_type
    if kind.is_float:
        return None
    images = drawn(graph, _VECTORS, seed=0)
    streams = streams_of(graph)
    entry, leave = streams.entries[0], streams.leave
    given = np.moveaxis(images, 1, -1) if graph.channels_first else images
    expected = dict(Simulator.of(graph).tensors(images, [leave.source]))[leave.source]
    return Vectors(_VECTORS, *(_hex(to_words(values, each)) for values, each in ((given, entry), (expected, leave))))


def drawn(graph: Graph, count: int, seed: int) -> Array:
    """Images such as the type of the graph's input allows, which is of integers."""
    kind = graph.input_type
    low, high = kind.range
    numbers = np.random.default_rng(seed).integers(0, (high - low) // kind.step + 1, (count, *kind.shape))
    return low + kind.step * numbers


def _hex(words: Array) -> list[str]:
    return [word[::-1].tobytes().hex() for word in words.reshape(-1, words.shape[-1])]


def refuse_deadlock(made: Hardware) -> None:
    """Refuse hardware that stands still.

    Raises:
        Problem: status 1; depths that were given are too small; names the FIFO, and depths that suffice.
    """
    if (stuck := made.timing.deadlock) is not None:
        enough = ", ".join(f"{name}: {depth:,}" for name, depth in stuck.enough.items())
        what = f"the hardware would stand still: FIFO {stuck.fifo} is too small"
        raise Problem(what, "FIFO depths", f"give {enough}, or leave them out", CHECK_FAILED)


def refuse_too_large(made: Hardware, part: Part) -> None:
    """Refuse hardware whose memories hold more bits than all block RAMs and look-up tables of a part together.

    Raises:
        Problem: status 1; names the largest memory.
    """
    bits = {
        f"{port} of {name}": memory.stored_bits
        for name, module in made.design.modules.items()
        for port, memory in {**module.memories, **module.tables}.items()
    }
    bits |= {
        f"FIFO {each.name}": each.width * value_bits(each.type) * made.depths[each.name]
        for each in streams_of(made.graph).streams
    }
    there, wanted = part.memory_bits, sum(bits.values())
    if wanted > there:
        most = max(bits, key=lambda name: bits[name])
        what = f"memories of {wanted:,} bits do not fit {part.name}, which has {there:,}"
        hint = f"the largest is {most} ({bits[most]:,} bits); name a larger part with --part, or prune"
        raise Problem(what, f"graph {made.graph.name!r}", hint, CHECK_FAILED)


def constants_left(made: Hardware) -> list[str]:
    """A note on units whose constants no host can write, where it can write others."""
    names = [node.name for node in made.graph.nodes if isinstance(node.op, AddBorder | ChannelwiseMul)]
    if not made.asked.sets or not names:
        return []
    return [f"constants of {', '.join(names)} stay those of this network: other weights need the same ones"]


def told(made: Hardware, clock_mhz: float, notes: Sequence[str], folder: str) -> Rtl:
    """What is to be said of hardware that lies in `folder`."""
    interval, latency, fps = made.timing.interval, made.timing.latency, made.timing.fps(clock_mhz)
    assert interval is not None and latency is not None and fps is not None, "FIFOs are deep enough"
    return Rtl(
        name=made.graph.name,
        input=input_held(made.graph),
        folder=folder,
        top=made.design.name,
        sha256=made.design.digest,
        clock_mhz=clock_mhz,
        interval_cycles=interval,
        latency_cycles=latency,
        fps=fps,
        fifo_depths=dict(made.depths),
        units=[
            HardwareUnit(
                name=name,
                module=each.name,
                latency=each.latency,
                memory_bits=sum(memory.stored_bits for memory in (*each.memories.values(), *each.tables.values())),
            )
            for name, each in made.design.modules.items()
        ],
        registers=made.design.controlled,
        host_memories=len(made.design.host_memories),
        sets=max((each.sets for each in made.design.host_memories), default=0),
        protection=made.asked.protect if made.control is not None and made.control.coded else "",
        files=len(made.design.files),
        notes=[*notes, *constants_left(made)],
    )


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
    asked = _asked(made, len(images[few]))
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
    unexpected += _registers_unlike(made, traced.read, len(images[few]))
    unexpected += [f"{run.different:,} outputs differ with stalls of seed {run.seed}" for run in runs if run.different]
    unexpected += [
        f"the hardware stands still with stalls of seed {run.seed}"
        for run, found in zip(runs[1:], results[1:], strict=True)
        if found.stuck
    ]
    finished = results[0].finished or (0,)
    intervals = np.diff(finished)
    expected_interval = predicted.interval
    assert predicted.latency is not None and expected_interval is not None
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
        interval_cycles=int(intervals[-1]) if len(intervals) else finished[0],
        predicted_latency=predicted.latency,
        predicted_interval=expected_interval,
        fifo_peaks=dict(results[0].peaks),
        unexpected=unexpected,
        runs=runs,
        difference=_difference(results, expected, changed[0].name if changed else ""),
        first_word=first,
        equal=not unexpected,
        build_seconds=round(built, 3),
    )


def _asked(made: Hardware, images: int) -> list[str]:
    """What a host does that reads all registers when so many images came out."""
    if not made.design.controlled:
        return []
    streams = range(registers.STREAMS, registers.STREAMS + 8 * len(made.depths), 4)
    places = (registers.MAGIC, *range(registers.HASH, registers.HASH + 16, 4), registers.BEGAN, registers.ENDED)
    more = (registers.MENDED, registers.FAILED, registers.INTERVAL)
    return [f"images {images}", *(f"r {place}" for place in (*places, *more, *streams))]


def _registers_unlike(made: Hardware, read: Sequence[int], images: int) -> list[str]:
    """What registers say that is not so, of a run without stalls."""
    if not made.design.controlled:
        return []
    predicted = timing_of(made.graph, images, 2, made.depths, made.control)
    digest = made.design.digest
    known = {
        "BNNF": int.from_bytes(b"BNNF", "little"),
        **{f"HASH {part}": int(digest[8 * part : 8 * part + 8], 16) for part in range(4)},
        "images that began": images,
        "images that ended": images,
        "rows that were mended": 0,
        "words beyond correction": 0,
        "interval": predicted.intervals[-1] if images > 1 else read[9],
    }
    for fifo in predicted.fifos:
        known |= {f"stalls of {fifo.name}": fifo.stalls, f"peak of {fifo.name}": fifo.peak}
    return [
        f"register {name!r} is {found:,}, not {value:,}"
        for (name, value), found in zip(known.items(), read, strict=True)
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
        return recorded(".fst")
    except Problem as problem:
        if problem.status == CHECK_FAILED:
            # It took too long, which VCD would, too.
            raise
        return recorded(".vcd")


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
