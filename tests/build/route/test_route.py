"""Placing and routing: what stands around a module, what is kept, and what fails."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow import CHECK_FAILED, TOOL_MISSING, USER_INPUT, Problem
from bnnflow.build.parts import known_parts, part
from bnnflow.build.route import PROGRAMS
from bnnflow.build.route.harness import harnessed
from bnnflow.build.route.nextpnr import Netlists, Nextpnr, Target, routed
from bnnflow.build.rtl.design import design
from bnnflow.build.synth.families import FAMILIES
from bnnflow.build.synth.logic_cells import logic_cells
from bnnflow.build.synth.units import unit_sources, whole
from bnnflow.build.synth.yosys import Sources, Yosys, mapped_in
from bnnflow.flow.run.tools import nextpnr_command, yosys_command

from ...hardware_graphs import GRAPHS

COUNTER = """module counter (
    input logic clk,
    input logic [7:0] step,
    output logic [15:0] total
);
  always_ff @(posedge clk) total <= total + 16'(step);
endmodule
"""
SMALL = Sources("counter", {"counter.sv": COUNTER})
TARGET = Target(part("ice40up5k"), "", 12.0, 1)
# In place of yosys: leaves a netlist. In place of nextpnr: says what it was asked, and leaves a report.
MAPS = """import sys
open("stat.json", "w").write('{"design": {"num_cells_by_type": {"SB_LUT4": 3}}}')
open("netlist.json", "w").write("{}")
"""
HOPS = (
    ("clk-to-q", 0.5, "dut.u_conv0.sum_Q", "dut.u_conv0.sum_Q"),
    ("routing", 1.25, "dut.u_conv0.sum_Q", "x"),
    ("logic", 0.25, "x", "x"),
    ("routing", 2.0, "x", "held_TRELLIS_FF_Q"),
    ("setup", 0.125, "held_TRELLIS_FF_Q", "held_TRELLIS_FF_Q"),
)
PATH = [{"type": kind, "delay": ns, "from": {"cell": one}, "to": {"cell": other}} for kind, ns, one, other in HOPS]
REPORT = {
    "fmax": {"fast": {"achieved": 300.0}, "slow": {"achieved": 242.424242}},
    "utilization": {"ICESTORM_LC": {"available": 5280, "used": 41}, "SB_MAC16": {"available": 8, "used": 0}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge slow", "path": []},
        {"from": "posedge fast", "to": "posedge fast", "path": []},
        {"from": "posedge slow", "to": "posedge slow", "path": PATH},
    ],
}
SAYS = """import json, sys
open({told!r}, "w").write(" ".join(sys.argv[1:]))
open("report.json", "w").write({report!r})
"""


def stand_ins(folder: Path, text: str = "") -> tuple[Yosys, Nextpnr]:
    told = text or SAYS.format(told=str(folder / "told.txt"), report=json.dumps(REPORT))
    maps = Yosys((sys.executable, "-c", MAPS), "yosys of tests", folder / "none")
    return maps, Nextpnr((sys.executable, "-c", told), "nextpnr of tests", folder / "cache")


def test_what_is_reported_is_read_and_kept(tmp_path: Path) -> None:
    module, tools = harnessed(SMALL), stand_ins(tmp_path)
    found = routed(module, TARGET, tools)
    # Of several clocks the slowest counts, with the path inside it alone.
    assert found.fmax_mhz == 242.424 and not found.kept
    assert (found.used, found.available) == ({"ICESTORM_LC": 41}, {"ICESTORM_LC": 5280})
    path = found.path
    assert (path.start, path.end, path.logic_ns, path.routing_ns, path.cells) == ("conv0", "", 0.875, 3.25, 1)
    asked = (tmp_path / "told.txt").read_text()
    assert asked.startswith("--up5k --package sg48 --freq 12 --seed 1 ")
    (tmp_path / "told.txt").unlink()
    assert routed(module, TARGET, tools) == replace(found, kept=True) and not (tmp_path / "told.txt").exists()
    # What is asked otherwise is something else, and so is what was not kept whole.
    for other in (replace(TARGET, seed=2), replace(TARGET, clock_mhz=13.0), replace(TARGET, part=part("ice40hx8k"))):
        assert not routed(module, other, tools).kept
    changed = Sources("counter", {"counter.sv": COUNTER.replace("+ 16", "- 16")})
    assert not routed(harnessed(changed), TARGET, tools).kept
    assert not routed(module, TARGET, (tools[0], replace(tools[1], version="newer"))).kept
    for file in (tmp_path / "cache").iterdir():
        file.write_text("{}")
    assert not routed(module, TARGET, tools).kept


def test_seeds_share_a_netlist(tmp_path: Path) -> None:
    module, (maps, places) = harnessed(SMALL), stand_ins(tmp_path)
    count = f"open({str(tmp_path / 'mapped.txt')!r}, 'a').write('x')\nimport time; time.sleep(0.1)\n"
    counting = replace(maps, command=(sys.executable, "-c", count + MAPS))
    seeds = [replace(TARGET, seed=seed) for seed in (1, 2, 3)]
    with Netlists(counting) as netlists, ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda one: routed(module, one, (counting, places), netlists=netlists), seeds))
        assert (tmp_path / "mapped.txt").read_text() == "x"
        netlists.forget(module.sources.digest)
        routed(module, replace(TARGET, seed=4), (counting, places), netlists=netlists)
    assert (tmp_path / "mapped.txt").read_text() == "xx"
    assert not any(one.kept for one in made)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_harness_holds_every_port(name: str) -> None:
    """Of every unit and the whole of every kind of hardware, as far as its ports say so themselves."""
    made = design(GRAPHS[name](), 2, {}, 100.0)
    for sources in (whole(made), *(each for _, each in unit_sources(made))):
        found = harnessed(sources)
        text = found.sources.files[f"{found.sources.top}.sv"]
        said = next(text for text in sources.files.values() if f"module {sources.top} (" in text)
        ports = re.findall(r"(?:in|out)put logic(?: \[(\d+):0\])? (\w+)", said[: said.index(");")])
        inside = dict(re.findall(r"\.(\w+)\((clk|held\[\d+:\d+\]|made\[\d+:\d+\])\)", text))
        assert list(inside) == [next(p for _, p in ports if "clk" in p), *(k for k in inside if "clk" not in k)]
        assert sorted(inside) == sorted(port for _, port in ports)
        assert found.ff == sum(int(high or 0) + 1 for high, port in ports if "clk" not in port)
        slices = [tuple(map(int, re.findall(r"\d+", each))) for each in inside.values() if "made" in each]
        assert found.lut == sum(high - low + 1 for high, low in slices) == max(high for high, _ in slices) + 1


def test_what_cannot_be_placed_by_itself_is_refused() -> None:
    for text in (COUNTER.replace("input logic clk,", ""), COUNTER.replace("output logic [15:0] total", "")):
        with pytest.raises(Problem, match="cannot be placed by itself"):
            harnessed(Sources("counter", {"counter.sv": text}))


FULL = """import sys
open("nextpnr.log", "w").write("Info: \\t  ICESTORM_LC:  7000/   5280   132%\\nInfo: \\t SB_IO:  4/  39  10%\\n")
sys.exit(1)
"""
FAILURES = (
    (FULL, "does not fit ice40up5k: it needs 7,000 ICESTORM_LC of 5,280", CHECK_FAILED),
    ("print('ERROR: Unable to find a placement location for cell x')\nimport sys\nsys.exit(255)", "fit", CHECK_FAILED),
    (
        "print('ERROR: odd netlist\\nthe end')\nimport sys\nsys.exit(3)",
        "3: ERROR: odd netlist\\n  at:",
        TOOL_MISSING,
    ),
    ("import os\nos.kill(os.getpid(), 9)", "status -9", TOOL_MISSING),
    ("import time\ntime.sleep(60)", "took more than 1 s", CHECK_FAILED),
    ('open("report.json", "w").write(\'{"fmax": {}, "critical_paths": []}\')', "no path of it has a clock", USER_INPUT),
)


@pytest.mark.parametrize(("program", "said", "status"), FAILURES)
def test_what_fails_is_said(program: str, said: str, status: int, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=said) as found:
        routed(harnessed(SMALL), TARGET, stand_ins(tmp_path, program), 1.0)
    assert found.value.status == status and not (tmp_path / "cache").exists()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    tools = stand_ins(tmp_path)
    with pytest.raises(Problem, match="cannot be started"):
        routed(harnessed(SMALL), TARGET, (tools[0], replace(tools[1], command=(str(tmp_path / "none"),))))


def test_parts_that_are_placed_are_of_families_that_are_mapped() -> None:
    for one in known_parts():
        assert bool(one.nextpnr) == (one.family in PROGRAMS) and (not one.nextpnr or one.family in FAMILIES)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Yosys, Nextpnr]:
    yosys, nextpnr = yosys_command(), nextpnr_command("nextpnr-ice40")
    if yosys is None or nextpnr is None:
        pytest.skip("yosys or nextpnr is not installed")
    folder = tmp_path_factory.mktemp("route")
    return Yosys(*yosys, folder), Nextpnr(*nextpnr, folder)


def test_a_module_is_placed_and_routed(real: tuple[Yosys, Nextpnr], tmp_path: Path) -> None:
    """What yosys makes lies on the part, all of it; the slowest path is inside the period that is found."""
    module = harnessed(SMALL)
    cells = mapped_in(tmp_path, module.sources, FAMILIES["ice40"], real[0], netlist="netlist.json")
    packed = logic_cells(json.loads((tmp_path / "netlist.json").read_text()), module.sources.top)
    found = routed(module, TARGET, real)
    assert sum(n for cell, n in cells.items() if cell.startswith("SB_DFF")) == module.ff + 16
    # The placer adds a cell where a chain of carries is entered or left.
    assert packed <= found.used["ICESTORM_LC"] <= packed + 4
    assert found.used["SB_IO"] == 4
    path = found.path
    assert path.start == path.end == "" and path.cells > 0
    assert path.logic_ns + path.routing_ns == pytest.approx(1000 / found.fmax_mhz, rel=0.01)
    assert routed(module, TARGET, real).kept


def test_what_does_not_fit_is_refused_by_the_real_program(real: tuple[Yosys, Nextpnr]) -> None:
    wide = COUNTER.replace("[15:0] total", "[799:0] total").replace("16'(step)", "800'(step)")
    with pytest.raises(Problem, match=r"does not fit ice40hx1k: it needs [\d,]+ ICESTORM_LC of 1,280") as found:
        routed(harnessed(Sources("counter", {"counter.sv": wide})), replace(TARGET, part=part("ice40hx1k")), real)
    assert found.value.status == CHECK_FAILED
