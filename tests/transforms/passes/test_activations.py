"""Activations between a layer and its quantizer: onnxruntime on every integer that reaches them, and exact curves."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.verify import images_with_float_ties, sums_of_scores
from bnnflow.transforms.channels import channel_groups, cut
from bnnflow.transforms.ir.contract import FLOAT, InputContract, contract_of_json, describe_host
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import PiecewiseLinear
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.passes.curves import STRAIGHT, MonotoneCurve
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from bnnflow.transforms.writing.standard import to_standard
from tests.random_qonnx import DOMAIN, Builder

EVERY = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
CHANNELS = 4


def network(kind: str, *constants: object, behind: tuple[object, object] | None = None, **stated: float) -> Builder:
    """Four channels, one pixel a channel and one falling, an activation of (pixel - 128) / 32, norm and quantizer."""
    build = Builder(np.random.default_rng(3))
    weight = np.array([1.0, 1.0, -1.0, -1.0]).reshape(-1, 1, 1, 1)
    build.add("Conv", build.constant(weight), build.constant([-128.0, -127.0, 128.0, 96.0]), kernel_shape=[1, 1])
    build.add("Mul", build.constant(2.0**-5))
    build.add(kind, *("" if value is None else build.constant(value) for value in constants), **stated)
    for operator, value in zip(("Mul", "Add"), behind or (), strict=False):
        build.add(operator, build.constant(value))
    return build


def ended(build: Builder) -> onnx.ModelProto:
    """A quantizer to 4 bits and scores behind what was built."""
    names = [build.constant(value) for value in (0.25, 0.0, 4.0)]
    build.add("Quant", *names, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, CHANNELS), transB=1)
    return build.model((1, 1, 1), 3, annotate=True)


def dead(build: Builder) -> Builder:
    """An activation that all channels lie in one piece of, and a layer without a quantizer before it."""
    build.add("Sub", build.constant(1000.0))
    build.add("Relu")
    build.add("Conv", build.binary_weight(4, CHANNELS, 1, 1), kernel_shape=[1, 1])
    return build


def by_onnxruntime(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = to_standard(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {session.get_inputs()[0].name: EVERY.astype(np.float32)})
    return np.asarray(made)


SLOPES = np.array([0.1, 0.0, 0.5, 3.0]).reshape(-1, 1, 1)
LIMITS = np.array([-1.0, 0.3, 0.0, 0.55]).reshape(-1, 1, 1)
MIXED = (np.array([-1.0, 0.5, 0.0, -2.0]).reshape(-1, 1, 1), np.array([0.25, 0.0, 0.6, 1.0]).reshape(-1, 1, 1))
ACTIVATIONS = {
    "relu": lambda **k: network("Relu", **k),
    "leaky": lambda **k: network("LeakyRelu", alpha=0.1, **k),
    "leaky by default": lambda **k: network("LeakyRelu", **k),
    "prelu": lambda **k: network("PRelu", SLOPES, **k),
    "one prelu": lambda **k: network("PRelu", [0.25], **k),
    "hard sigmoid": lambda **k: network("HardSigmoid", alpha=1 / 6, beta=0.5, **k),
    "falling hard sigmoid": lambda **k: network("HardSigmoid", alpha=-0.25, **k),
    "hard tanh": lambda **k: network("Clip", -1.0, 1.0, **k),
    "relu6": lambda **k: network("Clip", 0.0, 6.0, **k),
    "upper limit": lambda **k: network("Clip", None, 0.7, **k),
    "lower limits": lambda **k: network("Max", LIMITS, **k),
    "upper limits": lambda **k: network("Min", LIMITS, **k),
    "jump": lambda **k: network("ThresholdedRelu", alpha=0.5, **k),
    "soft shrink": lambda **k: network("Shrink", lambd=0.5, bias=0.5, **k),
    "hard shrink": lambda **k: network("Shrink", lambd=0.75, **k),
    "little shrink": lambda **k: network("Shrink", lambd=0.5, bias=0.25, **k),
}


@pytest.mark.parametrize("behind", [None, (-1.0, 0.1875), MIXED], ids=["plain", "turned", "mixed"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_integer_meets_the_same_thresholds_as_in_onnxruntime(name: str, behind: object) -> None:
    model = ended(ACTIVATIONS[name](behind=behind))
    made = stages(read(model))
    float_ties = [each for stage in made for each in stage.float_ties]
    sure = ~images_with_float_ties(made[0].graph, float_ties, EVERY)
    assert sure.sum() > 200
    theirs = by_onnxruntime(model)
    for stage in made:
        ours = np.asarray(reference.run(stage.graph, EVERY)[stage.graph.output], np.float64)
        np.testing.assert_allclose(ours[sure], theirs[sure], rtol=0, atol=1e-6, err_msg=stage.level)
    graph = made[0].graph
    assert parse_graph(str(graph)) == graph
    again = read(onnx.ModelProto.FromString(write_network(graph).SerializeToString()))
    mine, new = (reference.run(g, EVERY)[g.output] for g in (graph, stages(again)[0].graph))
    np.testing.assert_allclose(new, mine, rtol=1e-6, atol=1e-6)


def test_a_channel_takes_its_slope_along_when_others_are_cut() -> None:
    graph = read(ended(ACTIVATIONS["prelu"]()))
    group = next(group for group in channel_groups(graph) if not group.reason)
    smaller = cut(graph, {group.name: [1, 3]})
    (op,) = (node.op for node in smaller.nodes if isinstance(node.op, PiecewiseLinear))
    assert op.slopes[:, 0].tolist() == [0.0, 3.0]
    tensors = [reference.run(g, EVERY) for g in (graph, smaller)]
    (name,) = (node.name for node in smaller.nodes if isinstance(node.op, PiecewiseLinear))
    assert np.array_equal(tensors[0][name][..., [1, 3]], tensors[1][name])


def test_an_activation_may_stand_on_the_host() -> None:
    graph = read(ended(ACTIVATIONS["leaky"]()))
    ops = tuple(node.op for node in graph.nodes if isinstance(node.op, PiecewiseLinear))
    contract = InputContract(FLOAT, host=ops)
    assert contract_of_json(contract.to_json()) == contract
    assert describe_host(ops) == "leaky_relu(x, 0.100000001)"
    clip = contract_of_json('{"datatype": "FLOAT", "host": [{"op": "Clip", "low": 0.0, "high": "inf"}]}')
    assert describe_host(clip.host) == "clip(x, 0, inf)"


def test_an_activation_that_falls_only_where_no_integer_is_stays() -> None:
    """Behind a ReLU the slope below 0 is never met."""
    build = network("Relu")
    build.add("PRelu", build.constant([-0.5]))
    graph = stages(read(ended(build)))[-1].graph
    plain = stages(read(ended(ACTIVATIONS["relu"]())))[-1].graph
    assert np.array_equal(*(reference.run(g, EVERY)[g.output] for g in (graph, plain)))


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: network("PRelu", np.array([0.5, -0.1, 0.0, -2.0]).reshape(-1, 1, 1)), "channels 1, 3"),
        (lambda: network("LeakyRelu", alpha=-0.5), "rises and falls"),
        (lambda: network("Shrink", lambd=0.25, bias=0.5), "rises and falls"),
        (lambda: network("ThresholdedRelu", alpha=-1.0), "rises and falls"),
        (lambda: network("Elu"), "Elu is not linear in pieces"),
        (lambda: network("Shrink", lambd=-1.0), "lambd"),
        (lambda: network("Clip", 1.0, -1.0), "are empty"),
        (lambda: dead(network("Relu")), "gives one value, whatever comes in"),
    ],
)
def test_what_is_not_monotone_or_not_linear_is_refused(build, what: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Problem) as caught:
        stages(read(ended(build())))
    assert what in str(caught.value)
    assert caught.value.hint or "empty" in what


def test_an_unquantized_activation_of_few_values_goes_into_a_layer() -> None:
    """Leaky ReLU on -4 to 4 with slope 1/4: ten values in steps of a quarter of the greatest ones."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(128.0))
    build.add("Div", build.constant(32.0))
    names = [build.constant(value) for value in (1.0, 0.0, 4.0)]
    build.add("Quant", *names, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    build.add("LeakyRelu", alpha=0.25)
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, 1), transB=1)
    model = build.model((1, 1, 1), 3, annotate=True)
    made = stages(read(model))
    theirs = by_onnxruntime(model)
    for stage in made:
        assert np.array_equal(reference.run(stage.graph, EVERY)[stage.graph.output], theirs), stage.level


