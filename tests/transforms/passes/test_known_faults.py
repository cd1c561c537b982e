"""What goes wrong in FINN's compilation of binary networks, as tests that it does not go wrong here."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from bnnflow.build.finn_reports import unit_names
from bnnflow.sim import reference
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import sums_of_scores
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau, Threshold
from bnnflow.transforms.passes.compile import Stage, stages
from bnnflow.transforms.passes.rewrite import Equivalence, compose
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.standard import to_standard
from bnnflow.transforms.writing.write import write
from tests.random_qonnx import DOMAIN, Builder, random_network


def by_qonnx(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    wrapped = ModelWrapper(model).transform(InferShapes())
    source, target = wrapped.graph.input[0].name, wrapped.graph.output[0].name
    # qonnx computes wrong windows for batches: one image at a time.
    return np.concatenate([execute_onnx(wrapped, {source: i[None].astype(np.float32)})[target] for i in images])


def by_onnxruntime(model: onnx.ModelProto, images: np.ndarray, tensor: str = "") -> np.ndarray:
    """A tensor of the float network, its output where none is named."""
    standard = to_standard(model)
    if tensor:
        del standard.graph.output[:]
        standard.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(standard.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0])


def same_scores(made: tuple[Stage, ...], theirs: np.ndarray, images: np.ndarray) -> bool:
    return all(np.array_equal(sums_of_scores(s.graph, theirs), ints(s.graph, images)) for s in made[1:])


def ints(graph: Graph, images: np.ndarray) -> np.ndarray:
    return sums_of_scores(graph, Simulator.of(graph).scores(images))


def pixels(shape: tuple[int, ...], count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


# -- a. networks of BipolarQuant alone -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_networks_of_signs_alone_convert(seed: int) -> None:
    """No Quant node anywhere: FINN's builder does not convert these."""
    model = random_network(seed, 2, 1, image="binary")
    assert {node.op_type for node in model.graph.node if "Quant" in node.op_type} == {"BipolarQuant"}
    made = stages(read(model))
    images = pixels(made[0].graph.input_type.shape)
    assert made[-1].level == "dataflow"
    assert same_scores(made, by_qonnx(model, images), images)


# -- b. graphs of both exporters -------------------------------------------------------------------


def exported(dynamo: bool) -> onnx.ModelProto:
    """One network as torch's two exporters write it.

    TorchScript: opset 13, MatMul behind Transpose, weights by BipolarQuant. Dynamo: opset 18, IR version 10,
    Gemm without its third input, constants shared between layers.
    """
    rng = np.random.default_rng(3)
    latent = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((12, 12), (3, 12))]
    one = numpy_helper.from_array(np.float32(1.0), "one")
    half = numpy_helper.from_array(np.float32(127.5), "half")
    weights = [one, half, *(numpy_helper.from_array(value, f"latent{i}") for i, value in enumerate(latent))]
    nodes = [helper.make_node("Sub", ["image", "half"], ["centred"])]

    def quant(x: str, out: str) -> None:
        nodes.append(helper.make_node("BipolarQuant", [x, "one"], [out], domain=DOMAIN, name=f"quant_{out}"))

    def dense(x: str, index: int, out: str) -> None:
        quant(f"latent{index}", f"weight{index}")
        if dynamo:
            nodes.append(helper.make_node("Gemm", [x, f"weight{index}"], [out], transB=1, alpha=1.0, beta=1.0))
        else:
            nodes.append(helper.make_node("Transpose", [f"weight{index}"], [f"turned{index}"], perm=[1, 0]))
            nodes.append(helper.make_node("MatMul", [x, f"turned{index}"], [out]))

    quant("centred", "bits")
    dense("bits", 0, "sums")
    # The dynamo exporter stores equal constants once: the weights' scale is also this sum's shift.
    nodes.append(helper.make_node("Sub", ["sums", "one"], ["moved"]))
    quant("moved", "hidden")
    dense("hidden", 1, "scores")
    body = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 12])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])],
        weights,
    )
    entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
    body.quantization_annotation.append(
        onnx.TensorAnnotation(tensor_name="image", quant_parameter_tensor_names=[entry])
    )
    opsets = [helper.make_opsetid("", 18 if dynamo else 13), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10 if dynamo else 7)


