"""Every level of drawn networks holds the same integers, judged by our reference, qonnx and onnxruntime."""

from __future__ import annotations

import warnings
from collections import Counter
from fractions import Fraction
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import Level, images_with_float_ties, sums_of_scores, verify
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import AnyOp, DuplicateStreams
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import STAGES, Stage, stages
from bnnflow.transforms.passes.quantizers import threshold
from bnnflow.transforms.passes.rewrite import FloatTies, Pass, Rewritten
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from bnnflow.transforms.writing.standard import to_standard
from bnnflow.transforms.writing.write import write
from tests.drawn_networks import Drawn, networks
from tests.random_qonnx import Builder, random_network

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def few_or_many(few: int, many: int) -> pytest.MarkDecorator:
    """How many examples, `many` when slow tests run."""
    long = pytest.param(many, id="long", marks=pytest.mark.slow)
    return pytest.mark.parametrize("examples", [pytest.param(few, id="fast"), long])


class Case:
    """A drawn network with what its judges share: every pass's result, every level, images, our tensors of each."""

    def __init__(self, net: Drawn) -> None:
        self.net = net
        self.passes: list[tuple[Pass, Graph, Rewritten]] = []
        self.made = stages(read(net.model), observe=lambda *step: self.passes.append(step))
        self.images = pixels(self.made[0].graph)
        self._tensors: dict[int, dict[str, np.ndarray]] = {}

    def tensors(self, graph: Graph) -> dict[str, np.ndarray]:
        """The reference's tensors of a graph that this object holds."""
        if id(graph) not in self._tensors:
            self._tensors[id(graph)] = reference.run(graph, self.images)
        return self._tensors[id(graph)]


def pixels(graph: Graph, count: int = 3) -> np.ndarray:
    """Random images, one of them of a single extreme."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, *graph.input_type.shape))
    images[0] = 0 if images.flat[0] % 2 else 255
    return images.astype(np.uint8)


def float_ties_of(made: tuple[Stage, ...]) -> list[FloatTies]:
    return [each for stage in made for each in stage.float_ties]


def results(net: Drawn, graph: Graph, images: np.ndarray, scale: Graph | None = None) -> np.ndarray:
    """What our level gives: the integers behind class scores (of `scale`), the scores before a softmax, or classes."""
    made = np.asarray(reference.run(graph, images)[graph.output])
    return sums_of_scores(scale or graph, made) if net.end == "scores" else made


def agrees(net: Drawn, graph: Graph, theirs: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Which images another program's result `theirs` agrees on: bool, (images,)."""
    mine = results(net, graph, images)
    if net.end == "softmax":
        # Where exponentials are equal in float32, any of them is the greatest.
        return np.array([np.isclose(row[own.argmax()], row.max(), 1e-4) for row, own in zip(theirs, mine, strict=True)])
    if net.end == "classes":
        # Which of two scores is the greater is not said where they differ by float32's rounding alone.
        scores = reference.run(graph, images)[graph.node(graph.output).input]
        chosen = (np.take_along_axis(scores.astype(np.float64), np.asarray(k, np.int64), 1) for k in (theirs, mine))
        return np.asarray(np.isclose(*chosen, 1e-5, 1e-6).all(axis=1))
    return np.asarray((sums_of_scores(graph, theirs) == mine).all(axis=1))


