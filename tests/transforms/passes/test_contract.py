"""What a network's input means: stated, said by the file or the network, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.inputs import float_inputs, graph_inputs, image_inputs
from bnnflow.sim.verify import images_with_float_ties
from bnnflow.transforms.ir.contract import CONTRACT_KEY, InputContract, contract_of_json
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.passes.accept import AcceptInput, with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.standard import to_standard
from bnnflow.transforms.writing.write import write
from tests.transforms.onnx_files import QONNX, Net, by_onnxruntime, by_qonnx

# -- the words -------------------------------------------------------------------------------------

TYPES = ("pixels", "uint8", "int8", "uint4", "int16", "bipolar", "binary", "ternary", "fixed<8,4>", "fixed<6,-2>")
NUMBERS = st.sampled_from(["2", "0.5", "255", "127.5", "0.0078125", "(2**8-1)", "1/3"])


@st.composite
def formulas(draw: Any) -> str:
    """A formula of data, as people write it."""
    text = draw(st.sampled_from(TYPES))
    for _ in range(draw(st.integers(0, 3))):
        operation = draw(st.sampled_from(["{0}*{1}", "{1}*{0}", "{0}/{1}", "({0}+{1})", "({0}-{1})", "({1}-{0})"]))
        text = operation.format(f"({text})", draw(NUMBERS))
    return text + draw(st.sampled_from(["", ", nchw", ",nhwc", ", partial", ", nhwc, partial"]))


def by_python(text: str, data: np.ndarray) -> np.ndarray:
    """The formula's value by Python itself."""
    text = text.split(", n")[0].split(",n")[0].split(", partial")[0]
    for fixed, value in (("fixed<8,4>", "(data/16)"), ("fixed<6,-2>", "(data/256)")):
        text = text.replace(fixed, value)
    return np.asarray(eval(text, dict.fromkeys(TYPES, data) | {"data": data}), np.float64)


