"""Graphs of several levels at once compile to what the whole network compiles to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.verify import images_with_float_ties
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, Mvau, Sign, Stairs
from bnnflow.transforms.passes.compile import Stage, is_mixed, level_of, stages
from bnnflow.transforms.passes.rewrite import Equivalence, compose
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.drawn_networks import DOMAIN, Drawn, networks
from tests.transforms.onnx_files import FINN, Net, by_qonnx

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]


def images_for(graph: Graph, count: int = 6) -> np.ndarray:
    images = np.random.default_rng(3).integers(0, 256, (count, *graph.input_type.shape))
    images[0] = 255
    return images.astype(np.uint8)


def tied(made: tuple[Stage, ...], images: np.ndarray) -> np.ndarray:
    return images_with_float_ties(made[0].graph, [each for stage in made for each in stage.float_ties], images)


def same_results(
    whole: tuple[Stage, ...], mixed: tuple[Stage, ...], images: np.ndarray, relative: float = 1e-12
) -> None:
    """Every level of the mixed graph gives what the whole network's last level gives, where there are no float ties."""
    want = reference.run(whole[-1].graph, images)[whole[-1].graph.output]
    sure = ~tied(whole, images) & ~tied(mixed, images)
    for stage in mixed:
        got = reference.run(stage.graph, images)[stage.graph.output]
        np.testing.assert_allclose(got[sure], want[sure], rtol=relative, atol=1e3 * relative, err_msg=stage.level)


# -- quantizers as MultiThreshold ------------------------------------------------------------------


def as_thresholds(model: onnx.ModelProto, rng: np.random.Generator) -> tuple[onnx.ModelProto, int]:
    """The same network with some quantizers of activations written as MultiThreshold, and how many."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    constants = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    ranks = {"pixels": len(made.graph.input[0].type.tensor_type.shape.dim)}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in made.graph.node:
        rank = ranks.get(node.input[0], 0) if node.input else 0
        ranks[node.output[0]] = {"Flatten": 2, "Reshape": 2, "Gemm": 2, "MatMul": 2}.get(node.op_type, rank)
        table = _table(node, constants) if node.input[0] not in constants and rank else None
        if table is None or rng.integers(3) == 0:
            nodes.append(node)
            continue
        count += 1
        bounds, low, scale = table
        layout = {2: "NC", 3: "NCW", 4: "NCHW"}[rank]
        key = f"mt{count}"
        made.graph.initializer.append(numpy_helper.from_array(bounds[None].astype(np.float32), key))
        # As FINN writes it behind its streamlining, integers and a factor, or all in one.
        apart = bool(rng.integers(2))
        settings_: dict[str, Any] = {"out_dtype": "INT8", "data_layout": layout}
        out = f"{node.output[0]}_whole" if apart else node.output[0]
        unit = 1.0 if apart else scale
        nodes.append(
            helper.make_node(
                "MultiThreshold",
                [node.input[0], key],
                [out],
                name=f"{node.name}_mt",
                domain=DOMAIN,
                out_scale=unit * (2.0 if len(bounds) == 1 and low == -1 else 1.0),
                out_bias=unit * low,
                **settings_,
            )
        )
        if apart:
            made.graph.initializer.append(numpy_helper.from_array(np.float32(scale), f"{key}_scale"))
            nodes.append(helper.make_node("Mul", [out, f"{key}_scale"], [node.output[0]], name=f"{node.name}_mul"))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made, count


def _table(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> tuple[np.ndarray, float, float] | None:
    """Bounds, lowest level and step of a quantizer; None for other operators."""
    if node.op_type not in ("BipolarQuant", "Quant", "IntQuant"):
        return None
    scale = float(constants[node.input[1]])
    if node.op_type == "BipolarQuant":
        return np.zeros(1), -1, scale
    kind = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    zero, bits = float(constants[node.input[2]]), int(constants[node.input[3]])
    if zero or kind["rounding_mode"] not in (b"ROUND", b"FLOOR"):
        return None
    narrow, signed = kind["narrow"], kind["signed"]
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    levels = np.arange(low + 1, high + 1)
    if kind["rounding_mode"] == b"FLOOR":
        return np.asarray((levels * np.float64(scale)).astype(np.float32)), low, scale
    edges = ((levels - 0.5) * scale).astype(np.float32)
    # Half to even: an odd level is reached just above its edge.
    return np.where(levels % 2, np.nextafter(edges, np.float32(np.inf)), edges), low, scale


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(networks(), st.integers(0, 2**16))
def test_quantizers_written_as_multithreshold(net: Drawn, seed: int) -> None:
    model, count = as_thresholds(net.model, np.random.default_rng(seed))
    assume(count and net.exact)
    whole, mixed = stages(read(net.model)), stages(read(model))
    same_results(whole, mixed, images_for(whole[0].graph))


@settings(max_examples=5, deadline=None, suppress_health_check=SLOW)
@given(networks(), st.integers(0, 2**16))
def test_qonnx_on_networks_with_multithreshold(net: Drawn, seed: int) -> None:
    model, count = as_thresholds(net.model, np.random.default_rng(seed))
    assume(count and net.exact and net.end == "scores")
    made = stages(read(model))
    images = images_for(made[0].graph, 2)
    images = images[~tied(made, images)]
    assume(len(images))
    got = reference.run(made[-1].graph, images)[made[-1].graph.output]
    np.testing.assert_allclose(got, by_qonnx(model, images.astype(np.float32)).reshape(got.shape), rtol=1e-5, atol=1e-5)


# -- a part that is compiled already ----------------------------------------------------------------


def cuts(old: Graph, equivalences: tuple[Equivalence, ...]) -> Iterator[tuple[Equivalence, list[Node]]]:
    """Tensors of both graphs through which all of the old graph's results go, with the old nodes behind each."""
    for equivalence in equivalences:
        if equivalence.kept is not None or equivalence.old == old.output or equivalence.old == old.input:
            continue
        behind = {equivalence.old}
        for node in old.nodes:
            if behind & set(node.inputs):
                behind.add(node.name)
        after = [node for node in old.nodes if node.name in behind - {equivalence.old}]
        if old.output in behind and all(set(node.inputs) <= behind for node in after):
            yield equivalence, after


