"""The rate of a folded graph with the FIFOs that it has, and the depths that restore what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...build.rtl.control import Control
from ...build.rtl.modules import latencies
from ...sim.pipeline import Timing, fifos_of
from ...sim.pipeline import simulate as simulated
from ...transforms.ir.graph import Graph
from ..results.costs import FifoRate

IMAGES = 3
# Words of every FIFO that need not be deeper.
FIFO = 2
SOURCE = "simulated (word by word, bnnflow.sim.pipeline)"
# Words through all FIFOs of an image beyond which an estimate is given alone: ten to twenty seconds for all runs.
BESIDE_AN_ESTIMATE = 500_000
# Words that may be spent on finding how small FIFOs can be.
_WORDS_TO_SPARE = 10_000_000
_STEP = 4


@dataclass(frozen=True, slots=True)
class FrameRate:
    """What FIFOs make of a rate.

    Attributes:
        given: timing with the depths that were given; may be a deadlock, with depths that suffice only where a remedy
            was asked for.
        deep: timing with unbounded FIFOs.
        restoring: name to depth of FIFOs with which, the others as given, the rate is that of unbounded ones; empty
            where the given depths keep it.
    """

    given: Timing
    deep: Timing
    restoring: Mapping[str, int]

    def at(self, depth: int, own: Mapping[str, int], clock_mhz: float) -> FifoRate:
        """At a clock in MHz; no figure with the given depths after a deadlock."""
        deep_interval, deep_fps = self.deep.interval, self.deep.fps(clock_mhz)
        assert deep_interval is not None and deep_fps is not None, "unbounded FIFOs cannot be full"
        return FifoRate(
            depth=depth,
            depths=dict(own),
            source=SOURCE,
            deadlock=self.given.deadlock is not None,
            interval_cycles=self.given.interval,
            fps=self.given.fps(clock_mhz),
            deep_interval_cycles=deep_interval,
            deep_fps=deep_fps,
            restoring_depths=dict(self.restoring),
        )


def timing_of(
    graph: Graph,
    images: int,
    depth: int,
    depths: Mapping[str, int] | None = None,
    control: Control | None = None,
    *,
    remedy: bool = True,
) -> Timing:
    """Timing of the hardware that `flow rtl` writes of a folded graph: its pipeline stages are in it.

    Args and errors are those of `sim.pipeline.simulate`; `control` is what a host can ask of the hardware.
    """
    return simulated(graph, images, depth, depths, latencies(graph, control), remedy=remedy)


def rate(
    graph: Graph,
    depth: int,
    own: Mapping[str, int],
    images: int = IMAGES,
    control: Control | None = None,
    *,
    remedy: bool = False,
) -> FrameRate:
    """Rate of a folded graph with FIFOs of `depth` words but for those in `own`, 0 for unbounded ones.

    `control` is what a host can ask of the hardware; `remedy` looks for depths that suffice after a deadlock.

    Raises:
        Problem: as `sim.pipeline.simulate`.
    """
    given = timing_of(graph, images, depth, own, control, remedy=remedy)
    deep = timing_of(graph, images, 0, None, control) if depth or any(own.values()) else given
    return FrameRate(given, deep, {} if _keeps(given, deep) else _restoring(graph, given, deep, images, control))


def affordable(graph: Graph, most: int = BESIDE_AN_ESTIMATE) -> bool:
    """Whether an image is at most so many words, all FIFOs together, so that simulating it takes little time."""
    return sum(fifo.words for fifo in fifos_of(graph)) <= most


def _keeps(timing: Timing, deep: Timing) -> bool:
    assert deep.interval is not None
    return timing.interval is not None and timing.interval <= deep.interval


def _restoring(graph: Graph, given: Timing, deep: Timing, images: int, control: Control | None) -> dict[str, int]:
    """Depths that restore the rate, as few and as small as a short search finds.

    All FIFOs grow alike until the rate is that of unbounded ones; what each then held at most is a depth with which not
    one word moves otherwise. One after the other, those that are deepest first, then go back as far as the rate allows.
    """
    stated = {fifo.name: fifo.depth for fifo in given.fifos}
    depth = max(2, min((d for d in stated.values() if d), default=2))
    while True:
        depth *= _STEP
        widened = {name: d and max(d, depth) for name, d in stated.items()}
        timing = timing_of(graph, images, depth, widened, control, remedy=False)
        if _keeps(timing, deep):
            break
        assert depth <= _STEP * max(fifo.written for fifo in deep.fifos), "as deep as all words, a FIFO is never full"
    found = {fifo.name: fifo.peak for fifo in timing.fifos if stated[fifo.name] and fifo.peak > stated[fifo.name]}
    tries = max(1, _WORDS_TO_SPARE // max(1, sum(fifo.written for fifo in deep.fifos)))
    for name in sorted(found, key=lambda key: -found[key]):
        # No word comes later for a place more, so what keeps the rate is found by halving.
        fails, keeps, middle = stated[name] - 1, found[name], stated[name]
        while tries and keeps - fails > 1:
            tries -= 1
            fewer = stated | found | {name: middle}
            if _keeps(timing_of(graph, images, depth, fewer, control, remedy=False), deep):
                keeps = middle
            else:
                fails = middle
            middle = (fails + keeps) // 2
        found[name] = keeps
    return {name: depth for name, depth in found.items() if depth > stated[name]}
