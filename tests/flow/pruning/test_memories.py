"""One fault map, everywhere the same: in torch, in the QONNX file, and in the memories that the engine and RTL read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from bnnflow import Problem
from bnnflow.flow.graphs.fault_folding import Folding, folded
from bnnflow.flow.pruning.memories import hardware_memories, stored_signs, stored_thresholds
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.own import OwnNetwork, OwnSpec
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.bit_errors import BitErrors
from bnnflow.models.training.evaluate import predict
from bnnflow.models.training.injection import injected
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import CellRate, FaultModel, Rates
from bnnflow.sim.faults.injection.layout import KINDS, memories
from bnnflow.sim.faults.injection.maps import draw_map, replaced
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import AnyOp, Conv, Dense, Mvau, XnorConv, XnorDense
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.writing.write import write
from tests.sim.test_norms import CNN, lively

NETWORKS = {
    "convolutions": replace(CNN, padding=0, scores="none"),
    "pool after sign": replace(CNN, pool_order="after-sign", scores="none"),
    "rows": NetworkSpec("mlp", (1, 8, 8), 10, hidden=(16, 12), scores="none"),
    "scaled": replace(CNN, weight_scale="channel"),
    "residual": NetworkSpec("resnet", (1, 8, 8), 10, (6,), (4, 8), padding=-1, depths=(1, 1), scores="none"),
    "ternary": NetworkSpec("mlp", (1, 8, 8), 10, hidden=(16, 12), weight_bits=2, weight_kind="ternary", scores="none"),
}
IMAGES = np.random.default_rng(3).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)


class Own(torch.nn.Module):
    """A user's own network, whose norms have gains of both signs."""

    def __init__(self) -> None:
        super().__init__()
        inside = Network(NETWORKS["convolutions"], 5)
        self.inside = inside.layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 8, 8) pixels to (N, 10) scores."""
        for module in self.inside.values():
            x = module(x)
        return x


def made(name: str) -> Network | OwnNetwork:
    if name != "own":
        return lively(NETWORKS[name], IMAGES)
    network = OwnNetwork(OwnSpec("tests.flow.pruning.test_memories:Own", {}, (1, 8, 8), 10))
    rng = np.random.default_rng(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.weight.data = torch.from_numpy(rng.uniform(-1.5, 1.5, module.num_features)).float()
    reestimate(network, IMAGES)
    return network


def built(network: Network | OwnNetwork, pe_simd: str = "2,1") -> Graph:
    return folded(stages(graph_of(network))[-1].graph, Folding(pe_simd=pe_simd), "")[0]


def signs_apart(signs: dict[str, np.ndarray]) -> bool:
    return any((one < 0).any() and (one > 0).any() for one in signs.values())


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        *((name, "flip") for name in (*NETWORKS, "own")),
        *((name, effect) for name in ("pool after sign", "ternary") for effect in ("stuck-at-0", "asymmetric")),
        *((name, "thresholds") for name in ("convolutions", "pool after sign", "rows", "scaled")),
    ],
)
def test_a_map_does_the_same_in_torch_and_in_the_hardware(name: str, effect: str, tmp_path: Path) -> None:
    network = made(name)
    graph = built(network)
    rates = Rates.of(0.1) if effect != "asymmetric" else Rates(CellRate(0.15, 0.02))
    kinds, model = (KINDS, "flip") if effect == "thresholds" else (("weights",), effect)
    hit = draw_map(graph, memories(graph, kinds), FaultModel.parse(model), rates, 7, 1)
    suffix = ".csv" if name == "rows" else ".npz"
    path = tmp_path / f"map{suffix}"
    path.write_bytes(hit.content(suffix, graph))
    pixels = image_inputs(graph, IMAGES)
    wanted = Simulator.of(replaced(graph, hit.ops(graph))).scores(pixels)
    held = hardware_memories(network, None, graph, path)
    with injected(network, BitErrors(), memories=held) as wrong:
        wrong.begin(0)
        wrong.always = True
        found = predict(network, IMAGES)
    if name == "scaled":
        assert np.allclose(found, wanted, rtol=1e-5, atol=1e-5)  # scores of different scales, in float32
    else:
        assert np.array_equal(found, wanted)
    assert not np.array_equal(found, predict(network, IMAGES))
    assert signs_apart(stored_signs(network))
    if name in ("convolutions", "rows") and effect == "flip":
        assert np.array_equal(by_qonnx(network, hit.ops(graph), IMAGES[:5], tmp_path), wanted[:5])


def by_qonnx(network: Network | OwnNetwork, wrong: Mapping[str, AnyOp], images: np.ndarray, folder: Path) -> np.ndarray:
    """Scores of the file of bits and popcounts with these units' weights, by qonnx's own executor."""
    graph = next(one.graph for one in stages(graph_of(network)) if one.level == "xnor")
    ops = {}
    for node in graph.nodes:
        if node.name in wrong:
            unit = wrong[node.name]
            assert isinstance(unit, Mvau) and isinstance(node.op, Dense | Conv | XnorDense | XnorConv)
            ops[node.name] = replace(node.op, weight=unit.weight.reshape(node.op.weight.shape))
    file = folder / "wrong.onnx"
    file.write_bytes(write(replaced(graph, ops)).SerializeToString())
    model = ModelWrapper(str(file))
    given = [{model.graph.input[0].name: image[None].astype(np.float32)} for image in images]
    return np.array([next(iter(execute_onnx(model, one).values()))[0] for one in given])


def test_other_maps_are_refused(tmp_path: Path) -> None:
    network = made("convolutions")
    graph, other = built(network), built(network, "1,1")
    path = tmp_path / "map.npz"
    flips = FaultModel.parse("flip")
    path.write_bytes(draw_map(other, memories(other), flips, Rates.of(0.1), 7, 1).content(".npz", other))
    with pytest.raises(Problem, match="another network or folding"):
        hardware_memories(network, None, graph, path)
    joined = made("residual")
    graph = built(joined)
    bounds = memories(graph, ["thresholds"])
    path.write_bytes(draw_map(graph, bounds, flips, Rates.of(0.1), 7, 1).content(".npz", graph))
    with pytest.raises(Problem, match="is not known"):
        hardware_memories(joined, None, graph, path)
    with pytest.raises(Problem, match="is not known"):
        stored_thresholds(joined)
    with pytest.raises(Problem, match="cannot be read"):
        hardware_memories(network, None, graph, tmp_path / "none.npz")
