"""Costs of narrower networks: what keeping the folding costs, and what folding anew saves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from bnnflow.build import explore
from bnnflow.build.cost import estimate
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.finn_reports import unit_names
from bnnflow.build.folding_file import apply_folding
from bnnflow.build.parts import part
from bnnflow.build.rate_folding import cheapest, fold_for_rate, rate_model
from bnnflow.build.schedule import schedule
from bnnflow.build.widths import unfriendly
from bnnflow.flow.pruning.hardware_costs import HardwareCosts
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network
from bnnflow.models.networks.zoo import zoo_spec
from bnnflow.models.prune.allocation.greedy import Objective, Space, allocate
from bnnflow.models.prune.allocation.sensitivity import SensitivityCurve
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.transforms.channels import cut
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau, SlidingWindow
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

# Of Xilinx/finn-examples for CNV with binary weights and activations.
PE = (16, 32, 16, 16, 4, 1, 1, 1, 5)
SIMD = (3, 32, 32, 32, 32, 32, 4, 8, 1)
CYCLES, MHZ, PART = 32_768, 100.0, part("xc7z020")


@pytest.fixture(scope="module")
def cnv(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    network = Network(zoo_spec("cnv", (3, 32, 32), 10, 1.0))
    reestimate(network, np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32)).astype(np.uint8))
    path = tmp_path_factory.mktemp("cnv") / "cnv.onnx"
    export_qonnx(network, path)
    return read(path)


@pytest.fixture(scope="module")
def kept(cnv: Graph) -> HardwareCosts:
    """With the folding of finn-examples, by FINN's formulas."""
    whole = stages(cnv)[-1].graph
    names, config = unit_names(whole), {}
    layers = [node for node in whole.nodes if isinstance(node.op, Mvau)]
    for node, pe, simd in zip(layers, PE, SIMD, strict=True):
        config[names[node.name]] = {"PE": pe, "SIMD": simd}
        if isinstance(whole.maker(node.input), SlidingWindow):
            config[names[node.input]] = {"SIMD": simd}
    return HardwareCosts.of(cnv, 3052, MHZ, PART, "kept", apply_folding(whole, config), by="exact")


@pytest.fixture(scope="module", params=["bnnflow", "exact"])
def refolded(cnv: Graph, request: pytest.FixtureRequest) -> HardwareCosts:
    return HardwareCosts.of(cnv, MHZ * 1e6 / CYCLES, MHZ, PART, by=request.param)


def fewer(costs: HardwareCosts, change: int) -> dict[str, int]:
    """So many channels less in every convolution."""
    return {n: g.width - change for n, g in costs.prunable.items() if n.startswith("conv")}


