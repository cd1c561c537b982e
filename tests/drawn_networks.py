"""Networks as hypothesis draws them: QONNX files over all that compiles, with the values they give on sample images.

The sample values only choose statistics, so that hidden values change from image to image; they judge nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import reject
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
SAMPLES = 16
_QUANTIZERS = ("BipolarQuant", "IntQuant", "MultiThreshold", "Quant", "QuantizeLinear", "Sign")
Draw = Callable[[st.SearchStrategy[Any]], Any]

# Parameters that float32 holds, and some that it does not.
EXACT = (1.0, 0.5, 2.0, 0.25, 1.5)
ROUNDED = (0.3, 1 / 3, 0.7)


@dataclass
class Sketch:
    """An ONNX graph that grows node by node; every method takes and gives tensor names."""

    draw: Draw
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    exact: bool = True

    def pick(self, *choices: Any) -> Any:
        """One of the choices; the first is the simplest."""
        return self.draw(st.sampled_from(choices))

    def often(self) -> bool:
        """True for most networks."""
        return self.pick(True, True, True, False)

    def seldom(self) -> bool:
        """True for few networks."""
        return self.pick(False, False, False, False, False, True)

    def number(self) -> float:
        """A positive factor; one that float32 rounds only where the network is not an exact one."""
        return float(self.pick(*EXACT, *(() if self.exact else ROUNDED)))

    def constant(self, value: object, kind: type = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def node(
        self, kind: str, inputs: Sequence[str], value: np.ndarray | None, domain: str = "", **settings: Any
    ) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"n_{out}", domain=domain, **settings))
        if value is not None:
            self.values[out] = value
            axes = (0, *range(2, value.ndim))
            if kind in _QUANTIZERS and not np.any(np.ptp(value, axis=axes)):
                # Constant channels alone are refused behind the first layer.
                reject()
        return out

    def columns(self, x: str, value: np.ndarray) -> np.ndarray:
        """Values a channel, shaped for broadcasting over tensor `x` without its batch."""
        return np.asarray(value).reshape(-1, *(1,) * (self.values[x].ndim - 2))

    # -- layers ------------------------------------------------------------------------------------

    def layer_weight(self, shape: tuple[int, ...], filters: int) -> tuple[str, np.ndarray]:
        """Quantized weights; `filters` is the axis of the filters."""
        kind = self.pick("bipolar", "bipolar", "bipolar", "floats", "quant", "ternary", "intquant", "linear")
        a_filter = self.pick(False, False, True)
        tall = tuple(shape[filters] if axis == filters else 1 for axis in range(len(shape)))
        scale = self.rng.choice(np.array(EXACT[:4]), tall) if a_filter else np.full((1,), self.number())
        scale = scale.astype(np.float32)
        if kind in ("bipolar", "floats"):
            latent = self.rng.uniform(-1, 1, shape).astype(np.float32)
            values = np.where(latent >= 0, scale, -scale)
            if kind == "floats":
                return self.constant(values), values.astype(np.float64)
            step = self.constant(scale if a_filter else scale[0])
            return self.node("BipolarQuant", [self.constant(latent), step], None, DOMAIN), values.astype(np.float64)
        bits, narrow = (2, 1) if kind == "ternary" else (int(self.pick(2, 3, 4, 8)), int(self.pick(1, 0)))
        low, high = -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
        levels = self.rng.integers(low, high + 1, shape)
        if kind == "linear":
            names = [self.constant(levels, np.int8), self.constant(scale.reshape(-1) if a_filter else scale[0])]
            settings = {"axis": filters} if a_filter else {}
            return self.node("DequantizeLinear", names, None, **settings), levels * scale.astype(np.float64)
        # A latent off the middle of its step, so that rounding has one answer.
        latent = (levels + self.rng.uniform(-0.4, 0.4, shape)) * scale
        names = [self.constant(v) for v in (latent, scale if a_filter else scale[0], 0.0, float(bits))]
        settings = {"signed": 1, "narrow": narrow, "rounding_mode": "ROUND"}
        out = self.node("IntQuant" if kind == "intquant" else "Quant", names, None, DOMAIN, **settings)
        return out, levels * scale.astype(np.float64)

    def conv(self, x: str, filters: int, kernel: int, stride: int = 1, pads: Sequence[int] | None = None) -> str:
        """A convolution; pads are ONNX', begins before ends."""
        values = self.values[x]
        rank, channels = values.ndim - 2, values.shape[1]
        pads = list(pads) if pads is not None else [0] * 2 * rank
        name, weight = self.layer_weight((filters, channels, *(kernel,) * rank), 0)
        padded = np.pad(values, ((0, 0), (0, 0), *((pads[i], pads[rank + i]) for i in range(rank))))
        made = np.tensordot(
            self.windows(padded, kernel, stride), weight, ([1, *range(2 + rank, 2 + 2 * rank)], range(1, 2 + rank))
        )
        made = np.moveaxis(made, -1, 1)
        settings: dict[str, Any] = {"kernel_shape": [kernel] * rank, "strides": [stride] * rank}
        if any(pads):
            settings["pads"] = pads
        inputs = [x, name]
        if self.pick(False, False, True):
            name, bias = self.bias(made)
            inputs.append(name)
            made = made + bias.reshape(1, -1, *(1,) * rank)
        return self.node("Conv", inputs, made, **settings)

    def bias(self, made: np.ndarray) -> tuple[str, np.ndarray]:
        """A bias as floats, or as integers with a scale."""
        bias = self.some_bias(made)
        if self.rng.integers(3):
            return self.constant(bias), bias
        scale = np.float32(0.25 if self.exact else 0.3)
        levels = np.round(bias / scale)
        name = self.node("DequantizeLinear", [self.constant(levels, np.int32), self.constant(scale)], None)
        return name, levels * np.float64(scale)

    def some_bias(self, made: np.ndarray) -> np.ndarray:
        """A bias within the spread of the values that it is added to."""
        bias = self.rng.normal(0, 0.3 * max(1.0, float(made.std())), made.shape[1])
        return (np.round(bias * 4) / 4 if self.exact else bias).astype(np.float32)

    def dense(self, x: str, neurons: int) -> str:
        """A matrix product in one of the forms that exporters write."""
        values = self.values[x]
        form = self.pick("gemm", "matmul", "transposed", "gemm bias", "gemm plain")
        rows = form in ("gemm", "transposed", "gemm bias")
        features = values.shape[1]
        name, weight = self.layer_weight((neurons, features) if rows else (features, neurons), 0 if rows else 1)
        made = values @ (weight.T if rows else weight)
        if form == "matmul":
            return self.node("MatMul", [x, name], made)
        if form == "transposed":
            return self.node("MatMul", [x, self.node("Transpose", [name], None, perm=[1, 0])], made)
        inputs = [x, name]
        if form == "gemm bias":
            name, bias = self.bias(made)
            inputs.append(name)
            made = made + bias
        return self.node("Gemm", inputs, made, transB=int(rows))

    @staticmethod
    def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        """(batch, channels, places, kernel)."""
        axes = tuple(range(2, x.ndim))
        seen = np.lib.stride_tricks.sliding_window_view(x, (kernel,) * len(axes), axis=axes)
        return seen[(slice(None), slice(None), *(slice(None, None, stride) for _ in axes))]

    # -- scales and shifts -------------------------------------------------------------------------

    def norm(self, x: str) -> str:
        """A batch norm, or factors and sums, that brings the values to a spread near 1 around 0."""
        values = self.values[x]
        axes = (0, *range(2, values.ndim))
        channels, spread = values.shape[1], values.std(axis=axes).mean() + 1e-6
        unit = 2.0 ** np.round(np.log2(spread))
        centre = np.median(values, axis=axes)
        mean = np.round(centre * 2) / 2 + self.rng.integers(-1, 2, channels) * 0.5 * self.pick(0, 1)
        # Behind a gain that is no power of two, float32 may miss ties: such a channel leaves float ties on many images.
        gain = self.rng.choice(np.array([1.0, 0.5, 2.0, 1.5 if self.seldom() else 1.0]), channels)
        signs = self.pick("mixed", "mixed", "positive", "negative")
        gain *= {"mixed": self.rng.choice([-1.0, 1.0], channels), "positive": 1.0, "negative": -1.0}[signs]
        bias = self.rng.integers(-2, 3, channels) * 0.25 * self.pick(0, 1)
        if not self.exact:
            mean, gain = mean + self.rng.normal(0, 0.2, channels), gain * self.rng.uniform(0.7, 1.4, channels)
        if self.seldom():
            gain[0] = float(self.pick(0.0, 1e-40, -1e-40))
        form = self.pick("batch norm", "batch norm", "mul add", "sub div", "sub mul")
        gain, bias, mean = (v.astype(np.float32) for v in (gain, bias, mean))
        if form == "batch norm":
            epsilon = 0.0 if self.exact else 1e-5
            variance = np.full(channels, unit**2, np.float32)
            names = [self.constant(v) for v in (gain, bias, mean, variance)]
            made = (values - self.columns(x, mean)) * self.columns(x, gain / unit) + self.columns(x, bias)
            return self.node("BatchNormalization", [x, *names], made, epsilon=epsilon)
        if form == "mul add":
            factor = (gain / unit).astype(np.float32)
            shift = (bias - mean * factor).astype(np.float32)
            made = values * self.columns(x, factor)
            x = self.node("Mul", [x, self.constant(self.columns(x, factor))], made)
            return self.node("Add", [x, self.constant(self.columns(x, shift))], made + self.columns(x, shift))
        made = values - self.columns(x, mean)
        x = self.node("Sub", [x, self.constant(self.columns(x, mean))], made)
        if form == "sub div":
            divisor = np.float32(unit if self.exact else 3 * unit)
            return self.node("Div", [x, self.constant(divisor)], made / divisor)
        factor = np.float32(1 / unit)
        return self.node("Mul", [x, self.constant(factor)], made * factor)

    # -- quantizers --------------------------------------------------------------------------------

    def quantizer(self, x: str) -> str:
        """Any quantizer, mostly a sign, at times behind a ReLU or a hard tanh."""
        kind = self.pick(
            *("bipolar", "bipolar", "bipolar", "quant", "quant", "relu", "hardtanh", "sign", "linear", "stairs"),
            *("activation", "activation"),
        )
        values = self.values[x]
        if kind == "bipolar":
            return self.bipolar(x)
        if kind == "sign":
            return self.node("Sign", [x], np.sign(values))
        if kind == "relu":
            x = self.node("Relu", [x], np.maximum(values, 0))
            return self.quant(x, signed=False)
        if kind == "hardtanh":
            x = self.node("Clip", [x, self.constant(-1.0), self.constant(1.0)], np.clip(values, -1, 1))
            return self.bipolar(x) if self.pick(True, False) else self.quant(x, signed=True)
        if kind == "activation":
            x = self.activation(x)
            if self.seldom():
                # Gains of both signs, and at times another activation behind them.
                x = self.norm(x)
                x = self.activation(x) if self.seldom() else x
            # Other roundings tie at 0, where many values of a flat piece lie.
            return self.bipolar(x) if self.seldom() else self.quant(x, signed=self.pick(True, False), rounding="ROUND")
        if kind == "linear":
            return self.linear(x)
        if kind == "stairs":
            return self.stairs(x)
        return self.quant(x, signed=self.pick(True, False))

    def activation(self, x: str) -> str:
        """A monotone piecewise linear function, one for all channels or one per channel."""
        values = self.values[x]
        kind = self.pick("leaky", "prelu", "hard sigmoid", "clip", "min max", "thresholded", "shrink", "relu")
        # Slopes that float32 rounds, and flat pieces at a tie, leave float ties on whole images.
        slope = 0.25 * (float(self.pick(1.0, 2.0, 0.5)) if self.exact else self.number())
        aside = 33 / 512
        if kind == "leaky":
            slope = float(np.float32(slope))
            return self.node("LeakyRelu", [x], np.where(values >= 0, values, slope * values), alpha=slope)
        if kind == "prelu":
            count = self.pick(1, values.shape[1])
            slopes = self.columns(x, self.rng.choice([0.0, 0.5, 1.0, 2.0, slope], count).astype(np.float32))
            return self.node("PRelu", [x, self.constant(slopes)], np.where(values >= 0, values, slopes * values))
        if kind == "hard sigmoid":
            alpha = float(np.float32(self.pick(slope, -slope)))
            return self.node(
                "HardSigmoid", [x], np.clip(alpha * values + 0.5 + aside, 0, 1), alpha=alpha, beta=0.5 + aside
            )
        if kind == "clip":
            low, high = self.pick((0.0, 6.0), (-0.5 + aside, 1 + aside), (-np.inf, 0.5 + aside))
            ends = ["" if np.isinf(end) else self.constant(end) for end in (low, high)]
            return self.node("Clip", [x, *ends], np.clip(values, low, high))
        if kind == "min max":
            ends = self.columns(x, self.rng.integers(-4, 5, values.shape[1]) * 0.25 + aside)
            word, made = self.pick(("Max", np.maximum), ("Min", np.minimum))
            return self.node(word, [x, self.constant(ends)], made(values, ends))
        if kind == "thresholded":
            alpha = self.pick(0.25, 0.0, 1.0)
            return self.node("ThresholdedRelu", [x], np.where(values > alpha, values, 0), alpha=alpha)
        if kind == "shrink":
            lambd, bias = self.pick((0.25, 0.25), (0.5, 0.0), (0.25, 0.0), (0.0, 0.0))
            made = np.where(values < -lambd, values + bias, np.where(values > lambd, values - bias, 0))
            return self.node("Shrink", [x], made, lambd=lambd, bias=bias)
        return self.node("Relu", [x], np.maximum(values, 0))

    def bipolar(self, x: str, scale: float | None = None) -> str:
        scale = self.pick(1.0, 1.0, self.number()) if scale is None else scale
        made = np.where(self.values[x] >= 0, np.float32(scale), -np.float32(scale)).astype(np.float64)
        return self.node("BipolarQuant", [x, self.constant(scale)], made, DOMAIN)

    def quant(
        self,
        x: str,
        signed: bool,
        scale: float | None = None,
        bits: int | None = None,
        centred: bool = False,
        rounding: str = "",
    ) -> str:
        """`Quant` with any width, zero point (0 where it is `centred`) and rounding."""
        bits = int(self.pick(2, 3, 4, 8, 2 if signed else 1)) if bits is None else bits
        narrow = int(self.pick(0, 1)) if signed or bits > 2 else 0
        zero = 0
        # qonnx 1.0 knows ROUND_TO_ZERO under its other name only.
        rounding = rounding or self.pick("ROUND", "ROUND", "FLOOR", "CEIL", "DOWN")
        if not centred and self.seldom():
            zero, rounding = int(self.pick(1, 2, -1)), self.pick("ROUND", "FLOOR", "CEIL")
        if scale is None:
            scale = 2.0 ** (2 - bits) * self.pick(1.0, 1.0, self.number())
        steps = np.float32(scale)
        low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
        modes = {"ROUND": np.round, "FLOOR": np.floor, "CEIL": np.ceil, "DOWN": np.trunc}
        made = (modes[rounding](np.clip(self.values[x] / steps + zero, low, high)) - zero) * np.float64(steps)
        names = [self.constant(v) for v in (scale, float(zero), float(bits))]
        settings = {"signed": int(signed), "narrow": narrow, "rounding_mode": rounding}
        return self.node(self.pick("Quant", "Quant", "IntQuant"), [x, *names], made, DOMAIN, **settings)

    def linear(self, x: str) -> str:
        """QuantizeLinear and DequantizeLinear, perhaps with a Clip to fewer bits between them."""
        kind, zero = self.pick((np.int8, 0), (np.uint8, 0), (np.uint8, 3))
        scale, ends = np.float32(2.0**-2 * self.number()), np.iinfo(kind)
        step, point = self.constant(scale), self.constant(zero, kind)
        low, high = ends.min, ends.max
        codes = np.clip(np.round(self.values[x] / scale) + zero, low, high)
        out = self.node("QuantizeLinear", [x, step, point], codes)
        if self.pick(True, False):
            low, high = (-4, 3) if kind is np.int8 else (0, 7)
            codes = np.clip(codes, low, high)
            out = self.node("Clip", [out, self.constant(low, kind), self.constant(high, kind)], codes)
        return self.node("DequantizeLinear", [out, step, point], (codes - zero) * np.float64(scale))

    def stairs(self, x: str) -> str:
        """FINN's MultiThreshold on floats: thresholds per channel or for all, any scale and bias of the result."""
        values = self.values[x]
        rows, levels = self.pick(1, values.shape[1]), int(self.pick(1, 3, 7))
        bounds = np.sort(self.rng.normal(0, 1, (rows, levels)), axis=1)
        bounds = (np.round(bounds * 8) / 8 if self.exact else bounds).astype(np.float32)
        scale, bias = self.pick((1.0, 0.0), (2.0, -1.0) if levels == 1 else (0.5, 1.0), (0.5, -0.5), (1.0, -2.0))
        reached = values[..., None] >= bounds.reshape(rows, *(1,) * (values.ndim - 2), levels)
        settings = {"out_dtype": "INT4", "out_scale": scale, "out_bias": bias}
        layout = {2: "NC", 3: "NCW", 4: "NCHW"}[values.ndim]
        made = scale * reached.sum(axis=-1) + bias
        return self.node("MultiThreshold", [x, self.constant(bounds)], made, DOMAIN, data_layout=layout, **settings)

    # -- maps --------------------------------------------------------------------------------------

    def max_pool(self, x: str) -> str:
        """A max pool: plain, overlapping or padded."""
        values = self.values[x]
        rank = values.ndim - 2
        kernel, stride, pad = self.pick((2, 2, 0), (2, 2, 0), (3, 2, 1), (3, 1, 0), (2, 1, 0), (3, 3, 1))
        if min(values.shape[2:]) + 2 * pad < kernel:
            return x
        padded = np.pad(values, ((0, 0), (0, 0), *((pad, pad),) * rank), constant_values=-np.inf)
        made = self.windows(padded, kernel, stride).max(axis=tuple(range(2 + rank, 2 + 2 * rank)))
        settings: dict[str, Any] = {"pads": [pad] * 2 * rank} if pad else {}
        return self.node("MaxPool", [x], made, kernel_shape=[kernel] * rank, strides=[stride] * rank, **settings)

    def average_pool(self, x: str, everything: bool) -> str:
        """The average of windows of 2 (of 3, seldom), or of the whole map."""
        values = self.values[x]
        rank = values.ndim - 2
        axes = tuple(range(2, 2 + rank))
        if everything:
            return self.node("GlobalAveragePool", [x], values.mean(axis=axes, keepdims=True))
        kernel, stride = self.pick((2, 2), (2, 1), (3, 2))
        if min(values.shape[2:]) < kernel:
            return x
        made = self.windows(values, kernel, stride).mean(axis=tuple(range(2 + rank, 2 + 2 * rank)))
        return self.node("AveragePool", [x], made, kernel_shape=[kernel] * rank, strides=[stride] * rank)

    def truncated_pool(self, x: str, scale: float, bits: int) -> str:
        """Average pool as Brevitas exports it: the sum, cut to the bits of its inputs by `Trunc`."""
        values = self.values[x]
        rank = values.ndim - 2
        if min(values.shape[2:]) < 2:
            return x
        mean = self.windows(values, 2, 2).mean(axis=tuple(range(2 + rank, 2 + 2 * rank)))
        x = self.node("AveragePool", [x], mean, kernel_shape=[2] * rank, strides=[2] * rank)
        area = 2.0**rank
        x = self.node("Mul", [x, self.constant(area)], mean * area)
        names = [self.constant(v) for v in (scale, 0.0, float(bits + rank), float(bits))]
        rounding = self.pick("FLOOR", "ROUND", "CEIL")
        mode = {"FLOOR": np.floor, "ROUND": np.round, "CEIL": np.ceil}[rounding]
        made = mode(np.round(mean * area / scale) / area) * scale
        return self.node("Trunc", [x, *names], made, DOMAIN, rounding_mode=rounding)

    def pad(self, x: str, value: float, sides: Sequence[int] | None = None) -> str:
        """A Pad node."""
        values = self.values[x]
        rank = values.ndim - 2
        sides = list(sides) if sides is not None else [1] * 2 * rank
        made = np.pad(
            values,
            ((0, 0), (0, 0), *((sides[i], sides[rank + i]) for i in range(rank))),
            constant_values=value,
        )
        whole = [0, 0, *sides[:rank], 0, 0, *sides[rank:]]
        return self.node("Pad", [x, self.constant(whole, np.int64), self.constant(value)], made)

    def join(self, *parts: str) -> str:
        return self.node("Concat", parts, np.concatenate([self.values[p] for p in parts], axis=1), axis=1)

    def add(self, a: str, b: str) -> str:
        return self.node("Add", [a, b], self.values[a] + self.values[b])

    def flatten(self, x: str) -> str:
        values = self.values[x]
        made = values.reshape(len(values), -1)
        if self.pick(True, True, False):
            return self.node("Flatten", [x], made, axis=1)
        return self.node("Reshape", [x, self.constant([1, made.shape[1]], np.int64)], made)

    def model(self, output: str, indices: bool = False) -> onnx.ModelProto:
        """The file, its input annotated as 8-bit pixels."""
        kind, shape = (TensorProto.INT64 if indices else TensorProto.FLOAT), self.values[output].shape[1:]
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, *self.values["pixels"].shape[1:]])],
            [helper.make_tensor_value_info(output, kind, [1, *shape])],
            self.weights,
        )
        entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
        graph.quantization_annotation.append(
            onnx.TensorAnnotation(tensor_name="pixels", quant_parameter_tensor_names=[entry])
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@dataclass(frozen=True)
class Drawn:
    """A network, and what its end is: "scores", "classes" (indices) or "softmax"."""

    model: onnx.ModelProto
    end: str
    exact: bool

    def __repr__(self) -> str:
        kinds = " ".join(node.op_type for node in self.model.graph.node)
        return f"Drawn({kinds}, {self.end}, exact={self.exact})"


def _image(net: Sketch, shape: tuple[int, ...]) -> str:
    """Pixels, and what stands in front of the first layer."""
    net.values["pixels"] = net.rng.integers(0, 256, (SAMPLES, *shape)).astype(np.float64)
    kind = net.pick("raw", "quant", "sign", "byte")
    if kind == "raw":
        return "pixels"
    if kind == "byte" and not net.exact:
        x = net.node("Div", ["pixels", net.constant(255.0)], net.values["pixels"] / 255)
        scale = np.float32(1 / 255)
        names = [net.constant(v) for v in (scale, 0.0, 8.0)]
        made = np.round(net.values[x] / scale) * np.float64(scale)
        return net.node("Quant", [x, *names], made, DOMAIN, signed=0, narrow=0, rounding_mode="ROUND")
    half = 127.5 if kind == "sign" else 128.0
    x = net.node("Sub", ["pixels", net.constant(half)], net.values["pixels"] - half)
    x = net.node("Div", [x, net.constant(128.0)], net.values[x] / 128)
    return net.bipolar(x, 1.0) if kind == "sign" else net.quant(x, True, 1 / 128, 8)


def _convolution(net: Sketch, x: str, filters: int | None = None, same: bool = False) -> str:
    """A convolution with any border; `same` keeps the map's size."""
    values = net.values[x]
    rank, size = values.ndim - 2, min(values.shape[2:])
    kernel = int(net.pick(3, 3, 1, 5))
    if not same and kernel > size:
        kernel = 1
    stride = 1 if same else int(net.pick(1, 1, 1, 2))
    filters = int(net.pick(4, 3, 5)) if filters is None else filters
    half = kernel // 2
    border = net.pick("zero", "zero", "none", "pad", "uneven")
    if not half or (border == "none" and not same):
        return net.conv(x, filters, kernel, stride)
    if border == "pad":
        ends = {(float(part.min()), float(part.max())) for part in np.moveaxis(values, 1, 0)}
        value = ends.pop()[net.pick(0, 1)] if len(ends) == 1 and net.exact else 0.0
        return net.conv(net.pad(x, value, [half] * 2 * rank), filters, kernel, stride)
    if border == "uneven" and not same:
        return net.conv(x, filters, kernel, stride, [half] * rank + [int(net.pick(0, 1))] * rank)
    return net.conv(x, filters, kernel, stride, [half] * 2 * rank)


def _quantized(net: Sketch, x: str, pool: bool = True) -> str:
    """Norm and quantizer, at times with a pool in front of either or behind."""
    place = net.pick("none", "none", "first", "middle", "last") if pool and net.values[x].ndim > 2 else "none"
    if place == "first":
        x = net.max_pool(x)
    x = net.norm(x)
    if place == "middle":
        x = net.max_pool(x)
    x = net.quantizer(x)
    return net.max_pool(x) if place == "last" else x


def _residual(net: Sketch, x: str) -> str:
    """Two branches of one shape added: one quantizer's scale for both, a common step, or raw sums and a sign."""
    kind = net.pick("shared", "step", *(("raw",) if net.exact else ()))
    channels = net.values[x].shape[1]
    y = net.norm(_convolution(net, x, channels, same=True))
    if kind == "shared":
        scale, bits = 0.5 * net.number(), int(net.pick(2, 4))
        short = net.quant(net.norm(net.conv(x, channels, 1)), True, scale, bits)
        return net.add(short, net.quant(y, True, scale, bits))
    if kind == "step":
        scale = net.number()
        short = net.bipolar(net.norm(net.conv(x, channels, 1)), scale)
        ratios = (0.5, 1.5, 1.0) if net.exact else (0.5, 2.0, 1.0)
        return net.add(net.quant(y, True, scale * net.pick(*ratios), 3), short)
    # The sums of one layer go into a sign and around the next layer.
    sums = _convolution(net, x, channels, same=True)
    return net.add(sums, _convolution(net, net.bipolar(net.norm(sums), 1.0), channels, same=True))


def _block(net: Sketch, x: str) -> str:
    """One to three layers on a map."""
    kind = net.pick("plain", "branches", "residual", "average", "plain", "residual")
    if kind == "plain" or x == "pixels":
        return _quantized(net, _convolution(net, x))
    if kind == "residual":
        return _quantized(net, _residual(net, x))
    if kind == "average":
        if net.pick(True, False):
            bits, scale = int(net.pick(2, 4)), 2.0**-2
            x = net.quant(net.norm(net.conv(x, 4, 1)), False, scale, bits, centred=True)
            return net.truncated_pool(x, scale, bits)
        return _quantized(net, net.average_pool(_quantized(net, _convolution(net, x), pool=False), False), pool=False)
    branches = [net.bipolar(net.norm(_convolution(net, x, same=True)), 1.0) for _ in range(net.pick(2, 3))]
    if net.pick(False, True):
        branches.append(net.quant(net.norm(_convolution(net, x, same=True)), True, net.pick(1.0, 0.5), 2))
    return net.join(*branches)


def _end(net: Sketch, x: str) -> Drawn:
    x = net.dense(x, 3)
    kind = net.pick("none", "scale", "classes", "divide", "softmax", "argmax", "topk")
    values = net.values[x]
    if kind == "scale":
        x = net.node("Mul", [x, net.constant(0.37)], values * 0.37)
        x = net.node("Add", [x, net.constant(-1.25)], net.values[x] - 1.25)
    elif kind == "classes":
        x = net.node("Mul", [x, net.constant([0.5, -2.0, 0.3])], values * [0.5, -2.0, 0.3])
        x = net.node("Add", [x, net.constant([1.0, 0.0, -0.25])], net.values[x] + [1.0, 0.0, -0.25])
    elif kind == "divide":
        x = net.node("Sub", [net.constant(0.7), x], 0.7 - values)
        x = net.node("Div", [x, net.constant(3.0)], net.values[x] / 3)
    elif kind == "softmax":
        x = net.node("Softmax", [x], values, axis=1)
    elif kind == "argmax":
        x = net.node("ArgMax", [x], values.argmax(axis=1)[:, None], axis=1, keepdims=1)
    elif kind == "topk":
        best, count = f"t{len(net.nodes)}", net.constant([2], np.int64)
        net.nodes.append(helper.make_node("TopK", [x, count], [f"{best}_values", best], name=f"n_{best}", axis=1))
        net.values[best] = np.argsort(-values, axis=1, kind="stable")[:, :2]
        x = best
    end = {"softmax": "softmax", "argmax": "classes", "topk": "classes"}.get(kind, "scores")
    return Drawn(net.model(x, end == "classes"), end, net.exact)


@st.composite
def networks(draw: Draw) -> Drawn:
    """A network of up to four blocks and two hidden dense layers."""
    net = Sketch(draw, np.random.default_rng(draw(st.integers(0, 2**20))))
    net.exact = net.often()
    form = net.pick("map", "map", "map", "map", "line", "vector")
    if form == "vector":
        x = _image(net, (int(net.pick(12, 9, 20)),))
    else:
        channels = int(net.pick(2, 1, 3))
        sizes = [int(net.pick(6, 7, 8)) for _ in range(2)] if form == "map" else [int(net.pick(12, 11, 16))]
        x = _image(net, (channels, *sizes))
        for _ in range(net.pick(1, 2, 2, 3)):
            x = _block(net, x)
        if net.pick(False, False, True):
            x = net.average_pool(x, True)
            x = net.quantizer(net.norm(x)) if net.pick(True, False) else x
        x = net.flatten(x)
    for _ in range(net.pick(0, 1, 2) if form != "vector" else net.pick(1, 2)):
        x = net.quantizer(net.norm(net.dense(x, int(net.pick(6, 4, 8)))))
    return _end(net, x)
