"""How rankings stand to chance on one trained network, without any training: a table in minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...models.prune.widths import highest
from ..results.rankings import ChanceCell
from .sensitivity import Candidates, random_group_scores

ALL = "all"
"""Name of the cell in which every group loses the same share at once."""


def against_chance(
    candidates: Candidates,
    scores: Mapping[str, Mapping[str, np.ndarray]],
    shares: Sequence[float],
    draws: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[ChanceCell]:
    """Accuracy without the lowest channels of each group, and of all groups at once, beside that of random draws.

    Batch norms are re-estimated, nothing is trained. The same draws serve every criterion.

    Args:
        candidates: the network, and the images that judge.
        scores: by criterion, for each group that is looked at the score of every channel.
        shares: of a group's channels that go, between 0 and 1; one channel of every layer stays.
        draws: random choices a cell, at least 2.
        seed: of the draws.
        progress: called with accuracies measured and in all.

    Returns:
        for each share a cell of all groups, then those of each group.
    """
    groups = {name: group for name, group in candidates.groups.items() if all(name in one for one in scores.values())}
    sets = [tuple(groups), *((name,) for name in groups if len(groups) > 1)]
    cells = []
    total, done = len(sets) * len(shares) * (draws + len(scores)), 0

    def accuracy(values: Mapping[str, np.ndarray], names: Sequence[str], share: float) -> float:
        nonlocal done
        left = {name: groups[name].width - round(share * groups[name].width) for name in names}
        kept = {name: highest(values[name], left[name], groups[name].rows.values()) for name in names}
        found = candidates({name: one for name, one in kept.items() if len(one) < groups[name].width})
        done += 1
        if progress is not None:
            progress(done, total)
        return found

    for names in sets:
        for share in shares:
            chance = [accuracy(random_group_scores(groups, seed + draw), names, share) for draw in range(draws)]
            found = {criterion: accuracy(values, names, share) for criterion, values in scores.items()}
            cells.append(
                ChanceCell(
                    group=names[0] if len(sets) > 1 and len(names) == 1 else ALL,
                    share=share,
                    mean=float(np.mean(chance)),
                    deviation=float(np.std(chance, ddof=1)),
                    accuracy=found,
                )
            )
    return cells
