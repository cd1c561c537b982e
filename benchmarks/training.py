"""How much of Brevitas' time a training step takes with the signs of `models/networks/signs.py`, one thread.

    python benchmarks/training.py [ROUNDS]

Each round trains the same batches with both signs in turn; printed are the medians of the rounds' ratios. The losses of
both are compared and must be equal. bfloat16 says little on a processor without AVX-512 BF16.
"""

from __future__ import annotations

import statistics
import sys
from typing import get_args
from unittest import mock

import numpy as np
import torch
from brevitas.nn import QuantIdentity

from bnnflow.models.networks.network import Network
from bnnflow.models.networks.signs import BinarySign
from bnnflow.models.networks.zoo import zoo_spec
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import Precision, TrainSpec

BATCH, STEPS = 128, 3
NETWORKS = {"cnv": (3, 32, 32), "fashcnn": (1, 28, 28), "lfc": (1, 28, 28)}


def seconds(name: str, precision: Precision, brevitas: bool) -> tuple[float, float]:
    """Of a training step, and the loss of the last epoch."""
    network = Network(zoo_spec(name, NETWORKS[name], 10))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH * STEPS, *NETWORKS[name]), dtype=np.uint8)
    labels = rng.integers(0, 10, len(images))
    spec = TrainSpec(2, BATCH, 0.01, 0, precision=precision)
    forward = QuantIdentity.forward if brevitas else BinarySign.forward
    with mock.patch.object(BinarySign, "forward", forward):
        last = train(network, images, labels, spec)[-1]  # the first epoch warms up
    return last["seconds"] / STEPS, last["loss"]


def main(rounds: int) -> None:
    """Print a row a network and precision."""
    torch.set_num_threads(1)
    print(f"{'network':<10}{'precision':<11}{'Brevitas, ms':>13}{'ours, ms':>10}{'ratio':>7}")
    for name in NETWORKS:
        for precision in get_args(Precision):
            pairs = [(seconds(name, precision, True), seconds(name, precision, False)) for _ in range(rounds)]
            assert all(theirs[1] == ours[1] for theirs, ours in pairs), "the losses differ"
            ratio = statistics.median(ours[0] / theirs[0] for theirs, ours in pairs)
            theirs, ours = (1e3 * min(pair[which][0] for pair in pairs) for which in (0, 1))
            print(f"{name:<10}{precision:<11}{theirs:13.1f}{ours:10.1f}{ratio:7.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
