"""Masks in front of a graph's layers: what they leave out can be cut without a change of any integer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.flow.pruning.fine_tune import FineTuning
from bnnflow.flow.pruning.graph_masks import layer_products, learn_graph_masks
from bnnflow.flow.pruning.trainable import Trainable
from bnnflow.models.data.load import load_dataset
from bnnflow.models.prune.masks import InputMasks, MaskSpec
from bnnflow.models.prune.structure import MaskedGroup
from bnnflow.sim import reference
from bnnflow.transforms.channels import channel_groups, cut, staying
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Conv, Dense
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.synapses import products
from tests.sim.test_norms import NETWORKS, exported, lively
from tests.transforms.test_residual_units import THRESHOLDED

from .test_concatenated import IMAGES, LABELS, branches

DIGITS = load_dataset("digits")
SPECS = {name: NETWORKS[name][0] for name in ("pool after sign", "zero padding", "joins")} | {"units": THRESHOLDED}


def graph_of(name: str, level: str, folder: Path) -> Graph:
    graph = branches() if name == "branches" else exported(lively(SPECS[name], DIGITS.train_images[:200]), folder)
    graph = AcceptInput()(graph).graph
    return graph if level == "network" else stages(graph)[1].graph


def groups_of(graph: Graph) -> list[MaskedGroup]:
    found = (group for group in channel_groups(graph) if not group.reason and group.columns)
    return [MaskedGroup(group.name, group.width, group.rows, group.columns) for group in found]


@pytest.mark.parametrize("level", ["network", "integer"])
@pytest.mark.parametrize("name", [*SPECS, "branches"])
def test_a_masked_module_computes_what_its_cut_graph_computes(name: str, level: str, tmp_path: Path) -> None:
    """Every tensor of integers, in the channels that stay, by the reference interpreter."""
    graph = graph_of(name, level, tmp_path)
    images = IMAGES[:20] if name == "branches" else DIGITS.test_images[:20]
    module, layers = Trainable(graph), [node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    module.begin(images)
    for seed in range(3):
        masks, rng = InputMasks(groups_of(graph), MaskSpec()), np.random.default_rng(seed)
        with torch.no_grad():
            for mask in masks.by_group().values():
                mask.scaled.copy_(torch.from_numpy(rng.normal(size=len(mask.scaled))))
        keep = masks.keep()
        small, stays = cut(module.first, keep), staying(module.first, keep)
        with masks.within(module.double().eval(), dict(module.weight_layers())):
            module(torch.from_numpy(images.astype(np.int64)))  # draws, as a pass does
            found = module.tensors(torch.from_numpy(images.astype(np.int64)), layers)
        wanted = reference.run(small, images)
        for layer in layers:
            ours = np.moveaxis(found[layer].detach().numpy(), 1, -1)[..., stays[layer]]
            assert np.array_equal(ours, wanted[layer]), layer
    assert not any("mask" in one for one, _ in module.named_modules()), "nothing is left behind"


@pytest.mark.parametrize("order", ["joint", "layers"])
def test_masks_of_a_group_that_several_layers_make(order: str) -> None:
    """So strong a penalty that nothing stays but what has to: a channel of each layer."""
    graph = AcceptInput()(branches()).graph
    how = FineTuning(4, 20, 0.05, 0.0, 0)
    spec = MaskSpec(1000.0, order)  # type: ignore[arg-type]
    trained, keep = learn_graph_masks(graph, IMAGES, LABELS, IMAGES, spec, how)
    assert {name: len(kept) for name, kept in keep.items()} == {"a": 2}
    again, kept = learn_graph_masks(graph, IMAGES, LABELS, IMAGES, spec, how)
    assert again == trained and np.array_equal(kept["a"], keep["a"])
    weights = [node.op.weight for node in trained.nodes if isinstance(node.op, Dense)]
    assert all(np.all(np.abs(weight) == 1) for weight in weights)


def test_products_of_layers(tmp_path: Path) -> None:
    graph = graph_of("joins", "network", tmp_path)
    assert sum(layer_products(graph).values()) == products(graph)


def test_what_has_no_channels_to_mask_is_refused() -> None:
    nodes = (Node("scores", Dense(np.ones((2, 12), np.int8)), ("x",)),)
    graph = Graph("one layer", "x", TensorType((12,), 0, 255), nodes, "scores")
    with pytest.raises(Problem, match="no layer can be made narrower"):
        learn_graph_masks(graph, IMAGES, LABELS % 2, IMAGES, MaskSpec(), FineTuning(1, 20, 0.01, 0.0, 0))
