"""The ONNX that finn-base reads; `make oracles` has finn-base itself execute it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.finn_base import FINN_BASE, QONNX, for_finn_base
from bnnflow.transforms.writing.write import write
from tests.random_qonnx import random_network

Golden = Callable[[str, str], None]


def test_domains_layouts_and_constants_are_what_finn_base_knows() -> None:
    made = {stage.level: stage.graph for stage in stages(read(random_network(1, 1, 2)))}
    for level in ("integer", "xnor"):
        before = write(made[level])
        after = for_finn_base(before)
        assert {node.domain for node in after.graph.node} <= {"", FINN_BASE}
        assert {item.domain: item.version for item in after.opset_import} == {"": 13, FINN_BASE: 1}
        assert after.ir_version <= 10
        stated = {value.name for value in after.graph.value_info}
        assert all(tensor.name in stated for tensor in after.graph.initializer)
        layouts = [a.s for node in after.graph.node for a in node.attribute if a.name == "data_layout"]
        assert layouts and set(layouts) <= {b"NHWC", b"NCHW"}
        assert any(node.domain == QONNX for node in before.graph.node), "the model handed in was changed"


def test_dataflow_units_are_refused(golden: Golden) -> None:
    graph = stages(read(random_network(1, 1, 2)))[-1].graph
    with pytest.raises(Problem) as refusal:
        for_finn_base(write(graph))
    golden("problems/finn_base_units", str(refusal.value))


def test_a_later_opset_is_refused(golden: Golden) -> None:
    model = write(stages(read(random_network(1, 0, 1)))[1].graph)
    model.opset_import[0].version = 17
    assert model.opset_import[0].domain == ""
    with pytest.raises(Problem) as refusal:
        for_finn_base(model)
    golden("problems/finn_base_opset", str(refusal.value))


def test_values_are_not_touched() -> None:
    model = write(stages(read(random_network(2, 1, 1)))[1].graph)
    after = for_finn_base(model)
    assert [t.SerializeToString() for t in model.graph.initializer] == [
        t.SerializeToString() for t in after.graph.initializer
    ]
    assert np.array_equal([len(n.input) for n in model.graph.node], [len(n.input) for n in after.graph.node])