def front_compiled(old: Graph, new: Graph, equivalence: Equivalence, after: list[Node]) -> Graph:
    """The new graph up to a tensor that both have, the old one behind it."""
    needed, kept = {equivalence.new}, []
    for node in reversed(new.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    # A stream that is read once more by nothing is no duplicate; another reader of it makes no difference.
    joint = Node("joint", Affine(equivalence.factor, equivalence.offset), (equivalence.new,))
    names = {equivalence.old: "joint"} | {node.name: f"back_{node.name}" for node in after}
    rest = [Node(names[n.name], n.op, tuple(names[tensor] for tensor in n.inputs)) for n in after]
    return replace(
        old, input=new.input, input_type=new.input_type, nodes=(*kept[::-1], joint, *rest), output=names[old.output]
    )


def back_compiled(old: Graph, new: Graph, equivalence: Equivalence) -> Graph | None:
    """The old graph up to integers that both have, the new one behind them; None where neither is the other's."""
    needed, kept = {equivalence.old}, []
    for node in reversed(old.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    if not kept or old.types[equivalence.old].is_float:
        return None
    last = kept[0]
    if (
        isinstance(last.op, Sign)
        and last.op.zero
        and np.all(equivalence.factor == 2)
        and np.all(equivalence.offset == -1)
    ):
        kept[0] = last = replace(last, op=Stairs(np.zeros((1, 1)), 0.0, 1.0))
    elif np.any(equivalence.factor != 1) or np.any(equivalence.offset != 0):
        return None
    behind = {equivalence.new}
    for node in new.nodes:
        if behind & set(node.inputs):
            behind.add(node.name)
    after = [node for node in new.nodes if node.name in behind - {equivalence.new}]
    if new.output not in behind or not all(set(node.inputs) <= behind for node in after) or not after:
        return None
    names = {equivalence.new: last.name} | {node.name: f"back_{node.name}" for node in after}
    rest = [Node(names[n.name], n.op, tuple(names[tensor] for tensor in n.inputs)) for n in after]
    return replace(old, nodes=(*kept[::-1], *rest), output=names[new.output])


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(networks(), st.integers(1, 3), st.integers(0, 2**16), st.booleans())
def test_a_part_that_is_compiled_already(net: Drawn, level: int, seed: int, front: bool) -> None:
    whole = stages(read(net.model))
    old, new, equivalences = whole[0].graph, whole[level].graph, whole[1].equivalences
    for stage in whole[2 : level + 1]:
        equivalences = compose(equivalences, stage.equivalences)
    places = list(cuts(old, equivalences))
    assume(places)
    equivalence, after = places[seed % len(places)]
    graph = front_compiled(old, new, equivalence, after) if front else back_compiled(old, new, equivalence)
    assume(graph is not None)
    assert graph is not None
    images = images_for(old)
    same_results(whole, stages(graph), images)
    refused = ""
    try:
        written = write(graph)
    except Problem as problem:
        refused = problem.what
    if refused:
        # QONNX has no quantizer to the 33 bits that a truncation of unknown sums is to this reader.
        assert "quantizer" in refused
        return
    again = read(onnx.ModelProto.FromString(written.SerializeToString()))
    # A file holds the factors of class scores as float32.
    same_results(whole, stages(again), images, 1e-6)


# -- FINN's units by hand ---------------------------------------------------------------------------


def unit(net: Net, kind: str, inputs: tuple[str, ...], **settings: object) -> None:
    net.add(kind, *inputs, domain=FINN, **settings)


@pytest.mark.parametrize("out", ["BIPOLAR", "BINARY", "INT2", "none"])
@pytest.mark.parametrize("source", ["BIPOLAR", "UINT4", "float"])
def test_units_beside_layers_that_are_not_compiled(source: str, out: str) -> None:
    """An MVAU as FINN executes it, behind a quantizer and before an unstreamlined layer."""
    rng = np.random.default_rng(len(source) + len(out))
    net = Net((8,), "UINT8")
    net.add("Sub", net.c(127.5))
    x = rng.integers(0, 256, (40, 8))
    values = x - 127.5
    if source == "BIPOLAR":
        net.add("BipolarQuant", net.c(1.0), domain=DOMAIN)
        values = np.where(values >= 0, 1, -1)
    elif source == "UINT4":
        net.add("Add", net.c(127.5))
        net.add("Div", net.c(17.0))
        net.quant(4, 1.0, signed=0)
        values = np.round((values + 127.5) / 17)
    else:
        net.quant(3, 32.0)
        values = np.clip(np.round(values / 32), -4, 3) * 32
    weight = rng.choice([-1, 1], (8, 6))
    sums = values @ weight
    # FINN counts equal bits where inputs and weights are BIPOLAR.
    sums = (sums + 8) / 2 if source == "BIPOLAR" else sums
    kind = {"inputDataType": source, "weightDataType": "BIPOLAR", "MW": 8, "MH": 6, "PE": 2, "SIMD": 4}
    levels = 3 if out == "INT2" else 1
    bounds = np.sort(np.quantile(sums, rng.uniform(0.2, 0.8, (6, levels))).round(), axis=1)
    inputs = (net.c(weight), *((net.c(bounds),) if out != "none" else ()))
    low = -2 if out == "INT2" else 0
    unit(
        net,
        "MVAU",
        inputs,
        **kind,
        outputDataType=out if out != "none" else "INT32",
        ActVal=low,
        noActivation=int(out == "none"),
        numInputVectors=[1],
    )
    reached = (sums[..., None] >= bounds).sum(axis=-1)
    made = {"BIPOLAR": 2 * reached - 1, "none": sums}.get(out, reached + low)
    net.add("Mul", net.c(0.5))
    net.add("Add", net.c(rng.integers(-3, 4, 6)))
    made = made * 0.5 + np.asarray(numpy_helper.to_array(net.weights[-1]))
    last = rng.choice([-1, 1], (6, 3))
    net.add("MatMul", net.c(last))
    want = made @ last
    stages_ = stages(read(net.model()))
    assert is_mixed(stages_[0].graph) and level_of(stages_[0].graph) == "network"
    for stage in stages_:
        np.testing.assert_array_equal(reference.run(stage.graph, x)[stage.graph.output], want, stage.level)
    assert sum(isinstance(node.op, Mvau) for node in stages_[-1].graph.nodes) == 2
    assert any("refolded" in note for stage in stages_ for note in stage.notes)


@pytest.mark.parametrize("act", [0, -1])
def test_a_thresholding_unit_with_bipolar_outputs(act: int) -> None:
    """FINN doubles what it counts from ActVal on, and takes off one."""
    net = Net((4, 2, 3), "UINT8")
    net.add("Transpose", perm=[0, 2, 3, 1])
    bounds = np.array([[3.0], [100.5], [200.0], [77.0]])
    kind = {"NumChannels": 4, "PE": 2, "numSteps": 1, "inputDataType": "UINT8", "weightDataType": "UINT8"}
    unit(net, "Thresholding", (net.c(bounds),), **kind, outputDataType="BIPOLAR", ActVal=act, numInputVectors=[1, 2, 3])
    net.add("Flatten")
    weight = net.rng.choice([-1, 1], (24, 3))
    net.add("MatMul", net.c(weight))
    x = net.rng.integers(0, 256, (30, 4, 2, 3))
    counted = (np.moveaxis(x, 1, -1) >= bounds[:, 0]) + act
    want = (2 * counted - 1).reshape(30, -1) @ weight
    for stage in stages(read(net.model())):
        np.testing.assert_array_equal(reference.run(stage.graph, x)[stage.graph.output], want, stage.level)


@pytest.mark.parametrize(("scale", "bias"), [(1.0, -1.0), (0.5, 0.25), (3.0, -1.0), (2.0, -1.0)])
def test_multithreshold_behind_an_unstreamlined_head(scale: float, bias: float) -> None:
    """MultiThreshold with any scale and bias behind Sub and BipolarQuant, judged by qonnx."""
    net = Net((8,), "UINT8")
    net.add("Sub", net.c(127.5))
    net.add("BipolarQuant", net.c(1.0), domain=DOMAIN)
    net.add("MatMul", net.c(net.rng.choice([-1, 1], (8, 6))))
    bounds = net.c(np.sort(net.rng.integers(-4, 4, (6, 2)) + 0.5, 1))
    net.add("MultiThreshold", bounds, domain=DOMAIN, out_dtype="FLOAT32", out_scale=scale, out_bias=bias)
    net.add("MatMul", net.c(net.rng.choice([-1, 1], (6, 3))))
    x = net.rng.integers(0, 256, (20, 8))
    want = by_qonnx(net.model(), x.astype(np.float32))
    for stage in stages(read(net.model())):
        np.testing.assert_array_equal(reference.run(stage.graph, x)[stage.graph.output], want, stage.level)


@settings(max_examples=15, deadline=None, suppress_health_check=SLOW)
@given(networks())
def test_units_are_raised_and_lowered_to_the_same_network(net: Drawn) -> None:
    """Dataflow units behind a step that is not compiled come back as as many matrix units, popcounts among them."""
    whole = stages(read(net.model))
    graph = whole[-1].graph
    entry = next((node for node in graph.nodes if graph.input in node.inputs), None)
    assert entry is not None
    moved = Node("moved", Affine(np.ones(1), np.zeros(1)), (graph.input,))
    nodes = [replace(n, inputs=tuple("moved" if t == graph.input else t for t in n.inputs)) for n in graph.nodes]
    mixed = replace(graph, nodes=(moved, *nodes))
    again = stages(mixed)
    images = images_for(graph)
    for stage in again:
        got = reference.run(stage.graph, images)[stage.graph.output]
        np.testing.assert_allclose(got, reference.run(graph, images)[graph.output], rtol=1e-12, atol=1e-9)
    counts = [[n.op.xnor for n in g.nodes if isinstance(n.op, Mvau)] for g in (graph, again[-1].graph)]
    assert len(counts[0]) == len(counts[1])
    assert any(counts[0]) == any(counts[1])
