"""What registers, sets of weights and codes cost, as estimates count them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.build.calibrated.table import calibrated
from bnnflow.build.cost import Estimate, estimate, flip_flops, model_for, usual_model
from bnnflow.build.rtl.top_control import REGISTERS
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import controlled
from bnnflow.transforms.writing.write import write

from ...hardware_graphs import GRAPHS


def counted(name: str, asked: HardwareChoices, family: str) -> Estimate:
    graph, control, _ = controlled(GRAPHS[name](), asked)
    return estimate(graph, model_for("bnnflow", family), control=control)


@pytest.mark.parametrize("family", calibrated())
def test_what_is_asked_for_costs(family: str) -> None:
    """Registers stand beside the units; codes and sets make each unit with a memory dearer, and no other."""
    plain = {unit.name: unit for unit in counted("ternary", HardwareChoices(), family).units}
    choices = {
        "control": HardwareChoices(control=True),
        "sets": HardwareChoices(sets=2),
        "code": HardwareChoices(protect="secded-39-32"),
        "unwalked": HardwareChoices(protect="secded-39-32", scrub=False),
        "one": HardwareChoices(protect="t3.weights=tmr"),
    }
    made = {key: counted("ternary", asked, family) for key, asked in choices.items()}
    units = {key: {unit.name: unit for unit in found.units} for key, found in made.items()}
    for key, found in units.items():
        assert found.keys() == plain.keys() | {REGISTERS} and found[REGISTERS].lut > 300, key
        assert made[key].cycles == max(unit.cycles for unit in plain.values())
        dearer = {name for name in plain if found[name].lut > plain[name].lut}
        assert dearer == {"control": set(), "one": {"t3"}}.get(key, {"t1", "t3", "t4"}), key
        assert all(found[name] == plain[name] for name in plain.keys() - dearer), key
    assert flip_flops(made["unwalked"]) < flip_flops(made["code"])
    assert made["control"].lut < min(made["one"].lut, made["sets"].lut, made["code"].lut)


def test_units_that_are_written_are_our_own_hardware() -> None:
    """In files that say so as FINN does, too."""
    graph, control, _ = controlled(GRAPHS["ternary"](), HardwareChoices(sets=1))
    assert control is not None
    kind, note = usual_model(graph, "xc7")
    assert kind.name == "bnnflow" and not note
    # A host writes them, whether or not more is asked.
    assert estimate(graph, kind) == estimate(graph, kind, control=control)
    assert REGISTERS in [unit.name for unit in estimate(graph, kind).units]


def test_estimates_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same by command and in Python; FINN's models count none of it, and say so."""
    path = tmp_path / "net.onnx"
    path.write_bytes(write(GRAPHS["ternary"]()).SerializeToString())
    words = ["estimate", str(path), "--protect", "t3.weights=tmr", "--sets", "2", "--json"]
    assert cli.run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"][-1]["name"] == REGISTERS and found["layers"][-1]["op"] == "Registers"
    again = bf.load(path).estimate(protect="t3.weights=tmr", sets=2)
    assert (again.lut, again.counts["ff"]) == (found["lut"], found["ff"])
    # FIFOs are those that the hardware gets, whose units read a cycle later.
    asked: dict[str, Any] = {"fps": 1_000_000, "protect": "tmr"}
    fifos = bf.load(path).estimate(**asked).fifos
    hardware = bf.load(path).rtl(tmp_path / "hardware", **asked)
    assert fifos is not None and fifos.deep_interval_cycles == hardware.interval_cycles
    assert {name: hardware.fifo_depths[name] for name in fifos.restoring_depths} == dict(fifos.restoring_depths)
    assert cli.run([*words[:-1]]) == 0
    assert "Regis" in capsys.readouterr().out, "the column is narrow"
    by_finn = bf.load(path).estimate(cost_model="exact", control=True)
    assert REGISTERS not in [layer.name for layer in by_finn.layers]
    assert "registers, sets and codes are counted by bnnflow alone" in by_finn.notes
    with pytest.raises(Problem, match="there is no unit or memory 't9'"):
        bf.load(path).estimate(protect="t9=tmr")
