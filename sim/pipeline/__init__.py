"""Timing of a folded dataflow graph, word by word and clock cycle by clock cycle.

What is computed plays no part: each unit reads and writes words of its streams in an order that its shape and folding
fix. The result therefore says when every word moves, and so where units wait, how full FIFOs get, and which FIFO is
too small. With the latencies of `build/rtl/modules.py` it is the timing of the hardware that `flow rtl` writes, cycle
by cycle and word by word: `flow cosim` holds the two against each other.

Common to all units:

* A unit makes one step a cycle. A step reads at most one word of each input and writes at most one word of each
  output, all of it or nothing: it waits while a word that it reads is missing (starved) or a FIFO that it writes is
  full (blocked). The word of a step in cycle t is written `latency` cycles later; its place in the FIFO is taken in
  cycle t, and a FIFO has as many places more than its depth, so that a pipeline never stalls.
* A word that is written in cycle t can be read from cycle t + 1 on. A place of a FIFO that is read in cycle t can be
  written from cycle t + 1 on; a FIFO of depth 1 so passes a word every other cycle.
* Units overlap images without a gap, but for `GlobalAccPool` and `LabelSelect` with k > 1, which write alone.
* Where words of neighbours differ in width, a converter stands between them, with a FIFO on each side: to wider words,
  it reads n words and writes one with the last; to narrower words, it writes the first part with the reading, then
  n - 1 parts. Where neither width divides the other, two converters meet at the least common multiple.
* The graph's input offers a word, as wide as its reader wants it, in every cycle; its output is taken at once. Shape
  changes take no time, nor what the host does behind the last unit: scales of class scores, and the best of them.

The units:

* `Mvau`: SF = MW / SIMD steps read a word each; the last of them writes the first PE results; every further SF cycles
  write the next PE: (MH / PE) * SF cycles a vector.
* `SlidingWindow`: reads pixels, SIMD channels a word, while it writes windows. A window begins when all its pixels are
  buffered and is written word by word; its last word also waits for all pixels in front of the next window. The ring
  buffer holds a window and its greatest move, that to the next image (`transforms.streams.WindowMoves`); a place is
  free when the window has moved beyond it. With `parallel_window` a word is a whole window of SIMD channels, written
  when its last pixel's word is there. While it neither reads nor writes, it is blocked as long as a word of a window
  waits for a place, else starved.
* `Thresholding`, `ChannelwiseMul`, `AddBorder`: one word in, one word out.
* `AddStreams`: one word of both inputs, one word out. `DuplicateStreams`: one word in, the same to every reader.
* `StreamingConcat`: for each pixel, the words of the first input, then those of the second, ...
* `FMPadding`: a word a cycle; places of the border read nothing, but the first waits for its image's first word.
* `StreamingMaxPool`: whole pixels are words; the last pixel of a window writes its maxima.
* `Pool`: reads kh * kw words for each word that it writes with the last of them.
* `GlobalAccPool`: reads the whole map, then writes channels / PE words.
* `LabelSelect`: reads all scores, writes the first index with the last of them, then k - 1 others.
"""

from __future__ import annotations

from collections.abc import Mapping

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ..engine.kernels.llvm import available
from .compiled import move
from .line import Fifo, Line
from .timing import Deadlock, FifoTiming, Timing, UnitTiming
from .units import line_of

__all__ = ["Deadlock", "FifoTiming", "Timing", "UnitTiming", "fifo_names", "fifos_of", "simulate"]

UNBOUNDED = 0


def fifo_names(graph: Graph) -> tuple[str, ...]:
    """Names of the FIFOs of a folded graph, as in `Timing.fifos`: "unit -> unit", in the order of the graph.

    Raises:
        Problem: an operation that is no unit, or words that a tensor does not fill.
    """
    return tuple(fifo.name for fifo in fifos_of(graph))


def fifos_of(graph: Graph) -> tuple[Fifo, ...]:
    """The FIFOs of a folded graph, with the words that an image sends through them; none has moved yet.

    Raises:
        Problem: as `fifo_names`.
    """
    return tuple(line_of(graph, 1, UNBOUNDED, {}).fifos)


def simulate(
    graph: Graph,
    images: int = 3,
    depth: int = 2,
    depths: Mapping[str, int] | None = None,
    latencies: Mapping[str, int] | None = None,
    *,
    remedy: bool = True,
) -> Timing:
    """Timing of a folded graph at the dataflow level.

    Args:
        graph: its units, with their PE and SIMD.
        images: sent through; the more, the surer the last interval is the steady one.
        depth: of FIFOs, in words; 0 for unbounded ones.
        depths: those of single FIFOs by name, as in `Timing.fifos`.
        latencies: cycles from a unit's step to the word that it writes, by the unit's name; 0 where it has none.
        remedy: whether depths that suffice are looked for after a deadlock, which takes a run for each FIFO.

    Raises:
        Problem: an operation that is no unit, an unknown FIFO, an impossible number, or words that a tensor does not
            fill.
    """
    own, late = dict(depths or {}), dict(latencies or {})
    if images < 1:
        raise Problem(f"{images} images cannot be sent", "images", "send at least one")
    if min(depth, *own.values(), 0) < 0:
        raise Problem("a FIFO has a negative depth", "FIFO depths", "give a number of words, or 0 for unbounded ones")
    line = _run(graph, images, depth, own, late)
    if line.runs:
        return line.timing()
    waits, full = line.circle()
    if not remedy:
        return line.timing(Deadlock(line.cycle, waits, full, {}))
    too_small, stuck, last = [full], full, line
    while True:
        # Unbounded, this FIFO shows what it would have held; the others throttle what surrounds it as before.
        last = _run(graph, images, depth, own | dict.fromkeys(too_small, UNBOUNDED), late)
        if last.runs:
            break
        stuck = last.circle()[1]
        assert stuck not in too_small, "an unbounded FIFO is never full"
        too_small.append(stuck)
    peaks = {fifo.name: fifo.peak() for fifo in last.fifos}
    return line.timing(Deadlock(line.cycle, waits, full, {name: peaks[name] for name in too_small}))


def _run(graph: Graph, images: int, depth: int, depths: Mapping[str, int], latencies: Mapping[str, int]) -> Line:
    line = line_of(graph, images, depth, depths, latencies)
    unknown = [name for name in depths if name not in {fifo.name for fifo in line.fifos}]
    if unknown:
        listed = ", ".join(fifo.name for fifo in line.fifos[:8])
        raise Problem(f"there is no FIFO {unknown[0]!r}", f"graph {graph.name!r}", f"FIFOs are: {listed}, ...")
    if available():
        move(line.processes, line.fifos, images)
    # Where kernels moved all that can, units only say what they wait for.
    line.run()
    return line