@given(formulas())
@settings(max_examples=100)
def test_a_formula_means_what_python_says_and_survives_files(text: str) -> None:
    contract = parse_contract(text)
    low, high, step = contract.data_range
    data = np.arange(low, high + 1, max(step, (high - low) // 50))[:, None]
    wanted = by_python(text, data.astype(np.float64))
    np.testing.assert_allclose(contract.values(data), wanted, rtol=1e-12, atol=1e-9 * np.abs(wanted).max())
    assert contract_of_json(contract.to_json()) == contract
    again = parse_contract(contract.formula())
    assert (again.datatype, again.layout, again.partial) == (contract.datatype, contract.layout, contract.partial)
    assert np.array_equal(again.values(data), contract.values(data))


@pytest.mark.parametrize(
    "text",
    ["normalize(0.5,0.5)", "Normalize((0.5,),(0.5,))", "normalize(mean=0.5, std=0.5)", "(pixels/255-0.5)/0.5",
     "normalize(std=[0.5],mean=[0.5])"],
)  # fmt: skip
def test_normalization_is_that_of_torchvision(text: str) -> None:
    pixels = np.arange(256)[:, None]
    tensor = pixels.astype(np.float32) / np.float32(255)
    wanted = (tensor - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(parse_contract(text).values(pixels, np.float32), wanted)


NO_CONTRACTS = (
    "", " ", "pixel s", "__import__('os').getcwd()", "uint99", "uint0", "int1", "float/3", "3", "pixels/pixels",
    "255/pixels", "normalize(0.5)", "normalize()", "normalize(0.5,0)", "normalize(0.5,-1)", "normalize(0.5,0.5,0.5)",
    "normalize(pixels,1)", "normalize(mean=1,mean=2)", "pixels/0", "pixels*0", "pixels,foo", "uint8 nchw", "(((",
    "pixels**2", "pixels//2", "pixels%2", "pixels/1e999", "nan", "pixels*nan", "pixels/True", "fixed<99,1>",
    "fixed<1,1>", "fixed<8>", "pixels, nchw, nhwc", "pixels/[1,[2]]x", "pixels/'255'", "pixels if 1 else 2", "[pixels]",
    "lambda: 1", "uint8;int8", "pixels/255/", "UINT8 UINT8", "nhwc", "partial", "float16*2", "0.5,0.5", "pixels/1j",
    "None", "((pixels)" * 200, "-" * 5000 + "pixels", "pixels/(2**1024)", "pixels/(-2)**0.5", "x.npy", "../x",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_CONTRACTS, ids=range(len(NO_CONTRACTS)))
def test_what_states_no_contract_is_refused(text: str) -> None:
    with pytest.raises(Problem) as found:
        parse_contract(text)
    assert found.value.hint, "says what would state one"


# -- contracts x first operators --------------------------------------------------------------------


def network(first: str, scale: float, bits: int, signed: bool, channels: int, datatype: str = "") -> Net:
    """A layer of signs behind one first operator, and class sums."""
    net = Net((channels, 3, 3), datatype, seed=bits + channels)
    if first == "shifted":
        net.add("Mul", net.c(2.0))
        net.add("Sub", net.c(1.0))
    if first == "normed":
        norm = [net.rng.uniform(0.5, 2, channels), net.rng.normal(0, 0.2, channels)]
        norm += [net.rng.normal(0, 0.2, channels), net.rng.uniform(0.5, 2, channels)]
        net.add("BatchNormalization", *(net.c(value) for value in norm))
    if first in ("sign", "shifted", "normed"):
        net.add("BipolarQuant", net.c(1.0), domain=QONNX)
    elif first == "quant":
        net.quant(bits, scale, signed=int(signed), narrow=bits % 2)
    elif first == "channels":
        net.quant(bits, scale * 2.0 ** np.arange(channels).reshape(-1, 1, 1), signed=int(signed))
    elif first == "thresholds":
        table = np.sort(net.rng.normal(0, 40 * scale, (channels, 3)), axis=1).astype(np.float32)
        net.add("MultiThreshold", net.c(table), domain=QONNX, out_dtype="UINT2", data_layout="NCHW")
    net.conv(6, channels, 2, 2)
    norm = [net.rng.uniform(0.5, 2, 6), net.rng.normal(0, 0.3, 6), net.rng.normal(0, 1, 6), net.rng.uniform(1, 9, 6)]
    net.add("BatchNormalization", *(net.c(value) for value in norm))
    net.add("BipolarQuant", net.c(1.0), domain=QONNX)
    net.add("Flatten", axis=1)
    net.dense(3, 24, bits=2, scale=1.0)
    return net


@dataclass(frozen=True)
class Case:
    """A first operator, and what the input is said to be, which may or may not fit it."""

    first: str
    scale: float
    bits: int
    signed: bool
    channels: int
    text: str

    def net(self) -> Net:
        return network(self.first, self.scale, self.bits, self.signed, self.channels)


@st.composite
def cases(draw: Any) -> Case:
    channels = draw(st.sampled_from([1, 3]))
    first = draw(st.sampled_from(["sign", "shifted", "normed", "quant", "quant", "channels", "thresholds", "none"]))
    scale = draw(st.sampled_from([1.0, 1 / 128, 1 / 255, 0.25, 1 / 8, 0.0173]))
    each = "[0.4,0.5,0.6]" if channels == 3 else "0.5"
    said = ["pixels/255", "uint8", "normalize(0.5,0.5)", f"normalize({each},{each})", "int8", "int8/128", "uint4"]
    said += ["bipolar", "fixed<8,4>", "int4*0.25+0.125", "float", "-int8/16", "pixels/127.5-1", f"pixels*{each}/100"]
    return Case(first, scale, draw(st.integers(2, 8)), draw(st.booleans()), channels, draw(st.sampled_from(said)))


def scores(graph: Graph, data: np.ndarray) -> np.ndarray:
    """Class scores, which are whole numbers here."""
    return Simulator.of(graph).scores(graph_inputs(graph, data))


def judged(case: Case, model: onnx.ModelProto, floats: np.ndarray) -> np.ndarray:
    """Class scores by onnxruntime, or by qonnx, which alone knows MultiThreshold."""
    if case.first == "thresholds":
        return by_qonnx(model, floats)
    return by_onnxruntime(to_standard(model), floats, singly=True)


@given(cases())
@settings(max_examples=70)
def test_every_level_computes_what_onnxruntime_computes_on_the_real_range(case: Case) -> None:
    """Compiled, and equal to the file on what the contract makes of data, in whatever form they are given; or refused
    with the words that say it is meant so."""
    net, text = case.net(), case.text
    model = net.model(shape=(1, 3))
    graph = with_contract(read(model), parse_contract(text))
    try:
        made = stages(graph)
    except Problem as problem:
        if "partial" not in problem.hint:
            # Floats, and channels of different steps, cannot enter a layer without a quantizer.
            if case.first != "none" or not (text == "float" or "[" in text):
                raise
            return
        made = stages(with_contract(read(model), parse_contract(f"{text}, partial")))
    first, last = made[0].graph, made[-1].graph
    kind = first.input_type
    rng = np.random.default_rng(0)
    data = kind.range[0] + kind.step * rng.integers(
        0, (kind.range[1] - kind.range[0]) // kind.step + 1, (12, *net.shape)
    )
    floats = float_inputs(first, data)
    theirs = judged(case, model, floats)
    float_ties = [each for stage in made for each in stage.float_ties]
    sure = ~images_with_float_ties(first, float_ties, data)
    wanted = np.rint(theirs[sure]).astype(np.int64)
    for stage in made:
        from_file = read(onnx.ModelProto.FromString(write(stage.graph).SerializeToString()))
        assert from_file.contract == stage.graph.contract
        assert parse_graph(str(stage.graph)) == stage.graph
        assert np.array_equal(scores(from_file, floats[sure]), wanted)
        if last.contract is not None and not last.contract.host:
            assert np.array_equal(scores(from_file, data[sure]), wanted)


@given(cases())
@settings(max_examples=30)
def test_without_a_word_the_first_quantizer_is_the_border_or_the_input_is_asked_for(case: Case) -> None:
    """Floats of any size go in as the network was trained on them: onnxruntime's answers, or a question."""
    net = case.net()
    model = net.model(shape=(1, 3))
    try:
        made = stages(read(model))
    except Problem as problem:
        if case.first != "none" or "not known what the float input holds" not in problem.what:
            raise
        return
    floats = np.random.default_rng(1).normal(0, 0.7, (8, *net.shape)).astype(np.float32)
    theirs = judged(case, model, floats)
    codes = graph_inputs(made[0].graph, floats)
    sure = ~images_with_float_ties(made[0].graph, [each for stage in made for each in stage.float_ties], codes)
    for stage in made:
        assert np.array_equal(scores(stage.graph, floats[sure]), np.rint(theirs[sure]).astype(np.int64))


# -- what files and networks say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "wanted"),
    [
        (lambda net: net.add("Div", net.c(255.0)), "UINT8"),
        (lambda net: net.add("Mul", net.c(np.float32(1 / 255))), "UINT8"),
        (lambda net: net.add("Sub", net.c(127.5)), "UINT8"),
        (lambda net: (net.add("Sub", net.c(127.5)), net.add("Div", net.c(127.5))), "FLOAT"),
        (lambda net: (net.add("Div", net.c(127.5)), net.add("Sub", net.c(1.0))), "UINT8"),
        (lambda net: (net.add("Mul", net.c(2.0)), net.add("Sub", net.c(1.0))), "FLOAT"),
        (lambda net: None, "FLOAT"),
    ],
)
def test_what_the_first_operations_say(first: Any, wanted: str) -> None:
    net = Net((4,))
    first(net)
    net.quant(8, 1 / 128, signed=1)
    net.dense(3, 4)
    contract = AcceptInput()(read(net.model())).graph.contract
    assert contract is not None and contract.source == "network"
    # A subtraction alone is seen before the division behind it.
    assert contract.datatype == ("UINT8" if net.nodes[0].op_type == "Sub" else wanted)


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT4", "INT5", "BIPOLAR", "BINARY", "TERNARY", "FIXED<8,4>"])
def test_annotations_are_contracts(datatype: str) -> None:
    net = Net((4,), datatype)
    net.dense(3, 4)
    made = stages(read(net.model()))
    contract = made[-1].graph.input_contract
    assert contract is not None
    # Integers from -1 to 1 are INT2 to hardware.
    assert contract.datatype == {"TERNARY": "INT2"}.get(datatype, datatype) and contract.source == "annotation"
    assert contract.describe(made[-1].graph.input_type).endswith("(by the file's annotation)")


@pytest.mark.parametrize("datatype", ["UINT", "INT", "FIXED<8>", "FIXED<40,4>", "PIXELS", "uint8 ", "INT0", "UINT99"])
def test_annotations_that_are_no_types_are_refused(datatype: str) -> None:
    net = Net((4,), datatype)
    net.dense(3, 4)
    if datatype == "uint8 ":
        assert stages(read(net.model()))[-1].graph.input_type.datatype == "UINT8"
        return
    with pytest.raises(Problem):
        read(net.model())


@pytest.mark.parametrize("text", ["pixels/255", "int8", "float", "uint8/256", "bipolar"])
def test_what_contradicts_the_file_is_refused(text: str) -> None:
    net = Net((4,), "UINT8")
    net.dense(3, 4)
    with pytest.raises(Problem, match="UINT8 as they are"):
        with_contract(read(net.model()), parse_contract(text))
    made = with_contract(read(net.model()), parse_contract("pixels"))
    assert made.input_contract == InputContract("UINT8")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", "null", '{"datatype": 3}', '{"datatype": "PIXELS"}', '{"datatype": "INT8"}',
     '{"datatype": "UINT8", "steps": [{"op": "Sign", "zero": 1}]}', '{"datatype": "UINT8", "steps": [{"op": "Conv"}]}',
     '{"datatype": "UINT8", "layout": "chwn"}', '{"datatype": "UINT8", "partial": "yes"}',
     '{"datatype": "UINT8", "x": 1}',
     '{"datatype": "UINT8", "steps": [{"op": "Affine", "scale": "a"}]}'],
)  # fmt: skip
def test_contracts_of_files_that_are_none_or_contradict_them_are_refused(text: str) -> None:
    net = Net((4,), "UINT8")
    net.dense(3, 4)
    model = net.model()
    onnx.helper.set_model_props(model, {CONTRACT_KEY: text})
    with pytest.raises(Problem, match="contract"):
        read(model)