def halved(costs: HardwareCosts) -> dict[str, int]:
    return {n: g.width // 2 for n, g in costs.prunable.items() if n.startswith("conv")}


def test_unaligned_channels_make_a_kept_folding_slow(kept: HardwareCosts) -> None:
    """Figures of FINN's formulas that were computed apart from this code: 186,003 cycles in place of 32,768."""
    assert kept({})["cycles"] == CYCLES
    slow = kept(fewer(kept, 7))
    assert slow["weight_bits"] == 1_448_544
    assert slow["cycles"] == 186_003
    assert kept(fewer(kept, 8))["cycles"] == CYCLES


def test_a_kept_folding_saves_neither_cycles_nor_luts(kept: HardwareCosts) -> None:
    whole, half = kept({}), kept(halved(kept))
    assert half["weight_bits"] == 619_360
    assert half["cycles"] == whole["cycles"]
    assert half["lut"] > 0.95 * whole["lut"]


def test_energy_falls_with_every_channel(kept: HardwareCosts) -> None:
    whole = kept({})["energy"]
    falling = [kept(fewer(kept, 32 * step))["energy"] for step in range(2)]
    assert falling[0] == whole
    assert falling[1] < whole
    for name, unit in kept.units().items():
        assert kept({name: kept.prunable[name].width - unit})["energy"] < whole


def test_folding_anew_halves_luts_and_block_rams_at_the_same_rate(refolded: HardwareCosts) -> None:
    whole, half = refolded({}), refolded(halved(refolded))
    assert half["cycles"] <= CYCLES
    assert half["lut"] <= 0.5 * whole["lut"]
    assert half["bram18"] <= 0.5 * whole["bram18"]


def test_allocation_keeps_units_that_the_folding_divides(kept: HardwareCosts) -> None:
    """With a curve that costs nothing, the allocator may take any channels: none that slow the accelerator down."""
    units = kept.units()
    assert units == {"conv0": 32, "conv1": 32, "conv2": 32, "conv3": 32, "conv4": 32, "conv5": 4, "dense0": 8} | {
        "dense1": 1
    }
    widths = {name: group.width for name, group in kept.prunable.items()}
    curves = {name: SensitivityCurve(name, width, (0, width // 2), (0.9, 0.9)) for name, width in widths.items()}
    space = Space(widths, widths, units, dict.fromkeys(widths, 1), curves)
    chosen = allocate(space, kept, Objective({"lut": 1.0, "ops": 1.0}), 0.7)
    assert chosen != widths
    assert all(width % units[name] == 0 for name, width in chosen.items())
    assert kept(chosen)["cycles"] <= CYCLES


@pytest.mark.parametrize("change", [0, 8, 24])
def test_the_cheap_costs_are_those_of_the_whole_compilation(cnv: Graph, refolded: HardwareCosts, change: int) -> None:
    widths: Mapping[str, int] = fewer(refolded, change)
    smaller = stages(cut(cnv, {name: np.arange(width) for name, width in widths.items()}))[-1].graph
    found, model = refolded(widths), refolded.model
    if isinstance(model, Bnnflow):
        best = cheapest(explore.Space(smaller, model), CYCLES, PART)
        assert best is not None
        assert (found["cycles"], found["lut"], found["bram18"]) == (best.cycles, best.lut, best.bram18)
        # Of thresholds bits may never change, which a network's shape does not say.
        usual = fold_for_rate(smaller, refolded.fps, MHZ, PART).graph
        counted = estimate(usual, rate_model(smaller, PART)[0])
        assert (found["weight_bits"], found["cycles"]) == (counted.weight_bits, counted.cycles)
        assert found["bram18"] == counted.bram18
        share = (counted.lut + counted.lut_ram) / PART.lut + counted.bram18 / PART.bram18
        assert best.share(PART) == pytest.approx(share, rel=0.02)
        return
    cost = estimate(schedule(smaller, refolded.fps, MHZ, part("xc7z045")))
    assert (found["cycles"], found["weight_bits"]) == (cost.cycles, cost.weight_bits)
    assert (found["lut"], found["bram18"]) == (cost.lut, cost.bram18)


@pytest.mark.parametrize("name", ["xc7", pytest.param("ecp5", marks=pytest.mark.slow)])
def test_our_own_costs_follow_from_shapes_alone(cnv: Graph, name: str) -> None:
    """What was counted of one network is what is counted of a narrower one."""
    chip = {"xc7": PART, "ecp5": part("lfe5u-85f")}[name]
    costs = HardwareCosts.of(cnv, MHZ * 1e6 / CYCLES, MHZ, chip)
    for change in (0, 8, 16):
        widths = fewer(costs, change)
        alone = HardwareCosts.of(cut(cnv, {n: np.arange(width) for n, width in widths.items()}), costs.fps, MHZ, chip)
        assert costs(widths) == alone({})


def test_equal_shapes_are_costed_once(refolded: HardwareCosts, tmp_path: Path) -> None:
    first = refolded(fewer(refolded, 16))
    assert refolded(fewer(refolded, 16)) is first


def test_the_allocator_passes_over_widths_that_divide_badly(tmp_path: Path) -> None:
    """61 neurons cost more than 64 at this rate; their cost is that of the whole network, so none ends there."""
    path = tmp_path / "tfc.onnx"
    export_qonnx(Network(zoo_spec("tfc", (1, 28, 28), 10, 1.0)), path)
    costs = HardwareCosts.of(read(path), MHZ * 1e6 / 50, MHZ, PART)
    names = list(costs.prunable)
    at = {width: costs({names[1]: width})["lut"] for width in range(40, 65)}
    assert at[61] > at[64] and costs({names[1]: 61})["ops"] < costs({})["ops"], "fewer operations, more LUTs"
    curves = {names[1]: SensitivityCurve(names[1], 64, (0, 24), (0.9, 0.89))}
    whole = dict.fromkeys(names, 64)
    space = Space(whole, whole, dict.fromkeys(names, 1), dict.fromkeys(names, 1), curves)
    goal = 0.97
    kept = allocate(space, costs, Objective({"lut": 1.0}), goal)
    width = kept[names[1]]
    assert costs(kept)["lut"] <= goal * costs({})["lut"]
    bad = [name for name, one in unfriendly(costs.folded(kept), 50).items() if name.startswith("dense")]
    assert width < 64 and not bad, f"{width}: {bad}"