def test_both_exporters_graphs_convert_to_the_same_integers() -> None:
    images = pixels((12,), 40)
    results = []
    for dynamo in (False, True):
        model = exported(dynamo)
        onnx.checker.check_model(model)
        made = stages(read(model))
        assert same_scores(made, by_onnxruntime(model, images), images)
        results.append(ints(made[-1].graph, images))
    assert np.array_equal(*results)
    assert len(np.unique(results[0])) > 2


# -- c. accumulators of XNOR units -----------------------------------------------------------------


def xnor_unit(weight: np.ndarray, offsets: np.ndarray) -> tuple[onnx.NodeProto, dict[str, np.ndarray], dict[str, str]]:
    """The written MVAU of sign(weight @ x + offset), its operands by input, and their data types."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(127.5))
    build.sign()
    build.add("Gemm", build.constant(weight), build.constant(offsets), transB=1)
    build.sign()
    build.add("Gemm", build.binary_weight(3, len(weight)), transB=1)
    graph = stages(read(build.model((weight.shape[1],), 3, annotate=True)))[-1].graph
    model = write(graph)
    unit = next(node for node in model.graph.node if node.op_type == "MVAU")
    stored = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    types = {
        item.tensor_name: entry.value
        for item in model.graph.quantization_annotation
        for entry in item.quant_parameter_tensor_names
    }
    return unit, {name: stored[name] for name in unit.input[1:]}, types


def setting(node: onnx.NodeProto, name: str) -> Any:
    value = next(helper.get_attribute_value(item) for item in node.attribute if item.name == name)
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("columns", [64, 256, 576, 784])
def test_the_accumulator_holds_every_popcount(columns: int) -> None:
    """FINN gives MW=64 an INT7 (at most 63), 784 an INT10 (511): popcounts go from 0 to MW, MW included."""
    weight = np.random.default_rng(columns).choice([-1.0, 1.0], (6, columns))
    offsets = np.array([0.5, -0.5, columns - 1, 1 - columns, 0.0, 2.0])
    unit, operands, types = xnor_unit(weight, offsets)
    assert (setting(unit, "MW"), setting(unit, "binaryXnorMode")) == (columns, 1)
    sums = DataType[setting(unit, "accDataType")]
    assert sums.allowed(0) and sums.allowed(columns)
    assert sums.bitwidth() == int(np.ceil(np.log2(columns + 1))), "and no bit more"
    bounds = DataType[types[unit.input[2]]]
    assert bounds.allowed(0) and all(bounds.allowed(value) for value in operands[unit.input[2]].reshape(-1))


@pytest.mark.parametrize("columns", [2, 3, 4, 7, 8, 11])
def test_every_reachable_popcount_fits_by_trying_all_inputs(columns: int) -> None:
    """All 2^MW inputs of random layers, by the written weights and bounds, in the unit's own arithmetic."""
    rng = np.random.default_rng(columns)
    inputs = np.array(list(itertools.product([0, 1], repeat=columns)))
    weight = rng.choice([-1.0, 1.0], (5, columns))
    # Rows that are always on or off are left out of a unit; these change, the first and last only just.
    offsets = np.array([columns - 1.0, *rng.integers(1 - columns, columns, 3), 1.0 - columns])
    reached = set()
    unit, operands, types = xnor_unit(weight, offsets)
    bits, bounds = operands[unit.input[1]], operands[unit.input[2]]
    sums = DataType[setting(unit, "accDataType")]
    stored = DataType[types[unit.input[2]]]
    for column in range(bits.shape[1]):
        counts = (inputs == bits[:, column]).sum(axis=1)
        reached |= set(counts.tolist())
        assert all(sums.allowed(int(count)) for count in np.unique(counts))
        assert 0 <= bounds[column].min() <= bounds[column].max() <= columns + 1
        assert all(stored.allowed(float(bound)) for bound in bounds[column])
        wanted = (2 * inputs - 1) @ weight[column] + offsets[column] >= 0
        assert np.array_equal(counts >= bounds[column, 0], wanted)
    assert reached == set(range(columns + 1))


# -- d. padding of {-1, +1} ------------------------------------------------------------------------


