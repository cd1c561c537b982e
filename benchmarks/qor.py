"""What the hardware library takes of an FPGA: a fixed set of designs, mapped by yosys, held against the stored table.

    make qor                                          # or: PYTHONPATH=. python benchmarks/qor.py [WORD ...]

Words choose designs whose names hold one of them. Prints what has changed and, if all were run, writes
benchmarks/qor.csv anew. Exit status 1 if any count is 3 % above the stored one, or a clock 10 % below: look at it
before it is committed. Counts are yosys' cells before placing. Clocks are nextpnr's, of the designs on ECP5: the mean
of three seeds, which itself moves by some percent when a netlist changes in nothing but its names, hence the wider
bound. CNV takes minutes to map and half an hour to place; what was done before is taken from the cache.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from statistics import fmean

import numpy as np
from rtl import folded
from tests.hardware_graphs import GRAPHS

from bnnflow.build.parts import part
from bnnflow.build.route.harness import harnessed
from bnnflow.build.route.nextpnr import Nextpnr
from bnnflow.build.rtl.design import GENERIC, design
from bnnflow.build.synth.families import FAMILIES, RESOURCES
from bnnflow.build.synth.units import unit_sources, whole
from bnnflow.build.synth.yosys import Sources, Yosys, synthesized
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import hardware_of
from bnnflow.flow.graphs.routing import RouteOptions, program_of, routed_modules
from bnnflow.flow.run.tools import routing_tool, synthesis_tool
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import TensorType

TABLE = Path(__file__).parent / "qor.csv"
COLUMNS = ("design", "family", "primitives", "synapses", "cycles", *RESOURCES, "fmax_mhz", "tool", "placer")
WORSE, SLOWER = 0.03, 0.1
PLACED = RouteOptions(part("lfe5u-85f"), seeds=3)
# Rows, columns, PE, SIMD: CNV's conv3, and a layer of 256 x 256 with 512 and with 2,048 synapses a cycle.
MVAUS = ((128, 1152, 16, 32), (256, 256, 16, 32), (256, 256, 32, 64))
NETWORKS = (("tfc-mnist", 64), ("cnv-cifar10-gpu", 32_768))
# Rows, columns, PE and SIMD of BNN-PYNQ's lfcW1A1; at 16 cycles SFC has the rate of FINN's SFC-max.
LFC = ((1024, 832, 32, 64), (1024, 1024, 64, 32), (1024, 1024, 32, 64), (64, 1024, 16, 8))
SFC_CYCLES = 16
_JOINED = ".clk(clk), .x(x), .w(w)"
_POPCOUNT = f"""module unit (input logic clk, input logic [{{n}}-1:0] x, w, output logic [7:0] count);
  bnnflow_popcount #(.N({{n}})) u ({_JOINED}, .count(count));
endmodule
"""
_ROW = f"""module unit (
  input logic clk, input logic [{{n}}-1:0] x, w, input logic is_sum, is_first, input logic [10:0] bound,
  output logic [11:0] total, output logic reached
);
  bnnflow_row #(.SIMD({{n}}), .SBITS(12), .BOUND(1'b1), .BBITS(11)) u (
    {_JOINED}, .is_sum(is_sum), .is_first(is_first), .bound(bound), .total(total), .reached(reached)
  );
