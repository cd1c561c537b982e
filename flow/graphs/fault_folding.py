"""How the graph of `flow faults` is folded, and what cannot be said of one that is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau
from ..recipe.parts import part_of
from .campaign import dataflow
from .folding import Wanted, compile_and_fold

if TYPE_CHECKING:
    from ...sim.faults import Grid


@dataclass(frozen=True, slots=True)
class Folding:
    """How a graph is folded: for a rate, by FINN's file, or alike everywhere; nothing: as it is.

    Attributes:
        fps: images per second; None: not for a rate.
        file: FINN's folding file.
        pe_simd: "PE,SIMD" of every layer that weighs.
        part, clock_mhz: what a rate is met on.
    """

    fps: float | None = None
    file: Path | None = None
    pe_simd: str = ""
    part: str = "xc7z020clg400-1"
    clock_mhz: float = 100.0


def folded(graph: Graph, how: Folding, where: str) -> tuple[Graph, bool]:
    """The graph in dataflow units, folded, and whether anyone said how.

    A graph of units whose PE and SIMD are all 1 is one that no one folded.

    Raises:
        Problem: the folding does not fit the graph.
    """
    if how.fps is not None or how.file is not None:
        return compile_and_fold(graph, Wanted(part_of(how.part), how.clock_mhz, how.fps, how.file)).graph, True
    units = dataflow(graph)
    if how.pe_simd:
        return _alike(units, how.pe_simd, where), True
    return units, any(node.op.pe * node.op.simd > 1 for node in units.nodes if isinstance(node.op, Mvau))


def _alike(graph: Graph, text: str, where: str) -> Graph:
    """Every MVAU with one PE and SIMD."""
    from ...sim.faults.injection.maps import replaced

    found = re.fullmatch(r"([1-9]\d{0,5}),([1-9]\d{0,5})", text)
    if found is None:
        raise Problem(f"{text!r} is no folding", "--pe-simd", "give PE and SIMD of every layer, such as 1,1 or 2,4")
    pe, simd = int(found[1]), int(found[2])
    layers = {node.name: node.op for node in graph.nodes if isinstance(node.op, Mvau)}
    bad = [
        f"{name} ({op.weight.shape[0]} rows, {op.weight.shape[1]} columns)"
        for name, op in layers.items()
        if op.weight.shape[0] % pe or op.weight.shape[1] % simd
    ]
    if bad:
        hint = "give divisors of all rows and columns, or fold layer by layer with --folding"
        raise Problem(f"PE {pe} and SIMD {simd} do not divide {', '.join(bad[:4])}", where, hint)
    return replaced(graph, {name: replace(op, pe=pe, simd=simd) for name, op in layers.items()})


def check_folding(graph: Graph, grid: Grid) -> None:
    """Refuse what depends on how memories lie in hardware, of a graph that is not folded.

    Raises:
        Problem: a fault of more than cells, FIFOs, or a protection, which all depend on words and their number.
    """
    from ...sim.faults import FaultModel, Protections

    for point in grid.points(graph):
        shape = None if point.model == "single" else FaultModel.parse(point.model).shape
        what = ""
        if shape is not None and shape.measured:
            what = f"{shape.name} is of block RAMs, whose words PE and SIMD give a memory"
        elif shape is not None and shape.of_words:
            what = f"a {shape.name} is made of the words that PE and SIMD give a memory"
        elif Protections.parse(point.protection).coded:
            what = f"{point.protection} protects words, which PE and SIMD give a memory"
        elif point.target == "fifos":
            what = "a FIFO's words hold as many values as its unit has PEs"
        if what:
            hint = "give --fps, --folding or --pe-simd (1,1: one PE and one SIMD lane everywhere)"
            raise Problem(f"{what}, but this graph is not folded", graph.name, hint)
