"""The same networks in other programs, on one thread; each is a function of a batch of images.

Larq Compute Engine is not among them: 0.16.0 converts networks through TensorFlow 2.16 with tf-keras, which needs
numpy below 2, and bnnflow needs numpy 2. It works in an environment of its own, but not in one run with ours.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from graphs import CLASSES, NETWORKS
from torch import nn

from bnnflow.flow.graphs.oracles import openvino_compiled
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec

Run = Callable[[np.ndarray], object]
BATCH = 128


class Sign(nn.Module):
    """-1 or +1: what a binary network has for an activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of any shape."""
        return torch.sign(x)


def plain(name: str) -> nn.Sequential:
    """The network in float32, batch norms folded into biases."""
    (channels, height, _), convolutions, hidden = NETWORKS[name]
    layers: list[nn.Module] = []
    size, depth = height, channels
    for filters, pad, pool in convolutions:
        layers += [nn.Conv2d(depth, filters, 3, padding=pad), Sign()]
        layers += [nn.MaxPool2d(pool)] if pool > 1 else []
        size, depth = (size + 2 * pad - 2) // pool, filters
    layers += [nn.Flatten()] + ([] if convolutions else [Sign()])
    fan_in = size * size * depth
    for neurons in hidden:
        layers += [nn.Linear(fan_in, neurons), Sign()]
        fan_in = neurons
    return nn.Sequential(*layers, nn.Linear(fan_in, CLASSES)).eval()


def peers(name: str) -> dict[str, tuple[Run, int]]:
    """Programs by name, each with the number of images that it is to be given."""
    torch.set_num_threads(1)
    found: dict[str, tuple[Run, int]] = {}
    module, shape = plain(name), NETWORKS[name][0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain.onnx"
        example = torch.zeros(1, *shape)
        torch.onnx.export(
            module, (example,), path, dynamo=False, opset_version=13, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
        found["onnxruntime float32, batch 128"] = (_onnxruntime(path), BATCH)
        last = module.to(memory_format=torch.channels_last)

        def float32(images: np.ndarray) -> object:
            x = torch.from_numpy(images).float().to(memory_format=torch.channels_last)
            with torch.inference_mode():
                return last(x)

        found["torch float32, batch 128"] = (float32, BATCH)
        spec = _spec(name)
        if spec is not None:
            brevitas = Network(spec, 0).eval()
            export_qonnx(brevitas, Path(folder) / "network.onnx")
            found["qonnx, batch 1"] = (_qonnx(Path(folder) / "network.onnx"), 1)

            def with_brevitas(images: np.ndarray) -> object:
                with torch.inference_mode():
                    return brevitas(torch.from_numpy(images).float())

            found["Brevitas eval, batch 128"] = (with_brevitas, BATCH)
    if importlib.util.find_spec("openvino") is not None:
        found["OpenVINO BinaryConvolution, batch 32"] = (_openvino(name), 32)
    return found


def _spec(name: str) -> NetworkSpec | None:
    """The network as the project trains it, which knows no padding."""
    shape, convolutions, hidden = NETWORKS[name]
    if not convolutions:
        return NetworkSpec("mlp", shape, CLASSES, hidden, input="binary")
    if any(pad for _, pad, _ in convolutions):
        return None
    filters, pools = tuple(f for f, _, _ in convolutions), tuple(p for _, _, p in convolutions)
    return NetworkSpec("cnn", shape, CLASSES, hidden, filters, (3,) * len(filters), pools)


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"x": images.astype(np.float32)})


def _qonnx(path: Path) -> Run:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(str(path)).transform(InferShapes())
    name = model.graph.input[0].name
    return lambda images: execute_onnx(model, {name: images.astype(np.float32)})


def _openvino(name: str) -> Run:
    """Binary layers by opset-1 BinaryConvolution: bits are little-endian, padding of a 0/1 tensor means -1."""
    import openvino
    from openvino import opset1 as ops

    rng = np.random.default_rng(0)
    (channels, height, width), convolutions, hidden = NETWORKS[name]
    image = ops.parameter([32, channels, height, width], np.float32)
    x, depth, size = image, channels, height

    def binarized(x: object, count: int) -> object:
        edge = np.zeros((1, count, 1, 1), np.float32)
        return ops.fake_quantize(x, edge, edge, np.zeros(1, np.float32), np.ones(1, np.float32), 2)

    def binary(x: object, filters: int, count: int, kernel: int, pad: int) -> object:
        bits = rng.integers(0, 256, filters * count * kernel * kernel // 8).astype(np.uint8)
        packed = openvino.Tensor(bits, openvino.Shape([filters, count, kernel, kernel]), openvino.Type.u1)
        weight = openvino.op.Constant(packed, shared_memory=False)
        return ops.binary_convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1], "xnor-popcount", 0.0)

    for index, (filters, pad, pool) in enumerate(convolutions):
        if index:
            x = binary(binarized(x, depth), filters, depth, 3, pad)
        else:
            weight = rng.choice([-1.0, 1.0], (filters, depth, 3, 3)).astype(np.float32)
            x = ops.convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1])
        if pool > 1:
            x = ops.max_pool(x, [pool, pool], [0, 0], [0, 0], [pool, pool])
        size, depth = (size + 2 * pad - 2) // pool, filters
    fan_in = size * size * depth
    if not convolutions:
        fan_in = channels * height * width
    x = ops.reshape(x, np.array([32, fan_in, 1, 1]), False)
    for neurons in (*hidden, CLASSES):
        x, fan_in = binary(binarized(x, fan_in), neurons, fan_in, 1, 0), neurons
    run = openvino_compiled(openvino.Model([x], [image], "network"), 1)
    return lambda images: run(images.astype(np.float32))
