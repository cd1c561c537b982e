"""What a study of criteria shows: differences to chance, their intervals, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ...sim.faults.campaigns.statistics import normal, student_t, unseen
from ..results.rankings import ComparedRow, Comparison, StudyAmount, StudyRow
from ..run.typed_json import extended

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class StudyCell:
    """One pruned network.

    Args:
        seed: of the unpruned network.
        criterion, draw: what chose the channels, and which random draw.
        amount: share of each group that went.
        right: (images,) bool, which test images are classified right.
        before: accuracy on held-out training images before the fine-tuning of each round, 0 to 1.
        whole_macs, macs: binary products of an image (of a user's own network all of them), unpruned and pruned.
        seconds: that it took.
    """

    seed: int
    criterion: str
    draw: int
    amount: float
    right: np.ndarray
    before: tuple[float, ...]
    whole_macs: int
    macs: int
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of the test images, 0 to 1."""
        return float(self.right.mean())


def comparison(cells: Sequence[StudyCell], unpruned: Sequence[float]) -> Comparison:
    """Every criterion against the random draws of the same seed and amount.

    The intervals of an amount's differences hold together with 95 % or more: of k criteria each has 1 - 0.05 / k
    (Bonferroni). An interval has two parts, added in squares. One is what another network, draw, or
    order of images in fine-tuning would change: the spread of the random draws about the mean of their seed, pooled
    with the spread of the criterion's own differences over the seeds (Student's t with
    seeds * (draws - 1) + seeds - 1 degrees of freedom). The other is what other test images would change, from the
    differences on the same images.

    Args:
        cells: of all seeds, criteria, draws and amounts.
        unpruned: accuracy by seed, 0 to 1.
    """
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    amounts = [_at(amount, cells, seeds, unpruned) for amount in dict.fromkeys(cell.amount for cell in cells)]
    draws = len({cell.draw for cell in cells if cell.criterion == RANDOM})
    return Comparison(unpruned=list(unpruned), images=len(cells[0].right), seeds=seeds, draws=draws, amounts=amounts)


def _at(amount: float, every: Sequence[StudyCell], seeds: Sequence[int], unpruned: Sequence[float]) -> StudyAmount:
    cells = [cell for cell in every if cell.amount == amount]
    chance = [np.array([c.right for c in cells if c.criterion == RANDOM and c.seed == seed]) for seed in seeds]
    within = sum(float(((right.mean(1) - right.mean()) ** 2).sum()) for right in chance)
    names = list(dict.fromkeys(cell.criterion for cell in cells))
    confidence = 1 - 0.05 / max(1, len(names) - 1)
    rows: list[ComparedRow | StudyRow] = []
    for name in names:
        if name == RANDOM:
            rows.append(_row(name, [float(value) for right in chance for value in right.mean(1)], unpruned))
        else:
            mine = {cell.seed: cell.right for cell in cells if cell.criterion == name}
            rights = [mine[seed] for seed in seeds]
            row = _row(name, [float(right.mean()) for right in rights], unpruned)
            rows.append(_versus(row, rights, chance, within, confidence))
    rows.sort(key=lambda row: -row.mean)
    fewer = 1 - cells[0].macs / cells[0].whole_macs
    return StudyAmount(amount=amount, fewer=fewer, confidence=confidence, rows=rows)


def _row(name: str, accuracies: list[float], unpruned: Sequence[float]) -> StudyRow:
    mean = float(np.mean(accuracies))
    lost = mean - float(np.mean(unpruned))
    return StudyRow(criterion=name, accuracies=accuracies, mean=mean, against_unpruned=lost)


def _versus(
    row: StudyRow, rights: Sequence[np.ndarray], chance: Sequence[np.ndarray], within: float, confidence: float
) -> ComparedRow:
    """One criterion against the draws: by seed (images,) and (draws, images); `within` as `_by_choice` takes it."""
    pairs = list(zip(rights, chance, strict=True))
    apart = np.array([right - drawn.mean(0) for right, drawn in pairs])
    by_choice = _by_choice(apart.mean(1), within, len(chance[0]), apart.shape[1], confidence)
    half = sqrt(by_choice**2 + _by_images(apart.mean(0), confidence) ** 2)
    gap = float(apart.mean())
    beaten = sum(int((right.mean() > drawn.mean(1)).sum()) for right, drawn in pairs)
    verdict = "better" if gap > half else "worse" if gap < -half else "-"
    return extended(ComparedRow, row, gap=gap, half_width=half, beaten=beaten, verdict=verdict)


def _by_choice(gaps: np.ndarray, within: float, draws: int, images: int, confidence: float) -> float:
    """Half of the interval that networks, draws and orders leave: gaps (seeds,), sum of squares within the draws.

    No less than if one image came out differently in as many runs as can have gone unseen.
    """
    seeds = len(gaps)
    freedom = seeds * (draws - 1) + seeds - 1
    # A gap has the variance of one run and of the mean of the draws.
    squares = within + float(((gaps - gaps.mean()) ** 2).sum()) / (1 + 1 / draws)
    spread = student_t(freedom, confidence) * sqrt(squares / freedom * (1 + 1 / draws) / seeds)
    return max(spread, unseen(seeds * (draws + 1), confidence) / images)


def _by_images(apart: np.ndarray, confidence: float) -> float:
    """Half of the interval that the choice of test images leaves: apart (images,), mean difference on each.

    No less than if as many images as can have gone unseen were told apart, each by 1.
    """
    spread = normal(confidence) * float(apart.std(ddof=1)) / sqrt(len(apart)) if len(apart) > 1 else 1.0
    return max(spread, unseen(len(apart), confidence))


HEADINGS = ("criterion", "accuracy, % (range)", "to unpruned", "to chance, 95 % for all", "beaten", "verdict")


def table_rows(found: Comparison, at: StudyAmount) -> list[tuple[str, ...]]:
    """The lines of one amount's table, as texts under `HEADINGS`; differences in points, "beaten" of random draws."""
    draws = found.draws * len(found.seeds)
    lines: list[tuple[str, ...]] = []
    for row in at.rows:
        low, high = 100 * min(row.accuracies), 100 * max(row.accuracies)
        figures = [f"{100 * row.mean:.2f} ({low:.2f}-{high:.2f})", f"{100 * row.against_unpruned:+.2f}"]
        if isinstance(row, ComparedRow):
            gap, half = 100 * row.gap, 100 * row.half_width
            figures += [f"{gap:+.2f} ± {half:.2f}", f"{row.beaten}/{draws}", row.verdict]
        else:
            figures += ["", f"({draws})", ""]
        lines.append((row.criterion, *figures))
    return lines


def title(found: Comparison, at: StudyAmount) -> str:
    """What an amount's table is of."""
    accuracy = 100 * float(np.mean(found.unpruned))
    seeds = f"{len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}"
    return (
        f"{100 * at.amount:g} % of every layer, {100 * at.fewer:.1f} % fewer operations; "
        f"unpruned {accuracy:.2f} % (mean of {seeds}, {found.images:,} test images)"
    )


def conclusion(at: StudyAmount) -> str:
    """What an amount's table shows and what not, in a sentence."""
    compared = [row for row in at.rows if isinstance(row, ComparedRow)]
    told = {word: [row.criterion for row in compared if row.verdict == word] for word in ("better", "worse")}
    said = [f"{word} than chance: {', '.join(names)}" for word, names in told.items() if names]
    if not said:
        return "No criterion is told apart from chance."
    intervals = f"The {len(compared)} intervals hold together" if len(compared) > 1 else "The interval holds"
    return f"{'; '.join(said).capitalize()}. {intervals} with a probability of at least 95 %."


def study_tables(found: Comparison) -> str:
    """The tables of all amounts."""
    parts = []
    for at in found.amounts:
        lines = [f"| {' | '.join(line)} |" for line in (HEADINGS, ("---",) * len(HEADINGS), *table_rows(found, at))]
        parts.append("\n".join([f"**{title(found, at)}**", "", *lines, "", conclusion(at)]))
    return "\n\n".join(parts) + "\n"