@pytest.mark.parametrize("limit", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("parts", [6, 10, 3])
def test_a_limit_on_a_quantizers_edge_is_a_float_tie(limit: float, parts: int) -> None:
    """float32 divides the limit by a scale that is no power of two: which side it comes to is rounding alone."""
    build = network("Clip", -2.0, limit)
    names = [build.constant(value) for value in (1 / parts, 0.0, 4.0)]
    build.add("Quant", *names, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, CHANNELS), transB=1)
    model = build.model((1, 1, 1), 3, annotate=True)
    made = stages(read(model))
    halves = 2 * parts * limit
    on_edge = round(halves) % 2 == 1 and abs(halves - round(halves)) < 1e-6
    at_limit = [
        tie for stage in made for each in stage.float_ties for tie in each.thresholds if abs(tie - limit) < 1e-6
    ]
    assert bool(at_limit) == on_edge
    theirs = by_onnxruntime(model)
    sure = ~images_with_float_ties(made[0].graph, [each for stage in made for each in stage.float_ties], EVERY)
    wanted = sums_of_scores(made[-1].graph, theirs)
    for stage in made:
        found = sums_of_scores(made[-1].graph, np.asarray(reference.run(stage.graph, EVERY)[stage.graph.output]))
        assert np.array_equal(found[sure], wanted[sure]), stage.level
    assert sure.any()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=CHANNELS, max_size=CHANNELS),
    st.integers(-16, 16),
    st.booleans(),
    st.integers(2, 5),
)
def test_steps_of_channels_reach_as_far_as_their_values(steps: list[int], offset: int, signed: bool, bits: int) -> None:
    """Behind an offset values may lie on one side of 0, where the coarsest step of a channel is nearest to it."""
    build = network("Relu", behind=(0.5, float(offset)))
    scales = build.constant(2.0 ** np.array(steps).reshape(1, -1, 1, 1))
    names = [scales, build.constant(0.0), build.constant(float(bits))]
    build.add("Quant", *names, domain="qonnx.custom_op.general", signed=int(signed), narrow=0, rounding_mode="ROUND")
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, CHANNELS), transB=1)
    model = build.model((1, 1, 1), 3, annotate=True)
    theirs = by_onnxruntime(model)
    # Where no channel changes, the input would be asked for.
    for stage in stages(with_contract(read(model), parse_contract("uint8, partial"))):
        assert np.array_equal(reference.run(stage.graph, EVERY)[stage.graph.output], theirs), stage.level


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_modules_of_torch(dynamo: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    chain = (nn.LeakyReLU(0.1), nn.PReLU(4), nn.Hardtanh(-0.5, 2.0), nn.Hardsigmoid(), nn.ReLU6(), nn.PReLU())
    body = nn.Sequential(*chain).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = 4 * torch.randn(50, 4, 1, 1)
        where = str(tmp_path / "body.onnx")
        torch.onnx.export(body, (x[:1],), where, dynamo=dynamo, opset_version=18 if dynamo else 13, verbose=False)
        wanted = body(x).numpy().reshape(50, 4)
    model = onnx.load(where)
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Flatten", [last], ["flat"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, [1, 4]))
    graph: Graph = read(model)
    assert sum(isinstance(node.op, PiecewiseLinear) for node in graph.nodes) == len(chain)
    np.testing.assert_allclose(reference.run(graph, x.numpy())[graph.output], wanted, rtol=1e-5, atol=1e-6)


# -- curves ----------------------------------------------------------------------------------------

small = st.fractions(-3, 3, max_denominator=4)


@st.composite
def curves(draw: st.DrawFn) -> MonotoneCurve:
    """A rising curve with flat pieces, jumps and knots at one place."""
    knots = sorted(draw(st.lists(small, max_size=3)))
    slopes = [
        draw(st.sampled_from([Fraction(0), Fraction(1), Fraction(1, 3), Fraction(2)])) for _ in range(len(knots) + 1)
    ]
    # A place that belongs below one knot belongs below all behind it.
    closed: list[bool] = []
    for index, knot in enumerate(knots):
        same = index > 0 and knots[index - 1] == knot and not closed[-1]
        closed.append(not same and draw(st.booleans()))
    intercepts = [draw(small)]
    for index, knot in enumerate(knots):
        jump = draw(st.sampled_from([Fraction(0), Fraction(0), Fraction(1, 2)]))
        intercepts.append(intercepts[-1] + (slopes[index] - slopes[index + 1]) * knot + jump)
    return MonotoneCurve(tuple(knots), tuple(slopes), tuple(intercepts), tuple(closed))


GRID = [Fraction(n, 12) for n in range(-42, 43)]


@settings(max_examples=40, deadline=None)
@given(curves(), curves(), small)
def test_curves_are_the_functions_that_they_say(one: MonotoneCurve, other: MonotoneCurve, edge: Fraction) -> None:
    assert one.rises
    both, mirrored = one.after(other), one.mirrored()
    assert both.rises and mirrored.falls
    part = one.within(Fraction(-1), Fraction(2))
    for x in GRID:
        assert both(x) == one(other(x))
        assert mirrored(x) == one(-x)
        assert one.times(Fraction(-2), Fraction(1, 3))(x) == Fraction(1, 3) - 2 * one(x)
        assert not -1 <= x <= 2 or part(x) == one(x)
    assert one.after(STRAIGHT) == one
    for inclusive in (True, False):
        found = one.reached(edge, inclusive)
        for x in GRID:
            value = one(x)
            begun = found is not None and (found[1] is None or x > found[1] or (found[2] and x == found[1]))
            assert (value > edge or (inclusive and value == edge)) == begun
    place = one.place_of(edge)
    assert place is None or one(place) == edge


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("limits", [(-3.0, -1.0), (2.0, 5.0), (0.0, 5.0), (-3.0, 5.0), (-300.0, 300.0)])
def test_a_sign_of_what_limits_leave_of_pixels(limits: tuple[float, float], falls: bool) -> None:
    """On the graph's input no layer takes a falling gain up; limits beyond zero leave one sign alone."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(100.0), first=not falls)
    build.add("Clip", *(build.constant(limit) for limit in limits))
    build.sign()
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, 1), transB=1)
    model = build.model((1, 1, 1), 3, annotate=False)
    graph = with_contract(read(model), parse_contract("uint8, partial"))
    theirs = by_onnxruntime(model)
    for stage in stages(graph):
        assert np.array_equal(reference.run(stage.graph, EVERY)[stage.graph.output], theirs), stage.level


def test_a_float_tie_of_one_threshold_for_all_is_one_of_every_channel() -> None:
    """Five times 0.3 is 1.5 in float32's sums, and 1.5000000596 in fractions, whichever channel it is in."""
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(CHANNELS, 1, scale=0.3), transB=1)
    build.add(
        "MultiThreshold", build.constant([[1.5]]), domain=DOMAIN, out_dtype="BIPOLAR", out_scale=2.0, out_bias=-1.0
    )
    build.add("Gemm", build.binary_weight(3, CHANNELS), transB=1)
    made = stages(read(build.model((1, 1, 1), 3, annotate=True)))
    (ties,) = (each for stage in made for each in stage.float_ties)
    assert ties.alike and f"on {CHANNELS} channels (0, 1, 2, 3)" in " ".join(made[1].notes)
    tied = images_with_float_ties(made[0].graph, [ties], EVERY)
    assert np.flatnonzero(tied).tolist() == [5]
