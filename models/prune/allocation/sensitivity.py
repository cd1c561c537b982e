"""How accuracy falls as one group of channels after the other loses its lowest ones.

A candidate is what stays of every group; how its accuracy is measured is the caller's business. What was measured is
kept in a folder, one file a candidate, so that an interrupted table resumes, and is the same for any number of
processes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...store import write_atomically
from ..widths import highest

SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)

Keep = Mapping[str, np.ndarray]
Measure = Callable[[Keep], float]


@dataclass(frozen=True, slots=True)
class SensitivityCurve:
    """Accuracy of the network without the lowest channels of one group.

    Attributes:
        group: its name.
        width: its channels.
        removed: how many of them went, ascending, from 0.
        accuracy: for each, the share of images classified right.
    """

    group: str
    width: int
    removed: tuple[int, ...]
    accuracy: tuple[float, ...]

    def losses(self) -> np.ndarray:
        """Accuracy lost at each of `removed`: the nearest sequence that never falls (isotonic), and at least 0."""
        lost = monotone(self.accuracy[0] - np.array(self.accuracy))
        return np.maximum(lost - lost[0], 0.0)

    def loss(self, removed: int) -> float:
        """Accuracy that the loss of so many channels is predicted to cost, linear between what was measured."""
        return float(np.interp(removed, self.removed, self.losses()))


@dataclass(frozen=True, slots=True)
class MeasuredAccuracy:
    """A measure that remembers, in a folder, what it measured.

    Attributes:
        measure: gives the accuracy, 0 to 1, of what stays; groups that are not named stay whole.
        key: says all else that the accuracy depends on: network, images, how batch norms are measured.
        folder: one small file a candidate; None remembers nothing.
    """

    measure: Measure
    key: str
    folder: Path | None = None

    def __call__(self, keep: Keep) -> float:
        """The accuracy of a candidate, measured or remembered."""
        path = self._path(keep)
        found = self._stored(path)
        if found is None:
            found = float(self.measure(keep))
            if path is not None:
                text = json.dumps({"accuracy": found})
                write_atomically(path, lambda temporary: temporary.write_text(text))
        return found

    def _path(self, keep: Keep) -> Path | None:
        if self.folder is None:
            return None
        digest = hashlib.sha256(self.key.encode())
        for name in sorted(keep):
            digest.update(name.encode() + b"\0" + np.asarray(keep[name], np.int64).tobytes())
        return self.folder / f"{digest.hexdigest()}.json"

    @staticmethod
    def _stored(path: Path | None) -> float | None:
        """What a file says; None where it is absent or damaged."""
        if path is None:
            return None
        try:
            return float(json.loads(path.read_text())["accuracy"])
        except (OSError, ValueError, TypeError, KeyError):
            return None


def check_subset(labels: np.ndarray, classes: int) -> None:
    """Whether images can say how accurate a network is.

    Raises:
        Problem: fewer images than classes, or none of some class.
    """
    if len(labels) < classes:
        raise Problem(f"{len(labels)} validation images for {classes} classes", "validation", f"take {classes} or more")
    absent = sorted(set(range(classes)) - set(np.unique(labels).tolist()))
    if absent:
        listed = ", ".join(map(str, absent[:8])) + (", ..." if len(absent) > 8 else "")
        raise Problem(f"no validation image is of class {listed}", "validation", "take more images, or another seed")


def separates(curves: Mapping[str, SensitivityCurve], images: int) -> bool:
    """Whether a table says which group costs more: somewhere a loss is more than what one image of so many moves."""
    return any(curve.losses()[-1] > 1.0 / images for curve in curves.values())


def levels(width: int, unit: int, least: int, shares: Iterable[float] = SHARES) -> tuple[int, ...]:
    """How many of `width` channels go at each level: whole units near `share` of them, so that `least` or more stay."""
    wanted = {int(share * width / unit + 0.5) * unit for share in shares}
    return tuple(sorted(count for count in wanted if 0 < count <= width - max(1, least)))


def measure_curves(
    scores: Mapping[str, np.ndarray],
    removed: Mapping[str, Sequence[int]],
    measure: MeasuredAccuracy,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SensitivityCurve]:
    """Measure the network with the lowest channels of one group removed, for each group and each number.

    Args:
        scores: (channels,) of each group; higher is more important.
        removed: for each group, how many of its channels go.
        measure: of a candidate; with several jobs it must be picklable.
        jobs: processes; the result does not depend on it.
        progress: called with cells done and in all.

    Raises:
        Problem: a score is not finite; the message names the group.
    """
    check_scores(scores)
    cells: list[tuple[str, int]] = [("", 0), *((name, count) for name in removed for count in removed[name])]
    keeps = [{name: highest(scores[name], len(scores[name]) - count)} if name else {} for name, count in cells]
    found: list[float] = []
    for accuracy in _all(measure, keeps, jobs):
        found.append(accuracy)
        if progress is not None:
            progress(len(found), len(cells))
    table = dict(zip(cells, found, strict=True))
    return {
        name: SensitivityCurve(
            name, len(scores[name]), (0, *counts), (found[0], *(table[name, count] for count in counts))
        )
        for name, counts in removed.items()
    }


def _all(measure: MeasuredAccuracy, keeps: Sequence[Keep], jobs: int) -> Iterable[float]:
    if jobs == 1:
        return map(measure, keeps)
    from joblib import Parallel, delayed

    made: Iterable[float] = Parallel(n_jobs=jobs, return_as="generator")(delayed(measure)(keep) for keep in keeps)
    return made


def check_scores(scores: Mapping[str, np.ndarray]) -> None:
    """Whether channels can be ranked.

    Raises:
        Problem: a score is NaN or infinite; names the group and the channel.
    """
    for name, values in scores.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise Problem(f"the score of channel {bad[0]} is {values[bad[0]]}", name, "use another criterion")


def monotone(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The sequence that never falls and is nearest to `values` in squares: isotonic regression by pool-adjacent-
    violators. Source: Barlow et al., Statistical Inference under Order Restrictions, 1972."""
    means: list[float] = []
    counts: list[int] = []
    for value in np.asarray(values, np.float64).tolist():
        means.append(value)
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, count = means.pop(), counts.pop()
            means[-1] = (means[-1] * counts[-1] + mean * count) / (counts[-1] + count)
            counts[-1] += count
    return np.repeat(means, counts)
