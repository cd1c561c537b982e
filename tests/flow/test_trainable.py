"""Graphs as torch modules: before training they compute what the reference computes, afterwards their graph does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from bnnflow import CHECK_FAILED, Problem
from bnnflow.flow.pruning.fine_tune import FineTuning, check_answers, fine_tune, narrow
from bnnflow.flow.pruning.trainable import Trainable, as_stored
from bnnflow.flow.pruning.trainable_layers import NormStep, Steps, TrainedAffine, TrainedConv, TrainedDense
from bnnflow.models.data.load import load_dataset
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.sim import reference
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import images_with_float_ties
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, AnyOp, Conv, Dense, Sign, Stairs, Threshold
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from bnnflow.transforms.writing.write import write
from tests.drawn_networks import Drawn, networks
from tests.sim.test_norms import CNN, NETWORKS, exported, lively
from tests.transforms.test_exact import SLOW, few_or_many, float_ties_of, pixels

DIGITS = load_dataset("digits")
IMAGES = DIGITS.train_images[:200]


def maps(module: Trainable, name: str, value: torch.Tensor) -> np.ndarray:
    """A tensor of a module in the graph's order of axes."""
    made: np.ndarray = value.detach().numpy()
    turned = made.ndim == 4 and module.first.types[name].shape != made.shape[1:]
    return np.moveaxis(made, 1, -1) if turned or name not in module._as_given and made.ndim == 4 else made


def same(one: AnyOp, other: AnyOp, kind: TensorType) -> bool:
    """Equal in effect: a row of bounds for all channels, what is beyond a range, or both signs of a quotient."""
    if isinstance(one, Threshold) and isinstance(other, Threshold):
        low, high = kind.range
        bounds = [np.clip(np.broadcast_to(op.bounds, one.bounds.shape), low, high + 1) for op in (one, other)]
        return np.array_equal(*bounds) and (one.out_bias, one.out_scale) == (other.out_bias, other.out_scale)
    if isinstance(one, Stairs) and isinstance(other, Stairs):
        return np.array_equal(one.bounds, np.broadcast_to(other.bounds, one.bounds.shape))
    if isinstance(one, Affine) and isinstance(other, Affine):
        turned = np.where(one.divisor * other.divisor < 0, -1.0, 1.0)
        pairs = ((one.scale * turned, other.scale), (one.shift, other.shift), (one.divisor * turned, other.divisor))
        return all(bool(np.all(a == b)) for a, b in pairs)
    return one == other


def assert_exact(graph: Graph, images: np.ndarray) -> Counter[str]:
    """The module of a graph against the reference, tensor by tensor; which modules it has."""
    module = Trainable(graph)
    module.begin(images)
    module.double().eval()
    assert module.first == as_stored(graph)
    for node, before in zip(module.graph().nodes, module.first.nodes, strict=True):
        assert same(node.op, before.op, graph.types[node.input]), node.name
    made = stages(module.first)
    sure = ~images_with_float_ties(module.first, float_ties_of(tuple(made)), images)
    names = [name for name, _, _ in module._plan]
    found = module.tensors(torch.from_numpy(images.astype(np.int64)), names)
    wanted = reference.run(module.first, images)
    for name in names:
        ours, theirs = maps(module, name, found[name])[sure], wanted[name][sure].astype(np.float64)
        if graph.types[name].is_float:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9, err_msg=name)
        else:
            assert np.array_equal(ours, theirs), name
    simulated = Simulator.of(made[-1].graph).classes(images)
    assert np.array_equal(module.classes(images)[sure], simulated[sure])
    return Counter(type(part).__name__ for part in module.parts.values())


@few_or_many(40, 800)
def test_drawn_networks_at_both_levels(examples: int) -> None:
    kinds: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks())
    def judge(net: Drawn) -> None:
        made = stages(read(net.model))
        for stage in made[:2]:
            assert stage.level in ("network", "integer")
            kinds.update(assert_exact(stage.graph, pixels(stage.graph, 4)))

    judge()
    assert {"NormStep", "TrainedAffine", "TrainedConv", "TrainedDense", "Steps", "Signs", "Rounding"} <= set(kinds)
    assert {"Plus", "Joined", "Total", "Pieces", "Padding", "FixedBias", "Maximum"} <= set(kinds)
