"""What other widths would cost: the network of these widths, folded anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import bnnflow as bf
from bnnflow.build.calibrated.table import table
from bnnflow.build.cost import estimate
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.parts import part
from bnnflow.build.rate_folding import cheapest
from bnnflow.build.widths import with_widths
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs.hardware import drawn
from bnnflow.flow.pruning.widths import _groups as widths_groups
from bnnflow.flow.pruning.widths import widths, widths_note
from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.writing.write import write
from tests.build.test_explore import layers
from tests.hardware_graphs import GRAPHS

CHIP, MODEL, CYCLES = part("xc7z020"), Bnnflow(table("xc7")), 50
ODD = layers((61, 128), (53, 61), (10, 53))


def taken(graph: Graph) -> tuple[int, int, int]:
    """Of the cheapest folding, counted by sizes."""
    sizes = MODEL.of_sizes()
    found = cheapest(Space(graph, sizes), CYCLES, CHIP)
    assert found is not None
    cost = estimate(found.graph(graph), sizes)
    return cost.lut + cost.lut_ram, cost.bram18, found.cycles


def test_each_width_costs_what_a_network_of_that_width_does() -> None:
    found = widths(ODD, CYCLES, CHIP, MODEL)
    assert found.now is not None and not found.reason
    assert (found.now.lut, found.now.bram18, found.now.cycles) == taken(ODD)
    assert [layer.name for layer in found.layers] == ["dense1", "dense2"]
    seen = set()
    for layer in found.layers:
        for one in layer.choices:
            sizes = {"dense0": 61, "dense1": 53} | {one.layer: one.channels}
            made = layers((sizes["dense0"], 128), (sizes["dense1"], sizes["dense0"]), (10, sizes["dense1"]))
            assert (one.network.lut, one.network.bram18, one.network.cycles) == taken(made)
            assert one.now == {"dense0": 61, "dense1": 53}[one.layer]
            assert one.side == ("outputs" if one.layer == layer.name else "inputs")
            seen.add((one.layer, one.channels > one.now))
    assert {("dense0", True), ("dense0", False), ("dense1", False)} <= seen, "below and above"
    # More neurons in less hardware.
    assert any(each.channels > each.now and each.network.lut < found.now.lut for each in found.layers[0].choices)


def test_a_network_that_divides_well_has_nothing_to_say() -> None:
    graph = layers((64, 128), (16, 64))
    assert widths(graph, CYCLES, CHIP, MODEL).layers == [] and widths_note(graph, CYCLES) == ""


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("cycles", [60, 700])
def test_any_network_is_looked_at(name: str, cycles: int) -> None:
    """Branches, joins, several bits: what cannot be changed is left, or said."""
    graph = GRAPHS[name]()
    found = widths(graph, cycles, CHIP, MODEL)
    for layer in found.layers:
        assert layer.overshoot >= 2 and layer.pe * layer.simd > layer.needed
        assert all(one.network.cycles <= cycles and one.overshoot < 1.5 for one in layer.choices)
    assert bool(widths_note(graph, cycles)) <= bool(found.layers)


def test_twice_the_channels_are_each_twice_and_double_the_sums() -> None:
    """Behind windows, pools, flattening, joins and forks: who reads them reads the right ones."""
    found = {name: doubled_sums(make()) for name, make in GRAPHS.items()}
    assert sum(found.values()) > 5, found


def doubled_sums(graph: Graph) -> int:
    """How many layers were seen to read twice the channels."""
    images = drawn(graph, 3, seed=1)
    before = reference.run(graph, images)
    doubled = 0
    for group in widths_groups(graph):
        if group.reason or group.multiple > 1 or any(len(rows) != group.width for rows in group.rows.values()):
            continue
        wide = with_widths(graph, dict.fromkeys(group.producers, 2 * group.width))
        after = reference.run(wide, images)
        for each in group.producers:
            assert np.array_equal(after[each], np.concatenate([before[each]] * 2, axis=-1))
        for each in group.readers:
            if (group.columns[each] < 0).any() or each in group.rows:
                continue
            sums = []
            for one, tensors in ((graph, before), (wide, after)):
                node = one.node(each)
                assert isinstance(node.op, Mvau)
                bare = replace(node.op, bounds=np.zeros((0, 0), np.int64))
                sums.append(reference.apply(bare, tensors[node.input]))
            assert np.array_equal(2 * sums[0], sums[1])
            doubled += 1
        assert after[wide.output].shape == before[graph.output].shape
    return doubled


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    onnx.save(write(ODD), tmp_path / "odd.onnx")
    return tmp_path / "odd.onnx"


def test_explore_costs_them_and_estimate_names_them(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explore", str(odd), "--fps", "2000000", "--widths", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["widths"]
    assert said["cycles"] == CYCLES and [layer["name"] for layer in said["layers"]] == ["dense1", "dense2"]
    assert cli.run(["explore", str(odd), "--fps", "2000000", "--widths"]) == 0
    shown = capsys.readouterr().out
    assert "widths that divide badly for 50 cycles" in shown and "61 -> 68" in shown
    found = bf.load(odd).estimate(fps=2_000_000)
    assert any(
        note.startswith("widths that divide badly") and "inputs 50 or 68 (now 61)" in note for note in found.notes
    )
    assert bf.explore(odd, fps=2_000_000).widths is None


def test_widths_need_a_rate(odd: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    assert cli.run(["explore", str(odd), "--widths"]) == 2
    golden("problems/widths_without_a_rate", capsys.readouterr().err)