class Variety:
    """How alive and varied the networks were that a test has drawn."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.sure: list[float] = []
        self.seen: Counter[str] = Counter()

    def look(self, case: Case) -> None:
        graph, images = case.made[-1].graph, pixels(case.made[0].graph, 20)[2:]
        tensors = reference.run(graph, images)
        narrow = [n for n in tensors if not graph.types[n].is_float and graph.types[n].bits <= 4]
        self.shares.extend(float(np.mean(tensors[name].std(axis=0) > 0)) for name in narrow)
        self.sure.append(1 - float(images_with_float_ties(case.made[0].graph, float_ties_of(case.made), images).mean()))
        self.seen.update({type(node.op).__name__ for stage in case.made for node in stage.graph.nodes})

    def judge(self) -> None:
        """Most hidden values change from image to image, few images hold float ties, and every operation occurs."""
        assert len(self.shares) > 500
        assert np.mean(self.shares) > 0.6
        assert np.mean(self.sure) > 0.6
        assert np.mean(np.array(self.sure) == 1) > 0.4, "many networks hold no float tie at all"
        missing = {kind.__name__ for kind in get_args(AnyOp)} - set(self.seen)
        assert not missing, "operations that no drawn network holds"


@few_or_many(120, 1500)
def test_every_level_of_drawn_networks(examples: int) -> None:
    """All judges but qonnx on the same networks, which are drawn and compiled once."""
    variety = Variety()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks())
    def judge(net: Drawn) -> None:
        case = Case(net)
        every_pass_keeps_every_matched_tensor(case)
        engine_equals_reference_at_every_level(case)
        files_and_text_hold_the_same_graph(case)
        onnxruntime_computes_our_integers(case)
        streams_of_the_dataflow_level_have_one_reader(case)
        variety.look(case)

    judge()
    variety.judge()


def every_pass_keeps_every_matched_tensor(case: Case) -> None:
    """For each registered pass: old == factor * new + offset on all tensors, and equal results."""
    assert [step.name for step, _, _ in case.passes] == [step.name for _, steps in STAGES for step in steps]
    # `verify` allows floats of the network level to be off by rounding, integers by nothing.
    levels = [Level(step.name, result.graph, result.equivalences, result.float_ties) for step, _, result in case.passes]
    verified = verify([Level("before", case.passes[0][1]), *levels], case.images)
    for (step, old, result), compared in zip(case.passes, verified, strict=True):
        assert result.equivalences and compared.values > 0
        if all(not old.types[equivalence.old].is_float for equivalence in result.equivalences):
            assert compared.differences == 0
        before, after = (case.tensors(graph)[graph.output] for graph in (old, result.graph))
        sure = ~images_with_float_ties(old, result.float_ties, case.images)
        if result.graph.output_type.is_float or old.output_type.is_float:
            # Integers behind class scores are compared; the scores themselves are float64.
            np.testing.assert_allclose(after[sure], before[sure], rtol=1e-12, atol=1e-9)
        else:
            assert np.array_equal(after[sure], before[sure]), step.name


def engine_equals_reference_at_every_level(case: Case) -> None:
    for stage in case.made:
        fast, slow = Simulator.of(stage.graph).tensors(case.images), case.tensors(stage.graph)
        sure = ~images_with_float_ties(
            stage.graph, float_ties_of(case.made) if stage.level == "network" else [], case.images
        )
        for name, values in slow.items():
            kind = stage.graph.types[name]
            if kind.is_float:
                np.testing.assert_allclose(fast[name][sure], values[sure], rtol=1e-12, atol=1e-9, err_msg=name)
                continue
            assert np.array_equal(fast[name][sure], values[sure]), (stage.level, name)
            low, high = kind.range
            assert values.min() >= low and values.max() <= high, (stage.level, name, "its type says less")
            assert not np.any((values - low) % kind.step), (stage.level, name, "its type says fewer")


def files_and_text_hold_the_same_graph(case: Case) -> None:
    """What is written is read back with the same names and integers, at every level and in both forms."""
    levels = [Level("network", case.made[0].graph)]
    for stage in case.made[1:]:
        assert parse_graph(str(stage.graph)) == stage.graph
        written = write(stage.graph)
        onnx.checker.check_model(written)
        again = read(onnx.ModelProto.FromString(written.SerializeToString()))
        assert again.output_type.shape == stage.graph.output_type.shape
        levels.append(Level(stage.level, again, stage.equivalences, stage.float_ties))
    verified = verify(levels, case.images)
    assert all(item.values > 0 for item in verified)
    assert all(item.differences == 0 for item in verified[1:])


def onnxruntime_computes_our_integers(case: Case) -> None:
    """onnxruntime on the network in standard operators, except on images where the compiler says float32 may err."""
    net, made = case.net, case.made
    images = pixels(made[0].graph, 12)
    graph = made[-1].graph
    standard = to_standard(net.model).SerializeToString()
    session = onnxruntime.InferenceSession(standard, one_thread(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})
    sure = ~images_with_float_ties(made[0].graph, float_ties_of(made), images)
    assert agrees(net, graph, theirs, images)[sure].all()


def one_thread() -> onnxruntime.SessionOptions:
    """Fusing gains into weights moves exact ties; without it onnxruntime does what the file says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return options