def test_an_input_that_two_operations_read_has_no_border() -> None:
    net = Net((4,))
    left = net.quant(4, 0.25)
    right = net.add("BipolarQuant", "x", net.c(1.0), domain=QONNX)
    net.add("Add", left, right)
    net.dense(3, 4)
    with pytest.raises(Problem, match="not known what the float input holds"):
        stages(read(net.model()))
    made = stages(with_contract(read(net.model()), parse_contract("int8/64")))
    data = np.random.default_rng(0).integers(-128, 128, (20, 4))
    theirs = by_onnxruntime(to_standard(net.model()), (data / 64).astype(np.float32)[:1])
    assert np.allclose(Simulator.of(made[-1].graph).scores(data)[:1], theirs)


# -- data ------------------------------------------------------------------------------------------


def small(text: str, channels: int = 3) -> Graph:
    graph = read(network("sign", 1.0, 4, True, channels).model(shape=(1, 3)))
    return stages(with_contract(graph, parse_contract(text)))[-1].graph


def test_floats_that_no_data_give_are_refused() -> None:
    graph = small("pixels/255-0.5")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3, 3)).astype(np.uint8)
    values = pixels / 255 - 0.5
    for kind in (np.float64, np.float32, np.float16):
        assert np.array_equal(graph_inputs(graph, values.astype(kind)), pixels)
    source = with_contract(read(network("sign", 1.0, 4, True, 3).model(shape=(1, 3))), parse_contract("pixels/255-0.5"))
    assert np.array_equal(graph_inputs(source, values), values)
    for wrong in (values + 0.5 / 255, values * 2, pixels.astype(np.float32), values - 0.1):
        for level in (graph, source):
            with pytest.raises(Problem, match="is not the network's input of any UINT8"):
                graph_inputs(level, wrong)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32])
