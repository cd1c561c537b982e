"""Small ONNX files for tests of reading, and what other programs make of them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.standard import to_standard

QONNX = "qonnx.custom_op.general"
FINN = "finn.custom_op.fpgadataflow"


@dataclass
class Net:
    """An ONNX file that grows operator by operator, each call naming the tensor it makes."""

    shape: tuple[int, ...]
    datatype: str = ""
    opset: int = 13
    qonnx_version: int = 2
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    last: str = "x"

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def c(self, value: object, kind: type = np.float32, datatype: str = "") -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        if datatype:
            self.notes[name] = datatype
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **settings: object) -> str:
        """Append a node; without inputs before constants (names c0, c1, ...) it reads the last tensor."""
        names = list(inputs)
        if not names or all(name[:1] in ("c", "w", "") for name in names):
            names = [self.last, *names]
        made = [f"t{len(self.nodes)}", *(f"t{len(self.nodes)}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, made, domain=domain, **settings))
        self.last = made[0]
        return made[0]

    def quant(self, bits: float = 4, scale: object = 0.25, zero: float = 0, **settings: object) -> str:
        settings = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | settings
        return self.add("Quant", self.c(scale), self.c(zero), self.c(bits), domain=QONNX, **settings)

    def weight(self, *shape: int, bits: int = 4, scale: object = 0.125) -> str:
        """A weight under a constant quantizer."""
        name = f"w{len(self.nodes)}"
        inputs = [self.c(self.rng.normal(0, 0.5, shape)), self.c(scale), self.c(0.0), self.c(float(bits))]
        kind = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
        self.nodes.append(helper.make_node("Quant", inputs, [name], domain=QONNX, **kind))
        return name

    def dense(self, neurons: int, features: int, **kind: object) -> str:
        return self.add("Gemm", self.weight(neurons, features, **kind), transB=1)  # type: ignore[arg-type]

    def conv(self, filters: int, channels: int, *kernel: int, **settings: object) -> str:
        return self.add("Conv", self.weight(filters, channels, *kernel), kernel_shape=list(kernel), **settings)

    def model(self, output: str = "", shape: tuple[object, ...] | None = None, kind: int = TensorProto.FLOAT):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.shape])],
            [helper.make_tensor_value_info(output or self.last, kind, shape)],
            self.weights,
        )
        notes = dict(self.notes) | ({"x": self.datatype} if self.datatype else {})
        for name, datatype in notes.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=datatype)
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
            )
        opsets = [
            helper.make_opsetid("", self.opset),
            helper.make_opsetid(QONNX, self.qonnx_version),
            helper.make_opsetid(FINN, 1),
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def images(net: Net | Graph, count: int = 6, seed: int = 1) -> np.ndarray:
    """Float images of a normal distribution, or integers of the annotated type."""
    shape = net.shape if isinstance(net, Net) else net.input_type.shape
    rng = np.random.default_rng(seed)
    if isinstance(net, Net) and net.datatype == "UINT8":
        return rng.integers(0, 256, (count, *shape)).astype(np.float32)
    if isinstance(net, Net) and net.datatype.startswith("INT"):
        return rng.integers(-8, 8, (count, *shape)).astype(np.float32)
    if isinstance(net, Net) and net.datatype == "BIPOLAR":
        return rng.choice([-1, 1], (count, *shape)).astype(np.float32)
    return rng.normal(0, 1, (count, *shape)).astype(np.float32)


def by_qonnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(onnx.ModelProto.FromString(model.SerializeToString())).transform(InferShapes())
        source, output = wrapped.graph.input[0].name, wrapped.graph.output[0].name
        return np.concatenate([execute_onnx(wrapped, {source: image[None]})[output] for image in x])


def by_onnxruntime(model: onnx.ModelProto, x: np.ndarray, singly: bool = False) -> np.ndarray:
    """The first output; with `singly` of image by image, one behind the other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: some})[0] for some in (x[:, None] if singly else [x])])


def ours(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    graph = read(model)
    assert parse_graph(str(graph)) == graph
    return reference.run(graph, x)[graph.output]


def same(model: onnx.ModelProto, x: np.ndarray, standard: bool = True, qonnx: bool = True) -> np.ndarray:
    """Holds the graph against qonnx, and its standard form in onnxruntime against both."""
    got = ours(model, x)
    if qonnx:
        np.testing.assert_allclose(got, by_qonnx(model, x).reshape(got.shape), rtol=1e-4, atol=1e-4)
    if standard:
        found = np.concatenate([by_onnxruntime(to_standard(model), image[None]) for image in x])
        np.testing.assert_allclose(got, found.reshape(got.shape), rtol=1e-4, atol=1e-4)
    return got


def residual(net: Net) -> None:
    """A convolution beside a shortcut, both behind quantizers of one scale."""
    shortcut = net.quant(4, 0.5)
    net.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    net.quant(4, 0.5)
    net.add("Add", net.last, shortcut)
    net.quant(4, 1.0, signed=0)
