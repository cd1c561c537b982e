"""The work behind `flow rtl` and `flow cosim`: a graph's hardware in a folder, and proved equal to the simulator."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...build.rtl.design import MANIFEST
from ...transforms.ir.graph import Graph
from ..graphs.folding import Wanted
from ..graphs.hardware import Hardware, cosimulated, hardware_of
from ..graphs.inputs import input_held
from ..results.hardware import Cosim, HardwareUnit, Rtl
from ..run.files import whole_folder
from .graphs import Fifos, compile_and_fold
from .simulation import Images, taken

_STALLS = ((0.3, 0.3), (0.0, 0.6), (0.6, 0.0))


@dataclass(frozen=True, slots=True)
class CosimOptions:
    """How hardware is simulated.

    Attributes:
        images: of which file or data set; None: drawn ones.
        count: images.
        stalls: further runs in which both ends stall at random.
        seed: of drawn images and stalls.
        seconds: that a build or a run may take; None: as long as it takes.
        folder: where the hardware's files are left; None: nowhere.
    """

    images: Images | None = None
    count: int = 20
    stalls: int = 3
    seed: int = 0
    seconds: float | None = None
    folder: Path | None = None


def rtl(graph: Graph, wanted: Wanted, fifos: Fifos, folder: Path) -> Rtl:
    """Write a graph's hardware: compiled and folded as for `estimate`.

    Args:
        graph: of any level.
        wanted: as for `estimate`.
        fifos: depths; those that would cost rate are made deeper.
        folder: for its files.

    Raises:
        Problem: as for `estimate`; a unit that has no hardware; the folder holds something else.
    """
    made, notes = _made(graph, wanted, fifos)
    with whole_folder(folder, MANIFEST) as place:
        _write(made, place)
    return _told(made, wanted, notes, folder)


def cosim(graph: Graph, wanted: Wanted, fifos: Fifos, how: CosimOptions) -> Cosim:
    """Simulate a graph's hardware cycle by cycle and compare it with the simulators.

    Args:
        graph, wanted, fifos: as for `rtl`.
        how: images and stalls.

    Raises:
        Problem: as for `rtl`; status 3 where a tool is missing.
    """
    from ...build.cosim.verilator import Stalls
    from ..run.tools import simulation_tools

    tools = simulation_tools()
    made, _ = _made(graph, wanted, fifos)
    images = _images(made.graph, how)
    stalls = [Stalls(how.seed + 1 + place, *_STALLS[place % len(_STALLS)]) for place in range(how.stalls)]
    if how.folder is not None:
        with whole_folder(how.folder, MANIFEST) as place:
            _write(made, place)
        return cosimulated(made, images, stalls, how.folder, tools, how.seconds)
    with tempfile.TemporaryDirectory() as name:
        _write(made, Path(name))
        return cosimulated(made, images, stalls, Path(name), tools, how.seconds)


def _made(graph: Graph, wanted: Wanted, fifos: Fifos) -> tuple[Hardware, Sequence[str]]:
    folded = compile_and_fold(graph, wanted)
    own = fifos.own(folded, wanted.finn_plus)
    return hardware_of(folded.graph, fifos.depth, own, wanted.clock_mhz), folded.notes


def _write(made: Hardware, folder: Path) -> None:
    for path, text in made.design.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _images(graph: Graph, how: CosimOptions) -> np.ndarray:
    """Given images, or such as the input's type allows."""
    if how.images is not None:
        return taken(graph, how.images, "flow cosim")[0]
    kind = graph.input_type
    if kind.is_float:
        what = "the host computes this network's first quantizer, so images cannot be drawn"
        raise Problem(what, "flow cosim", "give --data or --input X.npy")
    low, high = kind.range
    drawn = np.random.default_rng(how.seed).integers(0, (high - low) // kind.step + 1, (how.count, *kind.shape))
    return low + kind.step * drawn


def _told(made: Hardware, wanted: Wanted, notes: Sequence[str], folder: Path | None) -> Rtl:
    interval, latency, fps = made.timing.interval, made.timing.latency, made.timing.fps(wanted.clock_mhz)
    assert interval is not None and latency is not None and fps is not None, "FIFOs are deep enough"
    return Rtl(
        name=made.graph.name,
        input=input_held(made.graph),
        folder=None if folder is None else str(folder),
        top=made.design.name,
        sha256=made.design.digest,
        clock_mhz=wanted.clock_mhz,
        interval_cycles=interval,
        latency_cycles=latency,
        fps=fps,
        fifo_depths=dict(made.depths),
        units=[
            HardwareUnit(
                name=name,
                module=each.name,
                latency=each.latency,
                memory_bits=sum(memory.bits for memory in each.memories.values()),
            )
            for name, each in made.design.modules.items()
        ],
        files=len(made.design.files),
        notes=list(notes),
    )
