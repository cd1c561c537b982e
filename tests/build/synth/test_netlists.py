"""Netlists that yosys makes do what their modules do: both take the same drawn words and stalls in Icarus."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bnnflow.build.rtl.design import design
from bnnflow.build.synth.families import FAMILIES, Family
from bnnflow.build.synth.units import unit_sources
from bnnflow.build.synth.yosys import Sources
from bnnflow.flow.run.tools import yosys_command
from bnnflow.transforms.ir.graph import Graph

from ...hardware_graphs import GRAPHS, Chain

CYCLES = 2000
# Of yosys' share, what its families' cells compute.
CELLS = {"xc7": "xilinx/cells_sim.v", "ecp5": "ecp5/cells_sim.v", "ice40": "ice40/cells_sim.v"}
BENCH = """`timescale 1ns/1ps
module bench;
  {ports}
  integer cycle = 0, words = 0;
  {top} module_ ({module});
  netlist netlist_ ({netlist});
  always #5 clk = ~clk;
  initial begin
    rst = 1;
    repeat (10) @(posedge clk);
    #1 rst = 0;
    repeat ({cycles}) begin
      {drawn}
      #8;
      {compared}
      @(posedge clk);
      #1 cycle = cycle + 1;
    end
    $display("%0d words, equal", words);
    $finish;
  end
endmodule
"""


def kept_vectors() -> Graph:
    """A vector of so many words that it is kept in LUT RAM; weights are few: yosys has no model of ECP5's block RAM."""
    build = Chain(5, (2, 3, 100), 0, 1)
    return build.graph(build.mvau("image", 12, 3, 5, levels=3))


def cells(share: Path, family: str, folder: Path) -> list[str]:
    """What Icarus is told of a family's cells; files of ECP5 read others twice, and hold what Icarus cannot read."""
    if family != "ecp5":
        return [*(("-DNO_ICE40_DEFAULT_ASSIGNMENTS",) if family == "ice40" else ()), str(share / CELLS[family])]
    for path in [*(share / "ecp5").glob("*.vh"), share / CELLS[family]]:
        text = path.read_text()
        if path.name == "common_sim.vh":
            text = re.sub(r'`include "cells_(ff|io).vh"\n', "", text)
            text = re.sub(r"end else begin\s*\$error\([^;]*;\s*end", "end", text)
        (folder / path.name).write_text(text)
    return ["-I", str(folder), str(folder / "cells_sim.v")]


def netlist(sources: Sources, family: Family, folder: Path, yosys: tuple[str, ...]) -> list[str]:
    """Write a module, and its netlist as the module `netlist`; returns the module's files."""
    for path, text in sources.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if family.memory_luts else text.replace('.STYLE("distributed")', '.STYLE("auto")'))
    files = [path for path in sources.files if path.endswith(".sv")]
    whole = ["setattr -mod -unset keep_hierarchy *", "flatten", f"rename {sources.top} netlist"]
    script = [f"read_verilog -sv -defer {' '.join(files)}", *family.script(sources.top), *whole]
    subprocess.run(
        [*yosys, "; ".join([*script, "write_verilog -noattr netlist.v"])], cwd=folder, check=True, capture_output=True
    )
    return files


def simulated(sources: Sources, files: list[str], library: list[str], folder: Path) -> str:
    """What Icarus says of both, beside each other."""
    text = next(text for text in sources.files.values() if f"module {sources.top} (" in text)
    head = text[text.index(f"module {sources.top} (") :].split(");")[0]
    ports = re.findall(r"^\s*(input|output) logic (?:\[(\d+):0\] )?(\w+)", head, re.MULTILINE)
    entering = [(name, int(high or 0) + 1) for kind, high, name in ports if kind == "input"]
    leaving = [(name, int(high or 0) + 1) for kind, high, name in ports if kind == "output"]
    wires = [f"reg [{bits - 1}:0] {name} = 0;" for name, bits in entering]
    wires += [f"wire [{bits - 1}:0] {name}, {name}_too;" for name, bits in leaving]
    drawn = [
        f"{name} = {{{', '.join(['$random'] * -(-bits // 32))}}};"
        for name, bits in entering
        if name not in ("clk", "rst")
    ]
    # Data that are not offered may be anything.
    offered = {name: f"{name.removesuffix('_data')}_valid" if name.endswith("_data") else "1" for name, _ in leaving}
    compared = [
        f'if ({when} && {name} !== {name}_too) begin $display("{name} in cycle %0d", cycle); $finish; end'
        for name, when in offered.items()
    ]
    compared += [f"words = words + {name};" for name, _ in leaving if name.endswith("_valid")]
    alike = [f".{name}({name})" for name, _ in entering]
    bench = BENCH.format(
        ports="\n  ".join(wires),
        top=sources.top,
        module=", ".join([*alike, *(f".{name}({name})" for name, _ in leaving)]),
        netlist=", ".join([*alike, *(f".{name}({name}_too)" for name, _ in leaving)]),
        cycles=CYCLES,
        drawn="\n      ".join(drawn),
        compared="\n      ".join(compared),
    )
    (folder / "bench.sv").write_text(bench)
    command = ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", "bench.sv", "netlist.v", *files, *library]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("family", CELLS)
@pytest.mark.parametrize("name", [*GRAPHS, "kept vectors"])
def test_a_netlist_does_what_its_module_does(name: str, family: str, tmp_path: Path) -> None:
    pyosys, found = pytest.importorskip("pyosys"), yosys_command()
    if shutil.which("iverilog") is None or found is None:
        pytest.skip("Icarus or yosys is not installed")
    library = cells(Path(pyosys.__file__).parent / "share", family, tmp_path)
    graph = GRAPHS[name]() if name in GRAPHS else kept_vectors()
    for unit, sources in unit_sources(design(graph, 2, {}, 100.0)):
        folder = tmp_path / unit
        folder.mkdir()
        files = netlist(sources, FAMILIES[family], folder, found[0])
        if "MULT18X18D" in (folder / "netlist.v").read_text():
            continue  # yosys has no model of ECP5's multiplier
        said = simulated(sources, files, library, folder)
        words = re.fullmatch(r"(\d+) words, equal\s*", said)
        assert words and int(words[1]) > 0, f"{unit}: {said}"
