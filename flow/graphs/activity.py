"""How often bits of hardware change on images, by Verilator."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...build.cosim.activity import KINDS, bits_changed
from ...build.energy import energy
from ..results.activity import Activity, UnitActivity
from .hardware import Hardware

if TYPE_CHECKING:
    from ...build.cosim.verilator import Tools
    from ...transforms.ir.tensor import Array


def activity_of(
    made: Hardware, images: Array, tools: Tools, *, drawn: bool = False, seconds: float | None = None, saif: str = ""
) -> Activity:
    """Simulate hardware as it is built from LUTs, and count bits that change, by unit and image.

    What changes with the first image alone is taken from what changes with all of them: registers are random before.

    Args:
        made: hardware.
        images: two or more, as the graph takes them.
        tools: Verilator and compiler.
        drawn: whether they are random.
        seconds: that a build or a run may take; None: as long as it takes.
        saif: file to write, of all images; empty: none.

    Raises:
        Problem: a tool fails; status 1: it takes too long.
    """
    from ...build.cosim.verilator import build, version

    values = np.moveaxis(images, 1, -1) if made.graph.channels_first else images
    limit = 100_000 + 4 * max(made.timing.finished)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made.design.write(folder)
        program = build(made.design, folder, tools, seconds, structural=True, waveform=".saif")
        counts = []
        for some in (values, values[:1]):
            file = folder / "activity.saif"
            program.waveform(some, file, range(2**62), limit=limit, seconds=seconds)
            text = file.read_text("utf-8")
            counts.append(bits_changed(text, made.design))
            if saif and len(some) == len(values):
                Path(saif).write_text(text, encoding="utf-8")
    everything, first = counts
    counted = {unit.name: unit.total / 1000 for unit in energy(made.graph)}
    units = [_unit(name, everything[name], first[name], len(values) - 1, counted.get(name)) for name in everything]
    assert made.timing.interval is not None, "FIFOs are deep enough"
    return Activity(
        name=made.graph.name,
        sha256=made.design.digest,
        tool=version(tools),
        images=len(values) - 1,
        drawn=drawn,
        interval_cycles=made.timing.interval,
        units=units,
        changes=sum(unit.total for unit in units),
        counted_nj=sum(counted.values()),
        saif=saif,
    )


def _unit(
    name: str, everything: Counter[str], first: Counter[str], images: int, counted_nj: float | None
) -> UnitActivity:
    logic, memory, streams = ((everything[kind] - first[kind]) / images for kind in KINDS)
    return UnitActivity(name=name, logic=logic, memory=memory, streams=streams, counted_nj=counted_nj)