def test_bits_are_no_signs(kind: type) -> None:
    """A 0 is no -1, though it lies between the ends of its type."""
    graph, bits = small("bipolar"), np.random.default_rng(0).integers(0, 2, (5, 3, 3, 3))
    with pytest.raises(Problem, match="wants -1 and \\+1 alone, the images hold 0"):
        Simulator.of(graph).scores(graph_inputs(graph, bits.astype(kind)))
    signs = (2 * bits - 1).astype(np.int64)
    assert Simulator.of(graph).scores(graph_inputs(graph, signs)).shape == (5, 3)
    source = with_contract(read(network("sign", 1.0, 4, True, 3).model(shape=(1, 3))), parse_contract("bipolar"))
    with pytest.raises(Problem, match="the data are 0 to 1, the input takes BIPOLAR"):
        graph_inputs(source, bits.astype(np.int64 if kind is np.float32 else kind))


@pytest.mark.parametrize("said", ["uint8, partial", "pixels/255-0.5", "float", "int8", "binary-0.5"])
def test_false_and_true_are_data_of_two_numbers_alone(said: str) -> None:
    """A mask of pixels is not an image that is nearly black."""
    graph, mask = small(said), np.random.default_rng(0).integers(0, 2, (5, 3, 3, 3)).astype(bool)
    if said.startswith("binary"):
        assert np.array_equal(graph_inputs(graph, mask), mask)
        return
    with pytest.raises(Problem, match="the data are false and true"):
        graph_inputs(graph, mask)


