"""Random QONNX networks, as other programs would write them, for property tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


@dataclass
class Builder:
    """An ONNX graph that grows node by node."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    last: str = "pixels"
    spread: float = 1.0
    balance: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def constant(self, value: object, kind: type = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, kind: str, *constants: str, domain: str = "", first: bool = True, **settings: object) -> str:
        out = f"t{len(self.nodes)}"
        inputs = [self.last, *constants] if first else [*constants, self.last]
        self.nodes.append(helper.make_node(kind, inputs, [out], domain=domain, **settings))
        self.last = out
        return out

    def binary_weight(self, *shape: int, scale: float = 1.0, rows: int = 0) -> str:
        """A bipolar weight; remembers the spread and centre of the sums that it makes of values in [-1, 1]."""
        values = self.rng.uniform(-1, 1, shape)
        signs = np.moveaxis(np.where(values >= 0, 1.0, -1.0), rows, 0).reshape(shape[rows], -1)
        self.spread = scale * float(np.sqrt(signs.shape[1]))
        self.balance = scale * signs.sum(axis=1)
        latent = self.constant(values)
        out = f"w{len(self.nodes)}"
        inputs = [latent, self.constant(scale)]
        self.nodes.append(helper.make_node("BipolarQuant", inputs, [out], domain=DOMAIN))
        return out

    def bias(self, channels: int) -> tuple[str, ...]:
        """A bias for every second layer."""
        if self.rng.random() < 0.5:
            return ()
        return (self.constant(self.rng.normal(0, 0.3 * self.spread, channels)),)

    def batch_norm(self, unit: float = 1.0, centre: float = 0.0) -> None:
        """Statistics near those of the sums before it; gains of either sign and 0, means on ties, biases of 0.

        Args:
            unit: spread of one input value.
            centre: mean of one input value.
        """
        channels, spread = self.balance.size, self.spread * unit
        gain = self.rng.normal(0, 1, channels)
        gain[self.rng.random(channels) < 0.15] = 0.0
        mean = self.balance * centre + self.rng.normal(0, 0.5 * spread, channels)
        if self.rng.random() < 0.5:
            mean = np.round(mean)
        bias = np.where(self.rng.random(channels) < 0.4, 0.0, self.rng.normal(0, 0.3, channels))
        variance = self.rng.uniform(0.5, 1.5, channels) * spread**2
        self.add("BatchNormalization", *(self.constant(v) for v in (gain, bias, mean, variance)), epsilon=1e-5)

    def sign(self) -> None:
        self.add("BipolarQuant", self.constant(1.0), domain=DOMAIN)

    def model(self, shape: tuple[int, ...], classes: int, annotate: bool) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, *shape])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, [1, classes])],
            self.weights,
        )
        if annotate:
            entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name="pixels", quant_parameter_tensor_names=[entry])
            )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def random_network(
    seed: int, convolutions: int, hidden: int, pool: str = "none", image: str = "bits8", closing: str = "scale"
) -> onnx.ModelProto:
    """A network on UINT8 pixels: negative and zero gains, ties, weight scales, biases, strides, oblong kernels.

    Args:
        seed: of everything random.
        convolutions, hidden: number of layers.
        pool: "none", "before-norm" or "after-sign"; one pool behind the first convolution.
        image: "bits8" (Quant), "raw" (pixels into the first layer), or "binary" (sign of the pixel).
        closing: "scale" (one scale and shift), "none", "classes" (a scale and shift per class) or "divide".
    """
    rng = np.random.default_rng(seed)
    build = Builder(rng)
    channels, height, width = int(rng.integers(1, 4)), int(rng.integers(7, 10)), int(rng.integers(7, 10))
    shape = (channels, height, width)
    if image != "raw":
        half = 127.5 if image == "binary" else 128.0
        build.add("Sub", build.constant(half))
        build.add("Div", build.constant(half))
    if image == "bits8":
        args = (build.constant(1 / 128), build.constant(0.0), build.constant(8.0))
        build.add("Quant", *args, domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")
    elif image == "binary":
        build.sign()
    for index in range(convolutions):
        filters = int(rng.integers(2, 6))
        kernel = [int(rng.integers(1, 4)), int(rng.integers(1, 4))] if index == 0 else [2, int(rng.integers(1, 3))]
        kernel = [min(kernel[0], height), min(kernel[1], width)]
        stride = [1, 1] if index or rng.random() < 0.7 else [1, 2]
        scale = float(rng.choice([1.0, 0.1, 0.5]))
        weight = build.binary_weight(filters, channels, *kernel, scale=scale)
        build.add("Conv", weight, *build.bias(filters), kernel_shape=kernel, strides=stride)
        height, width = height - kernel[0] + 1, (width - kernel[1]) // stride[1] + 1
        channels = filters
        even = pool != "none" and index == 0 and height % 2 == 0 and width % 2 == 0
        if even and pool == "before-norm":
            build.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        if index == 0 and image != "binary":
            build.batch_norm(*((74.0, 127.5) if image == "raw" else (0.58, 0.0)))
        else:
            build.batch_norm()
        build.sign()
        if even and pool == "after-sign":
            build.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        height, width = (height // 2, width // 2) if even else (height, width)
    build.add("Flatten", axis=1)
    features = channels * height * width
    for index in range(hidden):
        neurons = int(rng.integers(2, 9))
        if rng.random() < 0.5:
            build.add("Gemm", build.binary_weight(neurons, features), *build.bias(neurons), transB=1)
        else:
            build.add("MatMul", build.binary_weight(features, neurons, rows=1))
        first = convolutions == 0 and index == 0
        if first and image != "binary":
            build.batch_norm(*((74.0, 127.5) if image == "raw" else (0.58, 0.0)))
        else:
            build.batch_norm()
        build.sign()
        features = neurons
    build.add("Gemm", build.binary_weight(3, features), transB=1)
    if closing == "scale":
        build.add("Mul", build.constant(0.37))
        build.add("Add", build.constant(-1.25))
    elif closing == "classes":
        build.add("Mul", build.constant([0.5, -2.0, 0.3]))
        build.add("Add", build.constant([1.0, 0.0, -0.25]))
    elif closing == "divide":
        build.add("Sub", build.constant(0.7), first=False)
        build.add("Div", build.constant(3.0))
    return build.model(shape, 3, annotate=True)
