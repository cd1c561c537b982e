"""Compiled networks for tests of approximate sums, and sums in plain integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.sim.approximation import BinaryLayer
from bnnflow.sim.reference import apply
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau, Thresholding
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.models.conftest import lively

CNN = NetworkSpec("cnn", (1, 8, 8), 10, hidden=(12,), channels=(8, 6, 5), kernels=(3, 3, 3), pools=(2, 1, 2), padding=0)
NETWORKS = {
    "zero padding, pools before norms": CNN,
    "pools after signs": replace(CNN, pool_order="after-sign"),
    "border of -1": replace(CNN, padding=-1),
    "no padding": replace(CNN, channels=(8, 6), kernels=(3, 3), pools=(2, 1), padding=None),
    "flattened sums": replace(CNN, channels=(8, 6, 5), pools=(2, 1, 1)),
    "rows": NetworkSpec("mlp", (1, 8, 8), 10, hidden=(16, 12)),
    "bit planes": replace(CNN, input="planes", planes=2),
}
IMAGES = np.random.default_rng(3).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)


@cache
def network(name: str) -> Network:
    return lively(NETWORKS[name], IMAGES)


def compiled(network: Network, keep_shape: bool = True) -> Graph:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_qonnx(network, path)
        return stages(read(path), keep_shape=keep_shape)[-1].graph


@cache
def compiled_by_name(name: str) -> Graph:
    return compiled(network(name))


def bipolar(graph: Graph) -> Graph:
    """Of rows: units of -1 and +1 in place of bits, whose sums are of such products, with thresholds apart."""
    units = [node for node in graph.nodes if isinstance(node.op, Mvau) and node.op.xnor]
    op = units[0].op
    assert isinstance(op, Mvau)
    weight = (2 * op.weight.astype(np.int8) - 1).astype(np.int8)
    sums = Node("sums", replace(op, weight=weight, bounds=NO_BOUNDS, xnor=False), ("x",))
    limits = Node("bits", Thresholding(2 * op.bounds - weight.shape[1]), ("sums",))
    scores = Node("scores", Mvau(np.eye(len(weight), dtype=np.int8), NO_BOUNDS, False), ("bits",))
    return Graph("signs", "x", TensorType((weight.shape[1],), -1, 1, 2), (sums, limits, scores), "scores")


Sum = Callable[[BinaryLayer, list[int], list[int]], int]
Bit = Callable[[BinaryLayer, list[int], list[int], int], int]


def plain(
    graph: Graph, x: np.ndarray, sums: dict[str, Sum], bits: dict[str, Bit], binary: dict[str, BinaryLayer]
) -> np.ndarray:
    """Scores, node by node by the reference; sums, or bits where the layer's tensors end, by a function each.

    Functions get the layer, inputs and weights as 0 and 1, and the threshold on popcounts of the place.
    """
    ends = {binary[name].bit: name for name in bits}
    flat = {name for name, layer in binary.items() if layer.flat}
    made = {graph.input: x.astype(np.int64)}
    for node in graph.nodes:
        if node.name not in ends and node.name not in sums:
            made[node.name] = apply(node.op, *(made[name] for name in node.inputs))
            continue
        layer = binary[ends.get(node.name, node.name)]
        given = made[graph.node(layer.name).input]
        values = np.empty((*given.shape[:-1], len(layer.op.weight)), np.int64)
        limits = np.broadcast_to(0 if layer.thresholds is None else layer.thresholds, values.shape)
        for place in np.ndindex(*values.shape):
            x01 = [int(value > 0) for value in given[place[:-1]]]
            w01 = [int(value > 0) for value in layer.op.weight[place[-1]]]
            if node.name in ends:
                values[place] = layer.low + bits[layer.name](layer, x01, w01, int(limits[place]))
            else:
                values[place] = sums[node.name](layer, x01, w01)
        if node.name not in ends and layer.op.has_bounds:
            values = layer.op.act_val + (values[..., None] >= layer.op.bounds).sum(axis=-1)
        if node.name in ends and layer.name in flat:
            values = values.reshape(len(values), -1)
        made[node.name] = values
    return made[graph.output]
