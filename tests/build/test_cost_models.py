"""Cost models as entries, and the count of bits against qonnx' own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.inference_cost import inference_cost

import bnnflow as bf
from bnnflow.build.cost import blocks_of, estimate, unit
from bnnflow.build.cost_models import COST_MODELS
from bnnflow.build.cost_models.exact import Exact
from bnnflow.build.finn_formulas import FinnCost
from bnnflow.build.parts import part
from bnnflow.flow.graphs.figures import cost_counts
from bnnflow.flow.run.typed_json import to_json
from bnnflow.transforms.ir.infer import accumulator
from bnnflow.transforms.ir.ops import Mvau, Unit
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write

from ..hardware_graphs import convolutions
from ..random_qonnx import random_network


@settings(max_examples=15)
@given(
    st.integers(0, 99),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from(["none", "before-norm", "after-sign"]),
    st.sampled_from(["bits8", "raw", "binary"]),
)
def test_bits_of_binary_networks_are_those_of_qonnx(
    seed: int, convolutions: int, hidden: int, pool: str, image: str
) -> None:
    """Of the graph on integers, whose weights and inputs have types that qonnx states."""
    made = stages(read(random_network(seed, convolutions, hidden, pool, image)), keep_shape=True)
    integer = inference_cost(ModelWrapper(write(made[0].graph)), discount_sparsity=False)["total_cost"]
    kind = COST_MODELS["bits"]()
    counted = cost_counts(made[-1].graph, estimate(made[-1].graph, kind), 100, kind)
    found = counted.counts["bit_operations"], counted.weight_bits
    assert found == (integer["total_bops"], integer["total_mem_w_bits"]) > (0, 0)


@pytest.mark.parametrize(("low", "high", "bits"), [(-1, 1, 2), (-7, 7, 4), (0, 1, 1), (-128, 127, 8)])
def test_products_of_several_bits(low: int, high: int, bits: int) -> None:
    """A 4-bit input: 9 places of 4 x 6 products of 4 * b bits, and the accumulator's bits of 4 x 3 thresholds."""
    weight = np.resize(np.arange(low, high + 1), (4, 6)).astype(np.int8)
    op, x = Mvau(weight, np.zeros((4, 3), np.int64), False, 0, 2, 3), TensorType((3, 3, 6), 0, 15)
    counts = unit("u", op, x, model=COST_MODELS["bits"]()).counts
    assert counts == {"bit_operations": 9 * 24 * 4 * op.weight_bits, "threshold_bits": 12 * accumulator(op, x).bits}
    assert op.weight_bits == bits


def test_folding_changes_no_bits() -> None:
    weight = np.ones((8, 12), np.uint8)
    costs = [
        unit("u", Mvau(weight, np.zeros((8, 1), np.int64), True, 0, pe, simd), TensorType((5, 5, 12), 0, 1),
             model=COST_MODELS["bits"]())
        for pe, simd in ((1, 1), (4, 6))
    ]  # fmt: skip
    assert costs[0].counts == costs[1].counts == {"bit_operations": 25 * 96, "threshold_bits": 8 * 4}
    assert costs[0].cycles == 24 * costs[1].cycles


def test_models_of_other_figures_leave_out_luts() -> None:
    made = stages(read(random_network(0, 1, 1)))[-1].graph
    kinds = [COST_MODELS[model]() for model in ("exact", "bits")]
    ours, bits = (to_json(cost_counts(made, estimate(made, kind), 100, kind)) for kind in kinds)
    assert "counted" not in ours and "counts" not in ours["layers"][0]
    assert {*ours} - {*bits} == {"lut", "bram18", "uram", "dsp"}
    assert {*ours["layers"][0]} - {*bits["layers"][0]} == {"lut", "bram18", "uram", "dsp"}
    assert {*bits} - {*ours} == {"bit_operations", "threshold_bits", "counted"}
    assert (ours["cycles"], ours["weight_bits"]) == (bits["cycles"], bits["weight_bits"])


def test_a_new_model_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Double(Exact):
        """Two of everything."""

        name = "double"
        source: ClassVar[str] = "counted twice"

        def cost(self, op: Unit, x: TensorType, width: object, made: TensorType | None) -> FinnCost:
            one = super().cost(op, x, width, made)  # type: ignore[arg-type]
            return FinnCost(one.cycles, 2 * one.lut, 2 * one.bram18, 2 * one.uram, 2 * one.dsp)

    monkeypatch.setitem(COST_MODELS, "double", Double)
    made = stages(read(random_network(0, 1, 1)))[-1].graph
    assert estimate(made, "double").lut == 2 * estimate(made).lut
    kind = COST_MODELS["double"]()
    found = cost_counts(made, estimate(made, kind), 100, kind)
    assert found.lut == 2 * estimate(made).lut
    assert to_json(found)["counted"] == {"figures": dict(Exact.figures), "source": "counted twice"}


def test_every_model_is_documented_in_a_line() -> None:
    assert all(says.endswith(".") for _, says in COST_MODELS.lines())


def test_small_block_rams_are_held_against_as_many_as_the_part_has(tmp_path: Path) -> None:
    up5k = part("ice40up5k")
    assert (blocks_of(up5k), blocks_of(up5k, "exact"), blocks_of(part("ULX3S"))) == (30, 6, part("ULX3S").bram18)
    onnx.save(write(convolutions()), tmp_path / "net.onnx")
    graph = bf.load(tmp_path / "net.onnx")
    ours = graph.estimate(fps=1000, part="ice40up5k", clock_mhz=12)
    finns = graph.estimate(fps=1000, part="ice40up5k", clock_mhz=12, cost_model="exact")
    assert (ours.target.bram18, finns.target.bram18) == (30, 6)
    assert any("of 4 kbit" in note for note in ours.notes) and not any("of 4 kbit" in note for note in finns.notes)