def test_integers_behind_a_border_need_to_be_the_first_quantizers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 3, 3)).astype(np.uint8)
    graph = small("float")
    bits = np.where(pixels > 100, 1, -1)
    assert np.array_equal(graph_inputs(graph, bits), bits), "a sign keeps signs"
    quantized = read(network("quant", 0.25, 4, True, 3).model(shape=(1, 3)))
    scaled = stages(with_contract(quantized, parse_contract("float")))[-1]
    with pytest.raises(Problem, match="it is not known how they become the floats"):
        graph_inputs(scaled.graph, bits)
    said = with_contract(graph, parse_contract("normalize(0.5,0.5)"))
    assert np.array_equal(graph_inputs(said, pixels), np.where(pixels >= 128, 1, -1))


def test_images_of_data_sets_go_where_the_channels_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3)).astype(np.uint8)
    net = network("none", 1.0, 4, True, 3)
    graph = with_contract(read(net.model(shape=(1, 3))), parse_contract("uint8"))
    assert np.array_equal(image_inputs(stages(graph)[-1].graph, images), images), "channels first, though 3 x 3 x 3"
    flat = Net((27,))
    flat.dense(3, 27)
    read_flat = read(flat.model())
    with pytest.raises(Problem, match="in two orders"):
        image_inputs(stages(with_contract(read_flat, parse_contract("uint8")))[-1].graph, images)
    for layout, axes in (("nchw", (0, 1, 2, 3)), ("nhwc", (0, 2, 3, 1))):
        graph = stages(with_contract(read_flat, parse_contract(f"uint8, {layout}")))[-1].graph
        assert np.array_equal(image_inputs(graph, images), images.transpose(axes).reshape(4, -1))
    with pytest.raises(Problem, match="the data set holds pixels from 0 to 255"):
        image_inputs(stages(with_contract(read_flat, parse_contract("int8")))[-1].graph, images)
