"""A network that was trained with approximate sums gives the same bits in torch and on its compiled graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow.models.training.approximation import approximated as in_torch
from bnnflow.models.training.approximation_spec import Approximation
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.evaluate import predict
from bnnflow.sim.approximation import CapMin, LocalThresholds, approximated, mapped
from bnnflow.sim.inputs import image_inputs
from tests.models.conftest import lively
from tests.sim.approximation.approximation_graphs import IMAGES, NETWORKS, compiled

MADE = {
    **{name: spec for name, spec in NETWORKS.items() if name != "border of -1"},
    "border of -1": replace(NETWORKS["border of -1"], pool_order="after-sign"),
    "border of +1": replace(NETWORKS["border of -1"], pool_order="after-sign", padding=1),
    "strides": replace(
        NETWORKS["no padding"], channels=(8, 6, 5), kernels=(3, 3, 3), pools=(), strides=(1, 2, 1), padding=0
    ),
    "rows of signs": replace(NETWORKS["rows"], input="binary"),
}
HOWS = {
    "lta": Approximation(lta=7),
    "balanced": Approximation(lta=13, balanced=True),
    "capmin": Approximation(capmin=3, array=8),
}


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", MADE)
def test_the_same_bits_in_torch_and_simulated(name: str, how: str) -> None:
    """Norms have gains of both signs and of 0; statistics are those behind approximate sums."""
    network, given = lively(replace(MADE[name], scores="none"), IMAGES), HOWS[how]
    norm = next(module for module in reversed(list(network.modules())) if isinstance(module, torch.nn.BatchNorm1d))
    norm.weight.data[1] = 0.0
    with in_torch(network, given) as taken:
        reestimate(network, IMAGES)
        wanted = predict(network, IMAGES)
        assert np.array_equal(predict(network, IMAGES, quick=True), wanted)
    graph = compiled(network)
    layers = mapped(graph, (), thresholds=bool(given.lta))
    operator = LocalThresholds(given.lta, given.balanced) if given.lta else CapMin.between(*given.levels, given.array)
    walk = approximated(graph, {one.name: operator for one in layers})
    scores = walk.scores(image_inputs(graph, IMAGES))
    assert np.array_equal(scores, wanted)
    assert not np.array_equal(predict(network, IMAGES), wanted), "exact sums give other scores"
    assert set(taken) == {one.name for one in layers if not given.lta or one.fan_in > given.lta}
