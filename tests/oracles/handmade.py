"""Networks written operator by operator: multi-bit and residual ones, which our own training does not make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from bnnflow.transforms.writing.standard import to_standard

from ..transforms.onnx_files import QONNX, Net, by_onnxruntime

SAMPLES = 8


def four_bits(file: Path) -> Path:
    """Like CNV, on pixels as they are: weights and activations of 4 bits, the last ones signed."""
    net = Net((3, 14, 14), "UINT8", seed=5)
    net.add("Div", net.c(255.0))
    channels = 3
    for filters, pool in ((8, False), (8, True), (16, False)):
        _conv(net, net.weight(filters, channels, 3, 3), 3)
        # A scale of 1 in front of a pool: finn-plus moves no factor behind it.
        scale = 1.0 if pool else 0.25
        _norm(net, 4 * scale)
        net.quant(4, scale, signed=0)
        if pool:
            net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
        channels = filters
    net.add("Flatten", axis=1)
    net.dense(32, 16 * 3 * 3)
    _norm(net)
    net.quant(4, 0.5, narrow=1)
    net.dense(10, 32)
    return _saved(net, file)


def residual(file: Path) -> Path:
    """Zero-padded binary convolutions and two joins: of two signs, and of two 2-bit tensors of one quantizer."""
    net = Net((3, 12, 12), "UINT8", seed=6)
    net.add("Sub", net.c(127.5))
    _sign(net)
    _conv(net, _binary_weight(net, 16, 3, 3, 3), 3, pad=1)
    _norm(net)
    shortcut = _sign(net)
    _conv(net, _binary_weight(net, 16, 16, 3, 3), 3, pad=1)
    _norm(net)
    net.add("Add", _sign(net), shortcut)
    _norm(net)
    start = _sign(net)
    _conv(net, _binary_weight(net, 32, 16, 3, 3), 3, pad=1, stride=2)
    _norm(net)
    long = net.quant(2, 0.5, narrow=1)
    net.last = start
    _conv(net, _binary_weight(net, 32, 16, 1, 1), 1, stride=2)
    _norm(net)
    net.add("Add", net.quant(2, 0.5, narrow=1), long)
    net.add("GlobalAveragePool")
    net.add("Flatten", axis=1)
    net.add("Gemm", _binary_weight(net, 10, 32), transB=1)
    return _saved(net, file)


def _binary_weight(net: Net, *shape: int) -> str:
    name = f"w{len(net.nodes)}"
    inputs = [net.c(net.rng.uniform(-1, 1, shape)), net.c(1.0)]
    net.nodes.append(onnx.helper.make_node("BipolarQuant", inputs, [name], domain=QONNX))
    return name


def _conv(net: Net, weight: str, kernel: int, pad: int = 0, stride: int = 1) -> None:
    """A convolution with every attribute stated, as qonnx' lowering wants them."""
    sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "dilations": [1, 1]}
    net.add("Conv", weight, **sizes, group=1)


def _sign(net: Net) -> str:
    return net.add("BipolarQuant", net.c(1.0), domain=QONNX)


def _norm(net: Net, spread: float = 1.0) -> None:
    """A batch norm with the statistics of random images, gains of both signs and of about `spread`, none near 0."""
    model = to_standard(net.model())
    pixels = net.rng.integers(0, 256, (SAMPLES, 1, *net.shape)).astype(np.float32)
    values = np.concatenate([by_onnxruntime(model, image) for image in pixels])
    axes = (0, *range(2, values.ndim))
    channels = values.shape[1]
    gain = spread * net.rng.uniform(0.5, 1.5, channels) * net.rng.choice([-1, 1], channels)
    parameters = (gain, net.rng.uniform(-0.5, 0.5, channels), values.mean(axis=axes), values.var(axis=axes))
    net.add("BatchNormalization", *(net.c(value) for value in parameters), epsilon=1e-5)


def _saved(net: Net, file: Path) -> Path:
    onnx.save(net.model(shape=(1, 10)), file)
    return file
