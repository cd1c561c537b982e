"""Every level of random networks holds the same integers, judged by our reference, qonnx and onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow.sim import reference
from bnnflow.sim.engine import Simulator
from bnnflow.sim.verify import Level, images_in_doubt, sums_of_scores, verify
from bnnflow.transforms.compile import STAGES, stages
from bnnflow.transforms.graph import Graph
from bnnflow.transforms.passes import Pass, Rewritten, run
from bnnflow.transforms.read import read
from bnnflow.transforms.standard import to_standard
from bnnflow.transforms.write import write
from tests.networks import Builder, random_network

networks = st.builds(
    random_network,
    seed=st.integers(0, 10**6),
    convolutions=st.integers(0, 3),
    hidden=st.integers(0, 2),
    pool=st.sampled_from(["none", "before-norm", "after-sign"]),
    image=st.sampled_from(["bits8", "raw", "binary"]),
    closing=st.sampled_from(["scale", "none", "classes", "divide"]),
)


def pixels(graph: Graph, count: int = 3) -> np.ndarray:
    """Random images, among them the extremes."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, *graph.input_type.shape))
    images[0] = 0 if images.flat[0] % 2 else 255
    return images.astype(np.uint8)


def test_the_random_networks_are_alive() -> None:
    """Most hidden bits change from image to image; constant networks would prove nothing."""
    shares = []
    for seed in range(30):
        model = random_network(seed, 2, 1, ["none", "before-norm", "after-sign"][seed % 3], ["bits8", "raw"][seed % 2])
        graph = stages(read(model))[-1].graph
        tensors = reference.run(graph, pixels(graph, 40)[2:])
        shares += [np.mean(v.std(axis=0) > 0) for n, v in tensors.items() if graph.types[n].is_binary]
    assert np.mean(shares) > 0.6


@settings(max_examples=60, deadline=None)
@given(networks)
def test_every_pass_keeps_every_matched_tensor(model: onnx.ModelProto) -> None:
    """For each registered pass: old == factor * new + offset on all tensors, and equal class sums."""
    graph = stages(read(model))[0].graph
    images = pixels(graph)
    scores = reference.run(graph, images)[graph.output]

    def judge(step: Pass, old: Graph, result: Rewritten) -> None:
        before, after = reference.run(old, images), reference.run(result.graph, images)
        assert result.matches
        for match in result.matches:
            expected = match.factor * after[match.new] + match.offset
            assert np.array_equal(before[match.old], expected), (step.name, match.old, match.new)
        np.testing.assert_allclose(after[result.graph.output], scores, rtol=1e-12, atol=1e-9)

    for _, steps in STAGES:
        graph = run(steps, graph, judge).graph


@settings(max_examples=40, deadline=None)
@given(networks)
def test_engine_equals_reference_at_every_level(model: onnx.ModelProto) -> None:
    for stage in stages(read(model)):
        images = pixels(stage.graph)
        fast, slow = Simulator.of(stage.graph).tensors(images), reference.run(stage.graph, images)
        for name, values in slow.items():
            assert np.array_equal(fast[name], values), (stage.level, name)


@settings(max_examples=40, deadline=None)
@given(networks)
def test_files_and_text_hold_the_same_graph(model: onnx.ModelProto) -> None:
    """What is written is read back with the same names and integers, at every level and in both forms."""
    made = stages(read(model))
    images = pixels(made[0].graph)
    levels = [Level("network", made[0].graph)]
    for stage in made[1:]:
        assert Graph.parse(str(stage.graph)) == stage.graph
        written = write(stage.graph)
        onnx.checker.check_model(written)
        levels.append(Level(stage.level, read(written), stage.matches))
    verified = verify(levels, images)
    assert all(item.values > 0 for item in verified)


@settings(max_examples=15, deadline=None)
@given(networks)
def test_qonnx_and_onnxruntime_agree(model: onnx.ModelProto) -> None:
    """Programs we did not write compute our integers: qonnx on QONNX and FINN-ONNX, onnxruntime on the float form."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    made = stages(read(model))
    images = pixels(made[0].graph)
    graph = made[-1].graph
    wanted = sums_of_scores(graph, Simulator.of(graph).scores(images))
    # Fusing gains into weights moves exact ties; without it onnxruntime does what the file says.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    standard = to_standard(model).SerializeToString()
    session = onnxruntime.InferenceSession(standard, options, providers=["CPUExecutionProvider"])
    floats = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]
    # Where the compiler says that float32 may round a tie to the other side, float programs may differ.
    doubts = [doubt for stage in made for doubt in stage.doubts]
    sure = ~images_in_doubt(made[0].graph, doubts, images)
    assert np.array_equal(sums_of_scores(graph, floats)[sure], wanted[sure])
    for source in (*([model] if sure.all() else []), write(made[1].graph), write(made[2].graph)):
        wrapped = ModelWrapper(source).transform(InferShapes())
        for image, row in zip(images, wanted, strict=True):
            context = {wrapped.graph.input[0].name: image[None].astype(np.float32)}
            scores = execute_onnx(wrapped, context)[wrapped.graph.output[0].name]
            assert np.array_equal(sums_of_scores(graph, scores)[0], row)


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
    made = stages(read(build.model((1, 1, 10), 2, annotate=True)))
    notes = [note for stage in made for note in stage.notes]
    assert len(notes) == 1
    assert "on 1 channels (0)" in notes[0], "the mean of channel 1 lies between two sums"
    plain = stages(read(random_network(1, 1, 1, "none", "raw")))
    assert not any(stage.notes for stage in plain), "whole-number sums and means are no reason for doubt"


def test_a_zero_gain_makes_a_constant_channel() -> None:
    from fractions import Fraction

    from bnnflow.transforms.quantizers import threshold
    from bnnflow.transforms.tensor import TensorType

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
def test_threshold_is_exact_for_every_integer(scale, shift, low, high, step) -> None:  # type: ignore[no-untyped-def]
    from bnnflow.transforms.quantizers import threshold
    from bnnflow.transforms.tensor import TensorType

    bound, flip = threshold(scale, shift, TensorType((1,), low, high, step))
    assert low <= bound <= high + 1
    for value in range(low, high + 1, step):
        assert (scale * value + shift >= 0) == ((value >= bound) ^ flip)


@pytest.mark.parametrize("line", ["%x : int[1] in 0..1 = Nothing(%pixels)", "what is this", "%y : float = Sign(%x) {a"])
def test_unreadable_text_names_its_line(line: str) -> None:
    from bnnflow import Problem

    with pytest.raises(Problem) as caught:
        Graph.parse(f"graph g\n%pixels : int[1] in 0..1\n{line}\nreturn %pixels\n")
    assert "line 3" in str(caught.value)
