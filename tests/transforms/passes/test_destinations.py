"""Where operations end in hardware: judged by which unit's weights change when a layer's do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import AddStreams, Conv, Dense, Mvau, Sign, Thresholding
from bnnflow.transforms.passes.compile import STAGES, stages
from bnnflow.transforms.passes.destinations import destinations
from bnnflow.transforms.passes.reduce import Reduce
from bnnflow.transforms.passes.rewrite import Rewritten, run_passes
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks
from tests.transforms.onnx_files import Net

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
# Leaving channels out would change the weights of neighbours, too.
PASSES = [step for _, several in STAGES for step in several if not isinstance(step, Reduce)]


def compiled(graph: Graph) -> Rewritten:
    return run_passes(PASSES, graph)


def weights(graph: Graph) -> dict[str, np.ndarray]:
    return {node.name: node.op.weight for node in graph.nodes if isinstance(node.op, Mvau)}


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(networks(), st.integers(0, 2**16))
def test_a_layer_ends_in_the_unit_that_holds_its_weights(net: Drawn, seed: int) -> None:
    graph = stages(read(net.model))[0].graph
    made = compiled(graph)
    ends = destinations(graph, made.graph, [made.origins])
    assert set(ends) == {node.name for node in graph.nodes}
    layers = [node for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    assert sorted(ends[node.name] for node in layers) == sorted(f"MVAU {name}" for name in weights(made.graph))
    rng = np.random.default_rng(seed)
    layer = layers[rng.integers(len(layers))]
    assert isinstance(layer.op, Conv | Dense)
    # Another sign of one weight; a zero would stay.
    changed = layer.op.weight.copy()
    if not changed.any():
        return
    place = tuple(np.argwhere(changed)[rng.integers(np.count_nonzero(changed))])
    changed[place] = -changed[place] if changed[place] > np.iinfo(changed.dtype).min else 1
    other = graph.with_nodes(
        tuple(replace(n, op=replace(layer.op, weight=changed)) if n is layer else n for n in graph.nodes)
    )
    before, after = weights(made.graph), weights(compiled(other).graph)
    differ = [name for name in before if before[name].shape != after[name].shape or np.any(before[name] != after[name])]
    assert [f"MVAU {name}" for name in differ] == [ends[layer.name]]


def test_a_residual_block_with_a_convolution_on_its_shortcut() -> None:
    """The convolution on the shortcut stands last in the file and first in hardware's order."""
    net = Net((4, 6, 6), "UINT8")
    net.add("Sub", net.c(127.5))
    net.add("BipolarQuant", net.c(1.0), domain="qonnx.custom_op.general")
    entry = net.last
    net.add("Conv", net.weight(4, 4, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    net.quant(4, 0.5)
    net.add("Conv", net.weight(4, 4, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    net.quant(4, 0.5)
    branch = net.last
    net.add("Conv", entry, net.weight(4, 4, 1, 1), kernel_shape=[1, 1])
    net.quant(4, 0.5)
    net.add("Add", branch, net.last)
    net.add("BipolarQuant", net.c(1.0), domain="qonnx.custom_op.general")
    net.add("Flatten")
    net.dense(3, 144)
    made = stages(read(net.model()))
    ends = destinations(made[0].graph, made[-1].graph, [stage.origins for stage in made[1:]])
    shapes = {f"MVAU {n.name}": n.op.weight.shape for n in made[-1].graph.nodes if isinstance(n.op, Mvau)}
    for node in made[0].graph.nodes:
        if isinstance(node.op, Conv | Dense):
            assert shapes[ends[node.name]] == node.op.weight.reshape(len(node.op.weight), -1).shape
    joint = next(node for node in made[-1].graph.nodes if isinstance(node.op, AddStreams))
    signs = [node for node in made[0].graph.nodes if isinstance(node.op, Sign)]
    # Thresholds of a flattened map stand behind the flattening.
    behind = made[-1].graph.readers(made[-1].graph.readers(joint.name)[0].name)[0]
    assert isinstance(behind.op, Thresholding)
    assert ends[signs[-1].name] == f"thresholds of Thresholding {behind.name}"