endmodule
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A design.

    Attributes:
        name: in the table.
        family, primitives: that it is mapped to, and of.
        synapses: a cycle; 0 of what is no single unit.
        sources: of it.
        cycles: an image, simulated; 0 of what is no network.
    """

    name: str
    family: str
    primitives: str
    synapses: int
    sources: Sources
    cycles: int = 0


def subjects(words: Sequence[str]) -> Iterator[Subject]:
    """All, or those whose names hold one of the words."""

    def wanted(name: str) -> bool:
        return not words or any(word in name for word in words)

    for primitives in (GENERIC, "xc7"):
        for what, text in (("popcount", _POPCOUNT), ("row", _ROW)):
            for bits in (16, 32, 64, 128):
                if wanted(name := f"{what} of {bits}"):
                    sources = Sources("unit", _library(primitives) | {"unit.sv": text.format(n=bits)})
                    yield Subject(name, "xc7", primitives, bits, sources)
        for shape in MVAUS:
            if wanted(name := "mvau " + "x".join(map(str, shape))):
                made = design(_layer(*shape), 2, {}, 100.0, primitives=primitives)
                yield Subject(name, "xc7", primitives, shape[2] * shape[3], dict(unit_sources(made))["layer"])
    for name, graph in GRAPHS.items():
        for family in ("xc7", "ecp5"):
            if wanted(name):
                yield _network(name, family, graph())
    for name, cycles in NETWORKS:
        for primitives in (GENERIC, "xc7"):
            if wanted(name):
                yield _network(name, "xc7", folded(name, cycles), primitives)
        if wanted(name):
            yield _network(name, "ecp5", folded(name, cycles))
    for name, build in (("lfc of BNN-PYNQ", _lfc), ("sfc-mnist at 16", lambda: folded("sfc-mnist", SFC_CYCLES))):
        if wanted(name):
            yield _network(name, "xc7", build())


def _network(name: str, family: str, graph: Graph, primitives: str = GENERIC) -> Subject:
    made = hardware_of(graph, 2, {}, 100.0, HardwareChoices(primitives=primitives))
    return Subject(name, family, primitives, 0, whole(made.design), made.timing.interval or 0)


def _library(primitives: str) -> dict[str, str]:
    library = files("bnnflow.build.rtl") / "library"
    folders = (library,) if primitives == GENERIC else (library, library / primitives)
    return {
        f"library/{path.name}": path.read_text("utf-8")
        for folder in folders
        for path in folder.iterdir()
        if path.name.endswith(".sv")
    }


def _layer(rows: int, columns: int, pe: int, simd: int) -> Graph:
    """A layer of bits with drawn weights, in block RAM, and bounds."""
    rng = np.random.default_rng(0)
    weight, bounds = rng.integers(0, 2, (rows, columns), np.uint8), rng.integers(0, columns + 1, (rows, 1))
    op = Mvau(weight, bounds, True, 0, pe, simd, ram_style="block", ram_style_thresholds="distributed")
    return Graph("layer", "x", TensorType((columns,), 0, 1), (Node("layer", op, ("x",)),), "layer")


def _lfc() -> Graph:
    """BNN-PYNQ's LFC with drawn weights and bounds, behind the binarized image; its last sums leave."""
    rng, nodes, read = np.random.default_rng(0), list[Node](), "x"
    for number, (rows, columns, pe, simd) in enumerate(LFC):
        weight = rng.integers(0, 2, (rows, columns), np.uint8)
        bounds = rng.integers(columns // 2 - 30, columns // 2 + 31, (rows, 1))
        op = Mvau(weight, bounds, True, 0, pe, simd)
        if number == len(LFC) - 1:
            op = replace(op, weight=2 * weight.astype(np.int8) - 1, bounds=np.zeros((0, 0), np.int64), xnor=False)
        nodes.append(Node(f"dense{number}", op, (read,)))
        read = nodes[-1].name
    return Graph("lfc", "x", TensorType((LFC[0][1],), 0, 1), tuple(nodes), read)


def clock(subject: Subject, tools: tuple[Yosys, Nextpnr]) -> dict[str, str]:
    """The clock of what is of the placer's family, with the placer; nothing of others."""
    if subject.family != PLACED.part.family:
        return {}
    (runs,) = routed_modules({"": harnessed(subject.sources)}, PLACED, tools, lambda done, total: None).values()
    return {"fmax_mhz": f"{fmean(one.fmax_mhz for one in runs.values()):.1f}", "placer": tools[1].version}


def measured(subject: Subject, yosys: Yosys) -> dict[str, str]:
    """A row of the table, without its clock."""
    family = FAMILIES[subject.family]
    taken = family.resources(synthesized(subject.sources, family, yosys).cells)
    facts = {"design": subject.name, "family": subject.family, "primitives": subject.primitives}
    counts = {key: str(taken[key]) for key in RESOURCES}
    given = {"synapses": str(subject.synapses or ""), "cycles": str(subject.cycles or "")}
    return {**facts, **given, **counts, "tool": yosys.version}


def stored() -> dict[tuple[str, str, str], Mapping[str, str]]:
    """The table in the repository."""
    if not TABLE.is_file():
        return {}
    with TABLE.open(newline="") as file:
        return {(row["design"], row["family"], row["primitives"]): row for row in csv.DictReader(file)}


def main(words: Sequence[str] = ()) -> int:
    """Measure and compare; the exit status."""
    yosys, nextpnr, before, rows, worse = synthesis_tool(), routing_tool(program_of(PLACED.part)), stored(), [], 0
    for subject in subjects(words):
        row = measured(subject, yosys) | clock(subject, (yosys, nextpnr))
        rows.append(row)
        old = before.get((subject.name, subject.family, subject.primitives), {})
        told = []
        for key in ("cycles", *RESOURCES):
            now = int(row[key] or 0)
            then = int(old.get(key) or now)
            if now != then:
                told.append(f"{key} {then:,} to {now:,}")
            worse += now > then * (1 + WORSE)
        if (mhz := row.get("fmax_mhz")) and (was := old.get("fmax_mhz")) and mhz != was:
            told.append(f"{was} to {mhz} MHz")
            worse += float(mhz) < float(was) * (1 - SLOWER)
        per = f"{int(row['lut']) / subject.synapses:.2f} a synapse" if subject.synapses else ""
        facts = f"{subject.name:<24} {subject.family:<5} {subject.primitives:<8}"
        print(f"{facts} {row['lut']:>7} LUT {mhz or '':>6}  {per}  {'; '.join(told)}", flush=True)
    if not words:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