def streams_of_the_dataflow_level_have_one_reader(case: Case) -> None:
    """What is read more than once is duplicated; what is duplicated is read more than once."""
    graph = case.made[-1].graph
    for name, kind in graph.types.items():
        duplicated = isinstance(graph.maker(name), DuplicateStreams)
        assert duplicated == (graph.uses(name) > 1 and not kind.is_float), name


@few_or_many(60, 800)
def test_the_usual_form_of_qonnx_is_the_same_network(examples: int) -> None:
    """Maps channels first: our reader and onnxruntime find the same integers in it, but where float32 may err."""
    written = Counter[bool]()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks())
    def judge(net: Drawn) -> None:
        graph = read(net.model)
        try:
            model = write_network(graph)
        except Problem as refused:
            model, why = None, refused.what
        written[model is not None] += 1
        if model is None:
            assert "channels last" in why or "has no bit width" in why
            return
        onnx.checker.check_model(model, full_check=True)
        old, new = stages(graph), stages(read(onnx.ModelProto.FromString(model.SerializeToString())))
        images = pixels(old[0].graph, 6)
        sure = ~images_with_float_ties(old[0].graph, float_ties_of(old), images)
        sure &= ~images_with_float_ties(new[0].graph, float_ties_of(new), images)
        assert np.array_equal(*(results(net, made[-1].graph, images, old[-1].graph)[sure] for made in (old, new)))
        standard = to_standard(model).SerializeToString()
        session = onnxruntime.InferenceSession(standard, one_thread(), providers=["CPUExecutionProvider"])
        (theirs,) = session.run(None, {graph.input: images.astype(np.float32)})
        assert agrees(net, new[-1].graph, theirs, images)[sure].all()

    judge()
    assert written[True] > written[False]


@few_or_many(30, 800)
def test_qonnx_computes_every_tensor(examples: int) -> None:
    settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)(given(networks())(by_qonnx))()


