"""Small networks and real images that the tests of models share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow.models.data.load import Dataset, load_dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.training.batchnorm import reestimate

CNN = NetworkSpec("cnn", (1, 8, 8), 10, hidden=(12,), channels=(8, 6), kernels=(3, 3), pools=(1, 2))
MLP = NetworkSpec("mlp", (1, 8, 8), 10, hidden=(16, 12))
_RESNET = NetworkSpec("resnet", (1, 8, 8), 10, (), channels=(4, 8), depths=(1, 1), padding=0, head="average")
RESIDUAL = {
    f"{join}-{shortcut}": replace(_RESNET, join=join, shortcut=shortcut)
    for join, shortcut in (("integer", "pool"), ("integer", "conv"), ("thresholded", "pool"), ("thresholded", "conv"))
}


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


def lively(spec: NetworkSpec, images: np.ndarray, seed: int = 0) -> Network:
    """An untrained network whose norms have gains of both signs and shifts, measured on `images`, in eval mode."""
    network = Network(spec, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -1.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    reestimate(network, images)
    return network
