"""The work behind `flow rtl` and `flow cosim`: a graph's hardware in a folder, and proved equal to the simulator."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...build.cost_models.bnnflow import unheeded
from ...build.rtl.design import MANIFEST
from ...transforms.ir.graph import Graph
from ..graphs.control import PLAIN, HardwareChoices, refuse_primitives
from ..graphs.cosimulation import WAVEFORMS, Checks, cosimulated
from ..graphs.folding import Wanted
from ..graphs.hardware import Hardware, drawn, hardware_of, refuse_deadlock, refuse_too_large, told
from ..results.activity import Activity
from ..results.hardware import Cosim, Rtl
from ..run.files import check_whole_folder, whole_folder
from ..run.folder import Run
from .graphs import Fifos, compile_and_fold
from .simulation import Images, taken


@dataclass(frozen=True, slots=True)
class CosimOptions:
    """How hardware is simulated.

    Attributes:
        images: of which file or data set; None: drawn ones.
        count: images.
        checks: what is run; its seed also draws images.
        folder: where the hardware's files, and the waveform of a difference, are left; None: nowhere.
        faults: fault map of the folded graph's memories, which both the hardware and the simulators have; None: none.
        command: that errors name.
    """

    images: Images | None = None
    count: int = 20
    checks: Checks = field(default_factory=Checks)
    folder: Path | None = None
    faults: Path | None = None
    command: str = "flow cosim"


def rtl(graph: Graph, wanted: Wanted, fifos: Fifos, folder: Path, asked: HardwareChoices = PLAIN) -> Rtl:
    """Write a graph's hardware: compiled and folded as for `estimate`.

    Args:
        graph: of any level.
        wanted: as for `estimate`.
        fifos: depths; those that would cost rate are made deeper.
        folder: for its files.
        asked: what a host is to ask of the hardware.

    Raises:
        Problem: as for `estimate`; a unit that has no hardware; primitives that the part does not have, or memories
            that it does not hold (status 1); the folder holds anything but hardware as it was written, or belongs to
            a run.
    """
    _check_hardware_folder(folder)
    made, notes = _fitting(graph, wanted, fifos, asked)
    with _hardware_folder(folder) as place:
        made.design.write(place)
    return told(made, wanted.clock_mhz, notes, str(folder))


def cosim(graph: Graph, wanted: Wanted, fifos: Fifos, how: CosimOptions, asked: HardwareChoices = PLAIN) -> Cosim:
    """Simulate a graph's hardware cycle by cycle and compare it with the simulators.

    Args:
        graph, wanted, fifos, asked: as for `rtl`.
        how: images and stalls.

    Raises:
        Problem: as for `rtl`; a fault map of another network or folding, or beside codes, whose words it does not
            know; status 3 where a tool is missing.
    """
    from ..run.tools import simulation_tools

    if how.faults is not None and asked.protect:
        what = "a fault map is of memories without codes"
        raise Problem(
            what, str(how.faults), "leave --protect out; `flow faults --protection` draws faults of coded ones"
        )
    tools = simulation_tools()
    if how.folder is not None:
        _check_hardware_folder(how.folder)
    made, _ = _fitting(graph, wanted, fifos, asked, how.faults)
    images = _images(made.graph, how)
    if how.folder is not None:
        with _hardware_folder(how.folder) as place:
            made.design.write(place)
        return cosimulated(made, images, replace(how.checks, waveforms=how.folder), how.folder, tools)
    with tempfile.TemporaryDirectory() as name:
        made.design.write(Path(name))
        return cosimulated(made, images, how.checks, Path(name), tools)


def activity(
    graph: Graph,
    wanted: Wanted,
    fifos: Fifos,
    how: CosimOptions,
    asked: HardwareChoices = PLAIN,
    saif: Path | None = None,
) -> Activity:
    """Count the bits of a graph's hardware that change, cycle by cycle.

    Args:
        graph, wanted, fifos, asked: as for `rtl`.
        how: images, of which the first is not counted, and seconds.
        saif: file for tools of others; None: none.

    Raises:
        Problem: as for `cosim`; there is one image alone.
    """
    from ..graphs.activity import activity_of
    from ..run.tools import simulation_tools

    tools = simulation_tools()
    made, _ = _fitting(graph, wanted, fifos, asked)
    images = _images(made.graph, how)
    if len(images) < 2:
        what = "one image is not enough: what changes with the first one is not counted"
        raise Problem(what, "images", "give two or more")
    named = "" if saif is None else str(saif)
    drawn_here = how.images is None
    return activity_of(made, images, tools, drawn=drawn_here, seconds=how.checks.seconds, saif=named)


def hardware_for(
    graph: Graph, wanted: Wanted, fifos: Fifos, asked: HardwareChoices, faults: Path | None = None
) -> tuple[Hardware, Sequence[str]]:
    """Hardware of a graph of any level, compiled and folded, and notes of both.

    Raises:
        Problem: as for `estimate`; a unit that has no hardware; FIFOs with which it would stand still (status 1); a
            fault map of another network or folding.
    """
    folded = compile_and_fold(graph, wanted)
    if faults is not None:
        from ...sim.faults import FaultMap

        hit = FaultMap.load(faults, folded.graph).ops(folded.graph)
        nodes = (replace(node, op=hit.get(node.name, node.op)) for node in folded.graph.nodes)
        folded = replace(folded, graph=folded.graph.with_nodes(tuple(nodes)))
    made = hardware_of(folded.graph, fifos.depth, fifos.own(folded, wanted.finn_plus), wanted.clock_mhz, asked)
    refuse_deadlock(made)
    left = unheeded(folded.graph)
    return made, (*folded.notes, *([f"{left}: this hardware has no such choice"] if left else []))


def _fitting(
    graph: Graph, wanted: Wanted, fifos: Fifos, asked: HardwareChoices, faults: Path | None = None
) -> tuple[Hardware, Sequence[str]]:
    refuse_primitives(asked.primitives, wanted.part)
    made, notes = hardware_for(graph, wanted, fifos, asked, faults)
    refuse_too_large(made, wanted.part)
    return made, notes


def _check_hardware_folder(folder: Path) -> None:
    """Refuse a folder for hardware before the work.

    Raises:
        Problem: it belongs to a run, or holds anything but hardware as it was written.
    """
    if (run := Run.find(folder)) is not None:
        raise Problem("this folder belongs to a run", str(folder), f"give one outside {run.folder}")
    check_whole_folder(folder, MANIFEST, WAVEFORMS)


def _hardware_folder(folder: Path) -> AbstractContextManager[Path]:
    """A new folder of hardware, which takes the place of an old one; errors are those of `_check_hardware_folder`."""
    _check_hardware_folder(folder)
    return whole_folder(folder, MANIFEST, WAVEFORMS)


def _images(graph: Graph, how: CosimOptions) -> np.ndarray:
    """Given images, or such as the input's type allows."""
    if how.images is not None:
        return taken(graph, how.images, how.command)[0]
    kind = graph.input_type
    if kind.is_float:
        what = "the host computes this network's first quantizer, so images cannot be drawn"
        raise Problem(what, how.command, "give --data or --input X.npy")
    return drawn(graph, how.count, how.checks.seed)