def padded(
    value: float, kernel: int, stride: int, pads: tuple[int, ...], channels: int, size: int, scale: float = 1.0
) -> tuple[onnx.ModelProto, str]:
    """A convolution on signs with a border of `value`, its tensor of sums, and a classifier behind it."""
    build = Builder(np.random.default_rng(kernel * 100 + channels))
    build.add("Sub", build.constant(127.5))
    build.sign()
    weight = build.binary_weight(4, channels, kernel, kernel, scale=scale)
    settings: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
    if value:
        top, left, bottom, right = pads
        sides = build.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        build.add("Pad", sides, build.constant(value))
        sums = build.add("Conv", weight, **settings)
    else:
        sums = build.add("Conv", weight, pads=list(pads), **settings)
    build.nodes[-1].name = "conv"
    build.batch_norm()
    build.sign()
    build.add("Flatten", axis=1)
    places = [(size + pads[i] + pads[i + 2] - kernel) // stride + 1 for i in (0, 1)]
    build.add("Gemm", build.binary_weight(3, 4 * places[0] * places[1]), transB=1)
    return build.model((channels, size, size), 3, annotate=True), sums


BORDERS = [
    pytest.param(0.0, 3, 1, (1, 1, 1, 1), 1, 4, id="minimal 4x4"),
    pytest.param(0.0, 3, 1, (1, 1, 1, 1), 3, 5, id="odd channels"),
    pytest.param(0.0, 3, 1, (1, 1, 1, 1), 2, 5, id="even channels"),
    pytest.param(0.0, 3, 2, (1, 1, 1, 1), 3, 7, id="stride 2"),
    pytest.param(0.0, 5, 1, (2, 2, 2, 2), 1, 6, id="5x5"),
    pytest.param(0.0, 5, 2, (2, 2, 2, 2), 3, 7, id="5x5 stride 2"),
    pytest.param(0.0, 3, 1, (0, 1, 2, 0), 3, 5, id="uneven"),
    pytest.param(0.0, 3, 3, (2, 0, 0, 1), 2, 6, id="uneven stride 3"),
    pytest.param(0.0, 3, 1, (1, 1, 1, 1), 1, 1, id="1x1 map"),
    pytest.param(0.0, 5, 1, (2, 2, 2, 2), 1, 2, id="kernel above the map"),
    pytest.param(-1.0, 3, 1, (1, 1, 1, 1), 1, 4, id="-1"),
    pytest.param(1.0, 3, 1, (1, 1, 1, 1), 1, 4, id="+1"),
    pytest.param(-1.0, 5, 2, (2, 1, 0, 2), 3, 7, id="-1 uneven"),
    pytest.param(1.0, 3, 2, (0, 1, 1, 0), 3, 6, id="+1 uneven"),
]


@pytest.mark.parametrize(("value", "kernel", "stride", "pads", "channels", "size"), BORDERS)
def test_a_padded_sign_convolution_is_right_at_every_place(
    value: float, kernel: int, stride: int, pads: tuple[int, ...], channels: int, size: int
) -> None:
    """FINN pads bits with 0, which means -1. All places, against onnxruntime on floats and qonnx on our files."""
    model, sums = padded(value, kernel, stride, pads, channels, size)
    made = stages(read(model))
    images = pixels((channels, size, size), 30)
    wanted = np.moveaxis(by_onnxruntime(model, images, sums), 1, -1)
    equivalences: Sequence[Equivalence] = made[1].equivalences
    for stage in made[1:]:
        equivalences = stage.equivalences if stage is made[1] else compose(equivalences, stage.equivalences)
        found = [equivalence for equivalence in equivalences if equivalence.old == "conv"]
        if stage.level == "dataflow" and not found:
            # The sums stay inside the unit.
            continue
        (equivalence,) = found
        tensor = reference.run(stage.graph, images)[equivalence.new]
        assert np.array_equal(tensor * equivalence.factor + equivalence.offset, wanted), stage.level
        if stage.level == "xnor":
            written = ModelWrapper(write(stage.graph))
            for image, row in zip(images[:6], wanted, strict=False):
                feed = {"pixels": image[None].astype(np.float32)}
                context = execute_onnx(written, feed, return_full_exec_context=True)
                assert np.array_equal(context[equivalence.new][0] * equivalence.factor + equivalence.offset, row)
    assert same_scores(made, by_onnxruntime(model, images), images)


def test_the_border_differs_from_its_neighbours() -> None:
    """Were zero padding taken for -1, these sums would differ: the test above can fail."""
    model, sums = padded(0.0, 3, 1, (1, 1, 1, 1), 1, 4)
    other, other_sums = padded(-1.0, 3, 1, (1, 1, 1, 1), 1, 4)
    images = pixels((1, 4, 4), 10)
    one, two = by_onnxruntime(model, images, sums), by_onnxruntime(other, images, other_sums)
    assert np.array_equal(one[..., 1:-1, 1:-1], two[..., 1:-1, 1:-1])
    assert np.all((one != two).any(axis=(0, 1))[0]), "every border place differs for some image"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_border_of_drawn_sizes_is_what_the_window_leaves_out(channels: int) -> None:
    """Every kernel of 2 to 5, stride of 1 to 3 and uneven padding below the kernel, against onnxruntime."""
    rng = np.random.default_rng(channels)
    images = pixels((channels, 6, 6), 4)
    for kernel, stride in itertools.product((2, 3, 4, 5), (1, 2, 3)):
        pads = tuple(int(side) for side in rng.integers(0, kernel, 4))
        model, sums = padded(0.0, kernel, stride, pads, channels, 6)
        made = stages(read(model))
        (equivalence,) = (m for m in compose(made[1].equivalences, made[2].equivalences) if m.old == "conv")
        tensor = reference.run(made[2].graph, images)[equivalence.new] * equivalence.factor + equivalence.offset
        wanted = np.moveaxis(by_onnxruntime(model, images, sums), 1, -1)
        assert np.array_equal(tensor, wanted), (kernel, stride, pads)


# -- e. neurons that are always on or always off ---------------------------------------------------


def saturated(gain: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """A hidden layer of 16 inputs whose batch norm has this gain and bias."""
    build = Builder(np.random.default_rng(7))
    build.add("Sub", build.constant(127.5))
    build.sign()
    build.add("Gemm", build.binary_weight(len(gain), 16), transB=1)
    ones = np.ones(len(gain))
    build.add("BatchNormalization", *(build.constant(v) for v in (gain, bias, 0 * ones, ones)), epsilon=0.0)
    build.sign()
    build.add("Gemm", build.binary_weight(3, len(gain)), transB=1)
    return build.model((16,), 3, annotate=True)


SATURATED = {
    "zero gains": ([0, 0, 1, 1], [1, -1, 0, 0.5]),
    "tiny gains": ([1e-30, -1e-30, 1, -1], [-1, -1, 0.5, 0.5]),
    "large biases": ([1, 1, -1, 1], [1e6, -1e6, -1e6, 3]),
    "just always on and off": ([1, 1, 1, 1], [16, 17, -16, -17]),
    "all always on": ([0, 0, 0, 0], [1, 1, 1, 1]),
    "all always off": ([1, 1, 1, 1], [-99, -99, -99, -99]),
    "all constant, of both kinds": ([0, 0, 0, 0], [1, -1, 0, -1]),
}


@pytest.mark.parametrize("name", SATURATED)
def test_saturated_neurons_are_clipped_and_not_crashed_on(name: str) -> None:
    """FINN asserts that all thresholds are positive; an always-on neuron's is 0 here, an always-off one's MW + 1."""
    model = saturated(*(np.array(values, float) for values in SATURATED[name]))
    made = stages(read(model))
    images = pixels((16,), 30)
    assert same_scores(made, by_onnxruntime(model, images), images)
    for node in made[-1].graph.nodes:
        if isinstance(node.op, Mvau) and node.op.has_bounds:
            assert 0 <= node.op.bounds.min() <= node.op.bounds.max() <= node.op.weight.shape[1] + 1
    for node in made[2].graph.nodes:
        if isinstance(node.op, Threshold):
            low, high = made[2].graph.types[node.input].range
            assert low <= node.op.bounds.min() <= node.op.bounds.max() <= high + 1


# -- f. names in folding files ---------------------------------------------------------------------


def test_names_are_the_same_from_run_to_run() -> None:
    """The same file gives the same names, and so do the files that we write."""
    model = random_network(2, 2, 1, "after-sign")
    first, second = (stages(read(onnx.ModelProto.FromString(model.SerializeToString())))[-1].graph for _ in range(2))
    assert str(first) == str(second)
    assert unit_names(first) == unit_names(second)
    again = read(onnx.ModelProto.FromString(write(first).SerializeToString()))
    assert unit_names(again) == unit_names(first)
