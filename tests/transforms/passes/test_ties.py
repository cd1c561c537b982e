"""Classes are those of exact arithmetic where many scores tie, at every level and in the order of the device's sums."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import Level, class_sums, verify, verify_scores
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import AddBorder, Affine, AnyOp, Best, Dense, LabelSelect, Sign
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.passes.ranked import ranked
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.transforms.onnx_files import Net

SCALES = [0.1, 0.37, 1.0, 1.5, 3.0]
SHIFTS = [0.0, 0.3, -1.25, 7.1]


def network(seed: int, scale: float, shift: float, inner: float, dead: bool, best: bool) -> Graph:
    """Nine pixels, twelve signs plus `inner` and six classes with weights of -1, 0 and +1."""
    rng = np.random.default_rng(seed)
    hidden = rng.choice([-1, 1], (12, 9)).astype(np.int8)
    last = rng.choice([-1, 0, 1], (6, 12)).astype(np.int8)
    gain = np.where(rng.random(12) < 0.3, 0.0, 1.0) if dead else np.ones(12)

    def affine(gain: np.ndarray | float, bias: np.ndarray | float) -> Affine:
        return Affine(*(np.atleast_1d(np.float32(value)).astype(np.float64) for value in (gain, bias)))

    ops: list[AnyOp] = [
        affine(1.0, -127.5),
        Sign(),
        Dense(hidden),
        affine(gain, rng.choice([-0.5, 0.5], 12)),
        Sign(),
        affine(1.0, inner),
        Dense(last),
        affine(scale, shift),
        *([Best()] if best else []),
    ]
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = tuple(Node(name, op, (source,)) for source, name, op in zip(names[:-1], names[1:], ops, strict=True))
    return Graph("ties", "x", TensorType((9,), 0, 255), nodes, names[-1])


def exact_classes(graph: Graph, images: np.ndarray) -> np.ndarray:
    """The first of the greatest scores, in rationals from the last signs on."""
    signs = reference.run(graph, images)["t4"]
    weight = graph.node("t6").op
    inner, outer = graph.node("t5").op, graph.node("t7").op
    assert isinstance(weight, Dense) and isinstance(inner, Affine) and isinstance(outer, Affine)
    rows = weight.weight.astype(object)
    values = signs.astype(object) + Fraction(float(inner.shift[0]))
    return np.array([np.argmax(rows @ row) for row in values])


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    st.integers(0, 10**6),
    st.sampled_from(SCALES),
    st.sampled_from(SHIFTS),
    st.sampled_from([0.0, 0.0, 0.5, 1.0, -0.25]),
    st.booleans(),
    st.booleans(),
)
def test_classes_are_those_of_exact_arithmetic(
    seed: int, scale: float, shift: float, inner: float, dead: bool, best: bool
) -> None:
    graph = network(seed, scale, shift, inner, dead, best)
    images = np.random.default_rng(seed).integers(0, 256, (200, 9)).astype(np.uint8)
    wanted = exact_classes(graph, images)
    made = stages(graph)
    levels = [Level("network", graph)]
    for stage in made[1:]:
        again = read(onnx.ModelProto.FromString(write(stage.graph).SerializeToString()))
        levels.append(Level(stage.level, again, stage.equivalences, stage.float_ties))
        for level in (stage.graph, again):
            np.testing.assert_array_equal(Simulator.of(level).classes(images), wanted, err_msg=stage.level)
    last = made[-1].graph
    device, _, _ = class_sums(last)
    values = reference.run(last, images)[device]
    if best:
        assert isinstance(last.maker(last.output), LabelSelect)
        assert np.array_equal(values[:, 0], wanted)
    else:
        assert not last.types[device].is_float
        np.testing.assert_array_equal(values.argmax(axis=1), wanted, err_msg="the device's sums")
    assert len(verify(levels, images)) == 3


def test_the_drawn_networks_tie() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 9)).astype(np.uint8)
    sums = reference.run(network(0, 1.0, 0.0, 0.0, dead=False, best=False), images)["t6"]
    assert np.mean((sums == sums.max(axis=1, keepdims=True)).sum(axis=1) > 1) > 0.2


def test_verification_compares_classes() -> None:
    """A last shift that turns ties around moves no score by more than rounding."""
    graph = stages(network(1, 0.1, 0.3, 0.0, dead=False, best=False))[-1].graph
    images = np.random.default_rng(0).integers(0, 256, (200, 9)).astype(np.uint8)
    scores = Simulator.of(graph).scores(images)
    assert verify_scores("other", graph, images, scores).differences == 0
    tilted = scores + np.arange(6) * 1e-9
    ties = int(np.count_nonzero(tilted.argmax(axis=1) != scores.argmax(axis=1)))
    assert ties > 10
    assert verify_scores("other", graph, images, tilted).ties == ties

    end = graph.node(graph.output)
    assert isinstance(end.op, Affine)
    turned = replace(end, op=replace(end.op, shift=end.op.shift + np.arange(6) * 1e-9))
    broken = graph.with_nodes((*graph.nodes[:-1], turned))
    with pytest.raises(Problem, match="verification failed") as caught:
        verify([Level("dataflow", graph), Level("broken", broken)], images)
    assert "class" in caught.value.where


def test_networks_of_one_bit_need_no_unit_more() -> None:
    """All rows have the same offset there."""
    graph = network(2, 0.1, 0.3, 0.0, dead=False, best=False)
    binary = np.random.default_rng(0).choice([-1, 1], (6, 12)).astype(np.int8)
    nodes = tuple(replace(node, op=Dense(binary)) if node.name == "t6" else node for node in graph.nodes)
    made = stages(graph.with_nodes(nodes))[-1].graph
    assert not any(isinstance(node.op, AddBorder) for node in made.nodes)
    assert sum(isinstance(node.op, Affine) for node in made.nodes) == 1


@pytest.mark.parametrize("how", ["Mul", "Div", "BatchNormalization"])
def test_equal_numbers_a_class_are_one_for_all(how: str) -> None:
    """So that the best class is chosen in hardware, whose sums say it."""
    net = Net((6,), "INT4")
    net.quant(2, 1.0)
    net.dense(4, 6)
    net.quant(2, 1.0)
    net.dense(3, 4)
    same = [np.full(3, value) for value in ((0.3, 0.5, -1.0, 4.0) if how == "BatchNormalization" else (0.3,))]
    net.add(how, *map(net.c, same))
    made = ranked(stages(read(net.model()))[-1].graph, 1)
    assert isinstance(made.node(made.output).op, LabelSelect)
    assert not any(isinstance(node.op, Affine) for node in made.nodes)
