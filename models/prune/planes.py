"""Input bit planes: how important each is, and networks that read fewer of them.

Source: Li, Zhang, Zhou, Ren, Build a compact binary neural network through bit-level sensitivity and data pruning,
arXiv:1802.00904 (CBNN): inputs as bits, sensitivity of accuracy to each, low-order ones dropped, the network retrained.
Only its abstract and summary could be read; what replaces a plane is stated at `plane_losses`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..networks.network import Network
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.injection import MemoriesOf
from ..training.train import Extras, Progress, TrainSpec
from .recovery import Recovery, Removal, rounds


@dataclass(frozen=True, slots=True)
class PlaneLoss:
    """What one input plane is worth to a network, measured without retraining.

    Attributes:
        plane: 0 is the highest bit.
        value: of the bit in a pixel: 128, 64, ...
        ones: share of +1 of each colour, over the images.
        noise: accuracy, 0 to 1, with the plane's bits drawn anew for every pixel, +1 with the colour's share; mean
            over the draws.
        noise_spread: standard deviation over the draws (0 for one draw).
        constant: accuracy with the plane's more frequent bit of each colour everywhere.
        dropped: accuracy without this plane and all lower ones, batch norms re-estimated; None for plane 0, which
            cannot be dropped.
    """

    plane: int
    value: int
    ones: tuple[float, ...]
    noise: float
    noise_spread: float
    constant: float
    dropped: float | None


def plane_losses(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    norm_images: np.ndarray,
    draws: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PlaneLoss, ...]:
    """Measure every input plane of a network, highest bit first.

    "noise" and "constant" change one plane and leave the network as it is; "dropped" is the network that `drop_planes`
    makes, behind `reestimate`.

    Args:
        network: input "planes"; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to measure accuracy on.
        norm_images: (M, C, H, W) uint8, training images for the batch norms; of more than `NORM_IMAGES` so many are
            drawn.
        draws: of the noise, at least 1.
        seed: of the noise, and of that draw.
        progress: called with planes done and their number.

    Raises:
        Problem: the network has no input planes.
    """
    entrance, count = _entrance(network), network.spec.planes
    colours = network.spec.input_shape[0]
    with torch.no_grad():
        shares = entrance(torch.from_numpy(np.array(images)).float()).mean((0, 2, 3)) * 0.5 + 0.5
    rows = []
    for plane in range(count):
        ones = shares[plane * colours : (plane + 1) * colours]
        noise = []
        for draw in range(draws):
            generator = torch.Generator().manual_seed(seed * 1000 + plane * draws + draw)
            with _replaced(entrance, plane, colours, _noise(ones, generator)):
                noise.append(accuracy(network, images, labels))
        fixed = torch.where(ones >= 0.5, 1.0, -1.0)[:, None, None]
        with _replaced(entrance, plane, colours, _fixed(fixed)):
            constant = accuracy(network, images, labels)
        dropped = None
        if plane:
            smaller = drop_planes(network, count - plane)
            reestimate(smaller, norm_images, seed=seed, most=NORM_IMAGES)
            dropped = accuracy(smaller, images, labels)
        spread = float(np.std(noise, ddof=1)) if draws > 1 else 0.0
        shown = tuple(float(one) for one in ones)
        rows.append(PlaneLoss(plane, 128 >> plane, shown, float(np.mean(noise)), spread, constant, dropped))
        if progress is not None:
            progress(plane + 1, count)
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class PlaneStep:
    """One step of `reduce_planes`: planes left, and accuracy (0 to 1) on the held images before and after recovery."""

    planes: int
    before: float
    after: float


def reduce_planes(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    recovery: TrainSpec,
    count: int | None = None,
    most: float = 0.01,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    memories: MemoriesOf | None = None,
) -> tuple[Network, list[PlaneStep]]:
    """Drop low input planes, re-estimate the batch norms, fine-tune, and re-estimate again.

    With `count` that many go at once. Otherwise one goes at a time, as long as the accuracy on the held images after
    recovery is at least the unpruned network's less `most`; the last network that held is returned.

    Args:
        network: input "planes"; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to fine-tune and re-estimate on.
        held: images and labels to judge by.
        recovery: fine-tuning after each step; its 0 epochs re-estimate alone.
        count: planes to drop; None for as many as `most` allows.
        most: accuracy that may be lost, 0 to 1.
        progress: as for `train`, for each step anew.
        checkpoint: beside it the epochs of each step are kept, so that the same call resumes from there.
        memories: of the hardware of a network, for bit errors in fine-tuning.

    Returns:
        The network in eval mode, and the steps; the last is one that lost too much where it has fewer planes than the
        network.

    Raises:
        Problem: as for `drop_planes`.
    """
    sizes = (count,) if count else (1,) * (network.spec.planes - 1) if count is None else ()

    def lowest(best: Network, number: int) -> Removal[Network] | None:
        if number > len(sizes):
            return None
        small = drop_planes(best, sizes[number - 1])
        return Removal(small, f"planes{small.spec.planes}")

    recover = Recovery(images, labels, held, recovery, checkpoint, progress, extras=Extras(memories=memories))
    floor = recover.judge(network) - most if count is None else None
    made, done = rounds(drop_planes(network, 0), lowest, recover, floor)
    return made, [PlaneStep(one.network.spec.planes, one.before, one.after) for one in done]


@torch.no_grad()
def drop_planes(network: Network, count: int) -> Network:
    """The network without its `count` lowest input planes; the first layer loses their channels.

    Weights and norms are copied; re-estimate the batch norms afterwards.

    Raises:
        Problem: the network has no input planes, or none would be left.
    """
    _entrance(network)
    if not 0 <= count < network.spec.planes:
        what = f"{count} of {network.spec.planes} planes cannot be dropped"
        raise Problem(what, "planes", f"0 to {network.spec.planes - 1}")
    small = Network(replace(network.spec, planes=network.spec.planes - count))
    left = small.spec.layers()[0].inputs
    first = network.spec.layers()[0].name
    state = {
        name: tensor[:, :left] if name.endswith(f"{first}.weight") else tensor
        for name, tensor in network.state_dict().items()
        if name in small.state_dict()
    }
    small.load_state_dict(state)
    return small.train(network.training)


def _entrance(network: Network) -> nn.Module:
    if network.spec.input != "planes":
        what = f"the network reads {network.spec.input!r}, not bit planes"
        raise Problem(what, "model.input", "train it with `input: planes`")
    return network.layers["input"]


def _fixed(values: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda bits: values.expand_as(bits)


def _noise(ones: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    def draw(bits: Tensor) -> Tensor:
        chance = torch.rand(bits.shape, generator=generator)
        return torch.where(chance < ones[:, None, None], 1.0, -1.0)

    return draw


@contextmanager
def _replaced(entrance: nn.Module, plane: int, colours: int, make: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within, one plane holds what `make` makes of its bits (N, colours, H, W)."""
    channels = slice(plane * colours, (plane + 1) * colours)

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], bits: Tensor) -> Tensor:
        changed = bits.clone()
        changed[:, channels] = make(bits[:, channels])
        return changed

    handle = entrance.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
