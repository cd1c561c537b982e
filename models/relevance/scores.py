"""One entrance to all criteria."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bnnflow import CHECK_FAILED, Problem

from ..networks.twin import AnyNetwork
from ..training.flips import FlipCounts
from .criteria import CRITERIA, REDUCTIONS, Criterion
from .deep_lift import TOLERANCE
from .sample import CaptumCheck, Relevance, Sample, ScoringRequest, SetScores
from .taps import Probe

BATCH = 64
_STATISTICS = ("running_mean", "running_var")

_PER_IMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "meanabs": lambda a: a.abs().mean(2),
    "absmean": lambda a: a.mean(2),
    "possum": lambda a: a.clamp(min=0.0).mean(2),
    "imgabs": lambda a: a.sum(2).abs(),
    "maxabs": lambda a: a.abs().amax(2),
    "l2": lambda a: a.square().mean(2),
}
_FINISH: dict[str, Callable[[np.ndarray], np.ndarray]] = {"absmean": np.abs, "l2": np.sqrt}
assert set(_PER_IMAGE) == set(REDUCTIONS)


def score(
    network: AnyNetwork,
    criterion: str | Criterion,
    sample: Sample,
    seed: int = 0,
    flips: FlipCounts | None = None,
    sets: SetScores | None = None,
    batch: int = BATCH,
    by_captum: bool = True,
) -> Relevance:
    """Score every filter and neuron of every weight layer but the last; higher is more important.

    Args:
        network: its eval mode is analysed; it is not changed.
        criterion: "METHOD", "METHOD:REDUCTION" or "borda(A, B, ...)", as `criteria` lists them.
        sample: what criteria that look at images use.
        seed: of "random".
        flips: what training counted, for "flips" and "flips-step".
        sets: what chooses sets of channels, for "reconstruction".
        batch: images at a time; it has no influence on the result but for rounding.
        by_captum: whether Captum judges DeepLIFT's attributions, at one of its passes a layer.

    Raises:
        Problem: an unknown criterion; weights or norms that are not finite; a network or training without what it
            needs; scores that are not numbers; or DeepLIFT's completeness missed by more than 1e-3 anywhere, by our
            attributions or by Captum's.
    """
    began = time.perf_counter()
    wanted = Criterion.parse(criterion) if isinstance(criterion, str) else criterion
    _require_finite(network)
    check: float | None = None
    captum: CaptumCheck | None = None
    if wanted.parts:
        found = [score(network, part, sample, seed, flips, sets, batch, by_captum) for part in wanted.parts]
        scores = borda([each.scores for each in found])
        check = max((each.check for each in found if each.check is not None), default=None)
        captum = next((each.captum for each in found if each.captum is not None), None)
        images = max(each.images for each in found)
    elif wanted.reduction:
        scores, check = _reduced(network, wanted, sample, batch)
        if by_captum and CRITERIA[wanted.method].captum:
            # Captum loads matplotlib, too: longer than a small network's scores take.
            from .captum_deeplift import captum_check

            captum = captum_check(network, sample)
        images = len(sample.images)
    else:
        row = CRITERIA[wanted.method]
        scores = row.load()(ScoringRequest(network, sample, seed, flips, sets))
        images = len(sample.images) if row.looks else 0
    for name, values in scores.items():
        if not np.isfinite(values).all():
            what = f"{wanted} gives filter {int(np.argmin(np.isfinite(values)))} no number"
            raise Problem(what, name, "use another criterion", CHECK_FAILED)
    return Relevance(scores, str(wanted), check, time.perf_counter() - began, images, captum)


def _require_finite(network: AnyNetwork) -> None:
    """Refuse weights and norms that are not finite; a threshold may be, which is never or always reached."""
    held: list[tuple[str, Tensor]] = [*network.named_parameters()]
    held += [(name, tensor) for name, tensor in network.named_buffers() if name.rpartition(".")[2] in _STATISTICS]
    for name, tensor in held:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            count = int((~tensor.isfinite()).sum())
            what = f"{count} of its {tensor.numel():,} values are not finite numbers, so that no score means anything"
            raise Problem(what, name, "training diverged: train again with a lower learning rate", CHECK_FAILED)


def borda(several: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean over criteria of each filter's rank position in its layer, 0 (lowest) to 1; equal scores share theirs."""
    made = {}
    for name in (name for name in several[0] if all(name in scores for scores in several)):
        places = np.mean([ranks(scores[name]) for scores in several], axis=0)
        made[name] = places / max(1, len(places) - 1)
    return made


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank positions from 0, equal values at the mean of theirs."""
    ordered = np.sort(values)
    first, last = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right") - 1
    mean: np.ndarray = (first + last) / 2.0
    return mean


def attributions(
    network: AnyNetwork, method: str, sample: Sample, batch: int = BATCH
) -> Iterator[tuple[dict[str, Tensor], dict[str, np.ndarray], np.ndarray]]:
    """Attributions of batches of the sample, before any reduction.

    Args:
        network, sample, batch: as for `score`.
        method: one of kind "attribution".

    Yields:
        By layer (n, filters, height, width) or (n, neurons) float64 at its sign; by cut of the network (n,) what the
        sum of attributions misses; and (n,) what it should be.

    Raises:
        Problem: DeepLift's completeness is missed.
    """
    row = CRITERIA[method]
    probe, attribute = Probe.of(network, sums=not row.of_loss), row.load()
    for start in range(0, len(sample.images), batch):
        rows = np.arange(start, min(start + batch, len(sample.images)))
        x, base = probe.tensor(sample.images[rows]), probe.tensor(sample.baselines[rows % len(sample.baselines)])
        target = torch.from_numpy(np.array(sample.labels[rows], np.int64)).to(x.device)
        parts, missed, whole = attribute(probe, x, base, target)
        misses, total = {name: m.cpu().numpy() for name, m in missed.items()}, whole.cpu().numpy()
        if row.complete:
            _assert_complete(misses, total)
        yield parts, misses, total


def _reduced(
    network: AnyNetwork, wanted: Criterion, sample: Sample, batch: int
) -> tuple[dict[str, np.ndarray], float | None]:
    """Reduced attributions, and the self-check."""
    totals: dict[str, np.ndarray | float] = {}
    missed: dict[str, float] = {}
    whole, complete = 0.0, CRITERIA[wanted.method].complete
    for parts, misses, change in attributions(network, wanted.method, sample, batch):
        for name, part in parts.items():
            cells = part.reshape(*part.shape[:2], -1)
            totals[name] = totals.get(name, 0.0) + _PER_IMAGE[wanted.reduction](cells).sum(0).cpu().numpy()
        for name, miss in misses.items():
            if complete:
                worst = float((np.abs(miss) / np.maximum(1.0, np.abs(change))).max())
                missed[name] = max(missed.get(name, 0.0), worst)
            else:
                missed[name] = missed.get(name, 0.0) + float(np.abs(miss).sum())
        whole += float(np.abs(change).sum())
    finish = _FINISH.get(wanted.reduction, np.asarray)
    scores = {name: finish(np.asarray(total) / len(sample.images)) for name, total in totals.items()}
    if not missed:
        return scores, None
    worst = max(missed.values())
    return scores, worst if complete else worst / max(whole, 1e-12)


def _assert_complete(misses: dict[str, np.ndarray], change: np.ndarray) -> None:
    for name, miss in misses.items():
        error = np.abs(miss) / np.maximum(1.0, np.abs(change))
        worst = int(error.argmax())
        if not error[worst] <= TOLERANCE:
            raise Problem(
                f"DeepLift's attributions add up to {miss[worst] + change[worst]:.4f}, "
                f"but the logit differs by {change[worst]:.4f}",
                where=name,
                hint="use criterion: random, and report this network as a bug; in a network of your own, make every "
                "activation a module",
                status=CHECK_FAILED,
            )
