"""CPU seconds and peak memory of compiling networks from an ONNX file to dataflow units.

    python benchmarks/compile.py [network ...]

Each network is written to a file with random weights and compiled in a process of its own: reading, streamlining
and lowering. CPU seconds are user plus system time of `read` and `stages`, without imports; peak memory is that
of the process (`getrusage`) less what it took before reading.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Weight = tuple[str, np.ndarray]


class _Network:
    """A QONNX file that grows layer by layer: weights of -1 and +1 as float32, batch norm, sign."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shape, self.now, self.last = shape, shape, "image"
        self.weight_bytes = 0
        self._node("Sub", self._constant(np.float32(127.5)))
        self.sign()

    def _constant(self, value: np.ndarray | np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *constants: str, domain: str = "", **settings: object) -> None:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *constants], [out], domain=domain, **settings))
        self.last = out

    def _weight(self, *shape: int) -> str:
        self.weight_bytes += 4 * int(np.prod(shape))
        bits = np.unpackbits(np.frombuffer(self.rng.bytes(-(-int(np.prod(shape)) // 8)), np.uint8))
        values = bits[: int(np.prod(shape))].astype(np.float32)
        values *= 2
        values -= 1
        return self._constant(values.reshape(shape))

    def sign(self) -> None:
        """BipolarQuant."""
        self._node("BipolarQuant", self._constant(np.float32(1)), domain="qonnx.custom_op.general")

    def norm(self, channels: int, fan_in: int) -> None:
        """Batch norm with gains of both signs and means within the sums."""
        values = (
            self.rng.normal(0, 1, channels),
            self.rng.normal(0, 0.3, channels),
            self.rng.normal(0, 0.3 * fan_in**0.5, channels),
            self.rng.uniform(0.5, 2, channels) * fan_in,
        )
        self._node("BatchNormalization", *(self._constant(v.astype(np.float32)) for v in values), epsilon=1e-5)

    def conv(self, filters: int, pad: int = 0) -> None:
        """3x3 convolution, batch norm and sign."""
        channels, height, width = self.now
        weight = self._weight(filters, channels, 3, 3)
        self._node("Conv", weight, kernel_shape=[3, 3], pads=[pad] * 4)
        self.now = (filters, height + 2 * pad - 2, width + 2 * pad - 2)
        self.norm(filters, 9 * channels)
        self.sign()

    def pool(self) -> None:
        """2x2 max pool."""
        self._node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        self.now = (self.now[0], self.now[1] // 2, self.now[2] // 2)

    def dense(self, neurons: int, last: bool = False) -> None:
        """Dense layer, with batch norm and sign but for the last."""
        if len(self.now) == 3:
            self._node("Flatten", axis=1)
            self.now = (int(np.prod(self.now)),)
        self._node("Gemm", self._weight(neurons, self.now[0]), transB=1)
        fan_in, self.now = self.now[0], (neurons,)
        if not last:
            self.norm(neurons, fan_in)
            self.sign()

    def model(self) -> onnx.ModelProto:
        """The file; its input is annotated as 8-bit pixels."""
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *self.shape])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, [1, *self.now])],
            self.constants,
        )
        entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
        graph.quantization_annotation.append(
            onnx.TensorAnnotation(tensor_name="image", quant_parameter_tensor_names=[entry])
        )
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def cnv() -> _Network:
    """FINN's CNV: 64, 64, M, 128, 128, M, 256, 256, then 512, 512, 10."""
    made = _Network((3, 32, 32))
    for filters in (64, 64, 0, 128, 128, 0, 256, 256):
        made.conv(filters) if filters else made.pool()
    for neurons in (512, 512):
        made.dense(neurons)
    made.dense(10, last=True)
    return made


def vgg16() -> _Network:
    """VGG16 on ImageNet's 224x224, 138 million weights, padded by 1."""
    made = _Network((3, 224, 224))
    for filters in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        made.conv(filters, 1) if filters else made.pool()
    for neurons in (4096, 4096):
        made.dense(neurons)
    made.dense(1000, last=True)
    return made


def chain(layers: int) -> Callable[[], _Network]:
    """`layers` dense layers of 64 neurons."""

    def grow() -> _Network:
        made = _Network((64,))
        for _ in range(layers - 1):
            made.dense(64)
        made.dense(10, last=True)
        return made

    return grow


NETWORKS: dict[str, Callable[[], _Network]] = {
    "CNV": cnv,
    "VGG16": vgg16,
    **{f"chain-{layers}": chain(layers) for layers in (10, 30, 100, 300, 1000)},
}


def measure(path: Path) -> dict[str, float]:
    """Compile a file in this process; seconds and bytes."""
    import resource

    from bnnflow.transforms.passes.compile import stages
    from bnnflow.transforms.reading.read import read

    def used() -> tuple[float, int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024

    start, before = used()
    graph = read(path)
    middle, _ = used()
    made = stages(graph)
    end, peak = used()
    units = len(made[-1].graph.nodes)
    return {"read": middle - start, "compile": end - middle, "peak": peak - before, "units": units}


def make(name: str, path: Path) -> dict[str, int]:
    """Write a network's file; its number of layers and the bytes of its float32 weights."""
    network = NETWORKS[name]()
    path.write_bytes(network.model().SerializeToString())
    return {"layers": sum(n.op_type in ("Conv", "Gemm") for n in network.nodes), "bytes": network.weight_bytes}


def _apart(*arguments: str) -> dict[str, float]:
    """What this program says in a process of its own; a process inherits the peak of the one that starts it."""
    command = [sys.executable, __file__, *arguments]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Print one table."""
    match sys.argv[1:]:
        case ["--measure", path]:
            print(json.dumps(measure(Path(path))))
            return
        case ["--make", name, path]:
            print(json.dumps(make(name, Path(path))))
            return
    print(
        f"{'network':<12}{'layers':>8}{'read s':>9}{'compile s':>11}{'ms a layer':>12}{'peak MB':>9}{'x weights':>11}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or NETWORKS:
            path = str(Path(folder) / "network.onnx")
            size, found = _apart("--make", name, path), _apart("--measure", path)
            each = 1000 * (found["read"] + found["compile"]) / size["layers"]
            print(
                f"{name:<12}{size['layers']:>8}{found['read']:>9.2f}{found['compile']:>11.2f}{each:>12.2f}"
                f"{found['peak'] / 1e6:>9.0f}{found['peak'] / size['bytes']:>11.2f}"
            )


if __name__ == "__main__":
    main()
