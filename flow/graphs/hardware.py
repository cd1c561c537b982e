"""Hardware of a folded graph: sized, described, refused where it cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...build.parts import Part
from ...build.rtl.beside import Vectors
from ...build.rtl.design import Design, design
from ...build.rtl.words import to_words, value_bits
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import AddBorder, ChannelwiseMul
from ...transforms.streams import streams_of
from ..results.hardware import HardwareUnit, Rtl
from .control import PLAIN, HardwareChoices, control_of, writable
from .inputs import input_held
from .plans import codes_said
from .rates import rate, timing_of

if TYPE_CHECKING:
    from ...build.rtl.control import Control
    from ...sim.pipeline import Timing
    from ...transforms.ir.tensor import Array

NOT_COUNTED = "registers, sets and codes are counted by bnnflow alone"
_RATE_IMAGES = 3
# Images of a test bench.
_VECTORS = 3


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
    graph: Graph, depth: int, own: Mapping[str, int], clock_mhz: float, asked: HardwareChoices = PLAIN
) -> Hardware:
    """Hardware whose FIFOs have `depth` words but for those in `own`, and for those that must be deeper.

    Those are the FIFOs without which the rate would be less than with unbounded ones, or the graph would stand still;
    what `own` names stays as it is. `asked`: what a host is to ask of it.

    Raises:
        Problem: a unit that has no hardware; a plan of codes for another network.
    """
    graph, control, asked = controlled(graph, asked)
    # Refused before anything is simulated.
    design(graph, depth, own, clock_mhz, control, primitives=asked.primitives)
    restored = rate(graph, depth, own, _RATE_IMAGES, control).restoring
    chosen = {each.name: depth for each in streams_of(graph).streams} | dict(restored) | dict(own)
    timing = timing_of(graph, _RATE_IMAGES, depth, chosen, control)
    made = design(graph, depth, chosen, clock_mhz, control, _vectors(graph), asked.primitives)
    return Hardware(graph, made, chosen, timing, control, asked)


def controlled(graph: Graph, asked: HardwareChoices) -> tuple[Graph, Control | None, HardwareChoices]:
    """A folded graph with the memories that are asked for, what its hardware needs for them, and the choices with the
    codes that a plan says.

    Raises:
        Problem: a plan of codes for another network, a code that no hardware has, or of a memory that is not there.
    """
    asked = replace(asked, protect=codes_said(graph, asked.protect))
    graph = writable(graph, asked)
    return graph, control_of(graph, asked), asked


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
        scrubbed_memories=sum(each.scrubbed for each in made.design.host_memories),
        files=len(made.design.files),
        notes=[*notes, *constants_left(made)],
    )
