"""Synthesis of units: what is handed to yosys, what is counted, what is kept, and what fails."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem
from bnnflow.build.parts import known_parts, part
from bnnflow.build.rtl.design import design
from bnnflow.build.synth.families import FAMILIES, RESOURCES, family, family_of
from bnnflow.build.synth.units import unit_sources, whole
from bnnflow.build.synth.yosys import Sources, Yosys, synthesized
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import hardware_of
from bnnflow.flow.graphs.synthesis import SynthOptions, mapped
from bnnflow.flow.run.tools import yosys_command
from bnnflow.transforms.ir.graph import Graph

from ...hardware_graphs import GRAPHS

SMALL = Sources("unit", {"unit.sv": "module unit (input logic a, output logic b);\n  assign b = ~a;\nendmodule\n"})
# In place of yosys: says what it was asked, and leaves a netlist.
SAYS = """import json, sys
open("asked.txt", "w").write(sys.argv[1])
print("a last line")
cells = {"LUT6": 3, "$paramod\\\\bnnflow_leaf": 2, "RAM64M": 2, "RAMB36E1": 1, "RAMB18E1": 1, "FDRE": 4, "BUFG": 1}
open("stat.json", "w").write("\\n" + json.dumps({"design": {"num_cells_by_type": cells}}))
"""


def stand_in(folder: Path, text: str = SAYS) -> Yosys:
    return Yosys((sys.executable, "-c", text), "yosys of tests", folder / "cache")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Yosys:
    found = yosys_command()
    if found is None:
        pytest.skip("yosys is not installed")
    return Yosys(*found, tmp_path_factory.mktemp("synth"))


def renamed(graph: Graph) -> Graph:
    """The same network, every name another."""
    names = {node.name: f"layer{place}of" for place, node in enumerate(graph.nodes)} | {graph.input: graph.input}
    nodes = tuple(
        replace(node, name=names[node.name], inputs=tuple(names[each] for each in node.inputs)) for node in graph.nodes
    )
    return replace(graph, nodes=nodes, name="another", output=names[graph.output])


@pytest.mark.parametrize("name", GRAPHS)
def test_a_unit_is_the_same_in_any_network(name: str) -> None:
    """Names play no part in what is synthesized, so that equal units are one."""
    graph = GRAPHS[name]()
    one, two = (list(unit_sources(design(each, 2, {}, 100.0))) for each in (graph, renamed(graph)))
    assert [sources for _, sources in one] == [sources for _, sources in two]
    for unit, sources in one:
        assert not re.search(rf"\b(u_|s_)?{unit}_", sources.files["unit.sv"])
        named = set(re.findall(r'"(\w+\.hex)"', sources.files["unit.sv"]))
        assert named == {path for path in sources.files if path.endswith(".hex")}


def test_numbers_of_memories_play_no_part() -> None:
    """The unit behind other memories of a host is the same by itself."""
    graph = GRAPHS["ternary"]()
    made = hardware_of(graph, 2, {}, 100.0, HardwareChoices(protect="tmr"))
    assert [each.unit for each in made.design.host_memories].count("t3") == 2
    text = dict(unit_sources(made.design))["t3"].files["unit.sv"]
    assert "host_writes[0]" in text and "host_writes[1]" in text and "input logic [1:0] host_writes" in text
    assert "output logic [1:0] host_mended" in text


def test_other_contents_are_other_units() -> None:
    graph = GRAPHS["ternary"]()
    one = dict(unit_sources(design(graph, 2, {}, 100.0)))
    assert one["t1"] != one["t3"]
    deeper = dict(unit_sources(design(graph, 3, {}, 100.0)))
    assert all(deeper[name] != sources for name, sources in one.items())


def test_units_are_read_by_yosys(real: Yosys) -> None:
    """Registers, and a unit with memories in a code: mapped, and once."""
    made = hardware_of(GRAPHS["ternary"](), 2, {}, 100.0, HardwareChoices(protect="parity")).design
    kind = FAMILIES["ice40"]
    units = [unit for unit in unit_sources(made) if unit[0] != "t3"]
    assert {"(input)", "(registers)", "t0", "t1"} <= {name for name, _ in units}
    for name, sources in [unit for unit in units if unit[0] in ("t0", "(registers)")]:
        found = synthesized(sources, kind, real)
        taken = kind.resources(found.cells)
        assert taken["lut"] > 0 and taken["ff"] > 0 and not found.kept, name
        # A logic cell holds one table, in whatever module it lies.
        assert taken["lut"] >= found.cells["SB_LUT4"], name
        again = synthesized(sources, kind, real)
        assert again.kept and again.cells == found.cells


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xc7", "ecp5", "ice40"])
def test_units_add_up_to_the_whole(name: str, real: Yosys) -> None:
    """LUTs within 3 %, where mapping seeks the same for a unit and for all of it.

    abc9 takes area back off the slowest path alone: of ECP5, whose larger functions are chosen for speed, a unit's
    own slowest paths are mapped for speed that are none in one netlist. A delay that is enough (ps) makes both alike.
    """
    kind, made = FAMILIES[name], design(GRAPHS["convolutions"](), 2, {}, 100.0)
    if name == "ecp5":
        kind = replace(kind, command=f"scratchpad -set abc9.D 4000; {kind.command}")
    counts = [kind.resources(synthesized(sources, kind, real).cells) for _, sources in unit_sources(made)]
    total = {key: sum(count[key] for count in counts) for key in RESOURCES}
    all_of_it = kind.resources(synthesized(whole(made), kind, real).cells)
    assert total["block_ram"] == all_of_it["block_ram"] and total["lut_ram"] == all_of_it["lut_ram"]
    for key in ("lut", "ff"):
        assert abs(total[key] - all_of_it[key]) <= 0.03 * all_of_it[key]


def test_what_is_asked_and_counted(tmp_path: Path) -> None:
    yosys = stand_in(tmp_path)
    kind = family("xc7")
    found = synthesized(SMALL, kind, yosys)
    assert found.cells == {"LUT6": 3, "RAM64M": 2, "RAMB36E1": 1, "RAMB18E1": 1, "FDRE": 4, "BUFG": 1}
    assert kind.resources(found.cells) == {"lut": 3, "lut_ram": 8, "ff": 4, "carry": 0, "block_ram": 3, "dsp": 0}
    assert synthesized(SMALL, kind, yosys).kept
    # Another version, another family, another text: done anew.
    assert not synthesized(SMALL, kind, replace(yosys, version="another")).kept
    assert not synthesized(SMALL, family("ecp5"), yosys).kept
    changed = replace(SMALL, files={"unit.sv": SMALL.files["unit.sv"].replace("~a", "a")})
    assert not synthesized(changed, kind, yosys).kept


def test_what_cells_of_gowin_take() -> None:
    cells = {"LUT1": 1, "LUT4": 4, "ALU": 9, "MUX2_LUT5": 3, "MUX2_LUT8": 1, "RAM16SDP4": 2, "GND": 1, "VCC": 1}
    kinds = {"DFF": 1, "DFFRE": 5, "DFFNP": 2, "SDPB": 1, "SDPX9B": 1, "pROM": 1, "pROMX9": 1, "DPB": 1, "SPX9": 1}
    found = family("gowin").resources(cells | kinds | {"MULT9X9": 1, "MULT18X18": 2, "MULT36X36": 1})
    assert found == {"lut": 14, "lut_ram": 12, "ff": 8, "carry": 9, "block_ram": 6, "dsp": 7}
    with pytest.raises(Problem, match="MULTALU18X18 of gowin is not"):
        family("gowin").resources({"MULTALU18X18": 1})


@pytest.mark.parametrize(
    ("cell", "said"), [("$mem_v2", "left .mem_v2 of unit"), ("RAMB72E3", "RAMB72E3 of xc7 is not")]
)
def test_what_is_not_mapped_or_not_known_is_no_zero(cell: str, said: str, tmp_path: Path) -> None:
    kind, yosys = family("xc7"), stand_in(tmp_path, SAYS.replace("BUFG", cell))
    with pytest.raises(Problem, match=said):
        kind.resources(synthesized(SMALL, kind, yosys).cells)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"cells": 3, "seconds": 1}', '{"cells": {"LUT6": "x"}}'])
def test_a_damaged_result_is_done_anew(damage: str, tmp_path: Path) -> None:
    yosys = stand_in(tmp_path)
    synthesized(SMALL, family("xc7"), yosys)
    (file,) = yosys.cache.iterdir()
    file.write_text(damage)
    assert not synthesized(SMALL, family("xc7"), yosys).kept
    assert json.loads(file.read_text())["cells"]["LUT6"] == 3


@pytest.mark.parametrize(
    ("text", "said", "status"),
    [
        (
            "import sys; print('ERROR: no module'); sys.exit(1)",
            r"(?s)failed on unit with status 1: .*no module",
            TOOL_MISSING,
        ),
        ("import os; os.kill(os.getpid(), 9)", "failed on unit with status -9", TOOL_MISSING),
        ("import time; time.sleep(9)", "took more than 0.5 s", CHECK_FAILED),
    ],
)
def test_a_tool_that_fails(text: str, said: str, status: int, tmp_path: Path) -> None:
    yosys = stand_in(tmp_path, text)
    with pytest.raises(Problem, match=said) as raised:
        synthesized(SMALL, family("xc7"), yosys, 0.5)
    assert raised.value.status == status and raised.value.hint
    assert not yosys.cache.exists()


def test_a_tool_that_fails_names_what_people_call_the_unit(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="failed on dense1"):
        synthesized(replace(SMALL, called="dense1"), family("xc7"), stand_in(tmp_path, "import sys; sys.exit(1)"))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("module m;  // another word\n  wire a = 1;\nendmodule", True),
        ('module m; wire a = 1;\n`ifndef __ICARUS__\n  if (0) $error("no");\n`endif\nendmodule', True),
        ("module m; wire a = 1;\n`ifdef BNNFLOW_ASSERT\n  assert (a);\n`endif\nendmodule", True),
        ("module m; wire a = 0;\nendmodule", False),
        ('module m; wire a = 1; m2 #(.FILE("a//b")) u ();\nendmodule', False),
    ],
)
def test_what_makes_no_cells_is_no_other_source(text: str, same: bool) -> None:
    known = Sources("m", {"m.sv": "module m; wire a = 1;\nendmodule"})
    assert (Sources("m", {"m.sv": text}).digest == known.digest) == same


def test_strings_are_kept_whole() -> None:
    one, other = (Sources("m", {"m.sv": f'module m; r #(.FILE("a//{name}")) u ();'}) for name in "bc")
    assert one.digest != other.digest


def test_one_netlist_is_of_the_whole_network(tmp_path: Path) -> None:
    made = hardware_of(GRAPHS["winner"](), 2, {}, 100.0)
    how = SynthOptions(family("xc7"), units=("t0",), whole=True)
    with pytest.raises(Problem, match="not of some units"):
        mapped({"winner": (made, ())}, how, stand_in(tmp_path, ""), lambda done, of: None)


def test_families_of_parts() -> None:
    assert {family_of(one).name for one in known_parts() if one.family} == set(FAMILIES)
    for name, known in (
        ("xc7z020clg400-1", "xc7"),
        ("KV260", "xcup"),
        ("LFE5U-85F", "ecp5"),
        ("Fomu", "ice40"),
        ("Tang Nano 9K", "gowin"),
    ):
        assert family_of(part(name)).name == known
    with pytest.raises(Problem, match="no family that yosys maps to"):
        family_of(part("VCK190"))
    with pytest.raises(Problem, match="no FPGA family 'ice'"):
        family("ice")