def by_qonnx(net: Drawn) -> None:
    """qonnx on the QONNX file gives our result; on our FINN-ONNX files it gives every one of our integers."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    warnings.simplefilter("ignore")
    made = stages(read(net.model))
    images = pixels(made[0].graph, 2)
    sure = ~images_with_float_ties(made[0].graph, float_ties_of(made), images)
    original = ModelWrapper(net.model).transform(InferShapes())
    name = original.graph.output[0].name
    graph = made[-1].graph
    # qonnx computes wrong windows for batches: one image at a time.
    for image in images[sure]:
        theirs = execute_onnx(original, {"pixels": image[None].astype(np.float32)})[name]
        assert agrees(net, graph, theirs, image[None]).all()
    for stage in made[1:3]:
        wanted = reference.run(stage.graph, images)
        written = ModelWrapper(write(stage.graph))
        for index, image in enumerate(images):
            feed = {stage.graph.input: image[None].astype(np.float32)}
            found = execute_onnx(written, feed, return_full_exec_context=True)
            for tensor, values in wanted.items():
                if stage.graph.types[tensor].is_float:
                    np.testing.assert_allclose(found[tensor][0], values[index], rtol=1e-5, atol=1e-4)
                else:
                    assert np.array_equal(found[tensor][0], values[index]), (stage.level, tensor)


def test_a_tie_that_float32_rounds_differently_is_named() -> None:
    """0.1 in float32 lies above 1/10, so ten times it exceeds 1; float32 sees a tie, and sign(-0) is +1."""
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.sign()
    build.add("Gemm", build.constant(np.full((2, 10), 0.1)), transB=1)
    ones = (build.constant([-1.0, -1.0]), build.constant([0.0, 0.0]), build.constant([1.0, 0.5]))
    build.add("BatchNormalization", *ones, build.constant([1.0, 1.0]), epsilon=0.0)
    build.sign()
    build.add("Gemm", build.binary_weight(2, 2), transB=1)
    # No pixel is below 0.
    made = stages(with_contract(read(build.model((1, 1, 10), 2, annotate=True)), parse_contract("uint8, partial")))
    notes = [note for stage in made for note in stage.notes if "float32" in note]
    assert len(notes) == 1
    assert "on 1 channel (0)" in notes[0], "the mean of channel 1 lies between two sums"
    plain = stages(read(random_network(1, 1, 1, "none", "raw")))
    assert not float_ties_of(plain), "whole-number sums and means make no float ties"
    assert not any("float32" in note for stage in plain for note in stage.notes)


@pytest.mark.parametrize("gain", [2.0**-30, 2.0**-133, -(2.0**-133)])
@pytest.mark.parametrize("zero", [0, 7, -9])
def test_what_a_zero_point_takes_from_float32_is_named(zero: int, gain: float) -> None:
    """Less than nothing is rounded down to -1; with a zero point of 7, float32 adds 7 and sees 7."""
    build = Builder(np.random.default_rng(0))
    build.add("Flatten", axis=1)
    build.add("Mul", build.constant([gain]))
    limits = (build.constant(1.0), build.constant(float(zero)), build.constant(5.0))
    build.add("Quant", *limits, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="FLOOR")
    build.add("Gemm", build.binary_weight(3, 3), transB=1)
    model = build.model((1, 1, 3), 3, annotate=False)
    made = stages(with_contract(read(model), parse_contract("int8, partial")))
    images = np.array([[[[-1, 0, 1]]], [[[0, 0, 0]]], [[[-128, 127, 3]]]])
    tied = images_with_float_ties(made[0].graph, float_ties_of(made), images)
    assert tied.any() == (zero != 0)
    session = onnxruntime.InferenceSession(to_standard(model).SerializeToString(), one_thread())
    (theirs,) = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})
    mine = reference.run(made[-1].graph, images)[made[-1].graph.output]
    assert np.array_equal(mine[~tied], theirs[~tied])
    assert np.array_equal(mine, theirs) == (zero == 0), "the case is one"


def test_a_zero_gain_makes_a_constant_channel() -> None:
    sums = TensorType((1,), -9, 9, 2)
    assert threshold(Fraction(0), Fraction(0), sums) == (-9, False), "sign(0) is +1: always reached"
    assert threshold(Fraction(0), Fraction(-1, 10**30), sums) == (10, False), "never reached"


@settings(max_examples=200, deadline=None)
@given(
    st.fractions(-3, 3),
    st.fractions(-30, 30),
    st.integers(-20, 5),
    st.integers(6, 30),
    st.sampled_from([1, 2]),
)
def test_threshold_is_exact_for_every_integer(scale: Fraction, shift: Fraction, low: int, high: int, step: int) -> None:
    bound, flip = threshold(scale, shift, TensorType((1,), low, high, step))
    assert low <= bound <= high + 1
    for value in range(low, high + 1, step):
        assert (scale * value + shift >= 0) == ((value >= bound) ^ flip)


@pytest.mark.parametrize("line", ["%x : int[1] in 0..1 = Nothing(%pixels)", "what is this", "%y : float = Sign(%x) {a"])
def test_unreadable_text_names_its_line(line: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_graph(f"graph g\n%pixels : int[1] in 0..1\n{line}\nreturn %pixels\n")
    assert "line 3" in str(caught.value)
