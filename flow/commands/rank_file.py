"""The work behind `flow rank NET.onnx`: importance scores of anyone's network by several criteria."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...models.relevance.criteria import Criterion
from ...transforms.ir.graph import Graph
from ..recipe.fields import default
from ..recipe.objects import set_threads
from ..results.rankings import ChanceTable, Ranking
from .prune_file import check_classes, check_criterion, chosen_and_judging, opened_for_pruning
from .rank import check_shares, ranking_of
from .simulation import Images


@dataclass(frozen=True, slots=True)
class FileRanking:
    """How the filters of a file are ranked.

    Attributes:
        criteria: texts as `models.relevance.criteria` reads them.
        images: that are scored; each is compared with another.
        seed: of all that is drawn.
        threads: processor threads.
        chance: random draws a cell that the criteria are held against, without training; 0: none, else 2 or more.
        shares: of the channels that go in these cells.

    Raises:
        Problem: an unknown criterion, or one that needs what training leaves; a share that is none.
    """

    criteria: tuple[str, ...]
    images: int
    seed: int
    threads: int = 1
    chance: int = 0
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for criterion in self.wanted:
            check_criterion(criterion)
        if self.chance:
            check_shares(self.shares)

    @property
    def wanted(self) -> list[Criterion]:
        """The criteria."""
        return [Criterion.parse(text) for text in dict.fromkeys(self.criteria)]


def rank_file(
    opened: Graph, path: Path, given: Images, how: FileRanking, progress: Callable[[int, int], None] | None = None
) -> Ranking:
    """Scores of the filters of a graph by every criterion, and Spearman's correlation of each pair.

    Args:
        opened: of any level.
        path: its file.
        given: a data set, whose training images are scored and whose test images judge beside chance, or images, of
            which one half does each. Without labels the network's own answers stand in.
        how: by what.
        progress: called with accuracies beside chance that are measured, and how many there are in all.

    Raises:
        Problem: the graph cannot be compiled or looked into, too few images, what `models.relevance.score` finds wrong,
            or, beside chance, a graph without batch norms.
    """
    graph, _ = opened_for_pruning(opened)
    from ...sim.inputs import graph_inputs, image_inputs
    from ..pruning.graph_scores import Scored

    set_threads(how.threads)
    images, labels, judges, truth = chosen_and_judging(given, how.seed)
    check_classes(graph, labels, truth)
    take = graph_inputs if given.images is not None else image_inputs
    order = np.random.default_rng([how.seed, 43]).permutation(len(images))
    seen = order[: 2 * how.images]
    known = None if labels is None else labels[seen]
    scored = Scored(graph, take(graph, images[seen]), known, np.arange(len(seen)), how.images)
    made = [scored.by(criterion, how.seed) for criterion in how.wanted]
    ranking = ranking_of(str(path), "file", how.wanted, made, len(scored.sample.images), how.seed)
    if not how.chance:
        return ranking
    rest = order[len(seen) :] if len(order) > len(seen) else order
    calibrating = take(graph, images[rest[: default("prune.calibration")]])
    drawn = np.random.default_rng([how.seed, 53]).permutation(len(judges))[: default("prune.validation")]
    inputs = take(graph, judges[drawn])
    answers = scored.network.body.classes(inputs) if truth is None else truth[drawn]
    judged_on = "other images" if given.images is not None else "test images"
    table = _beside_chance(graph, ranking, (calibrating, inputs, answers), how, judged_on, progress)
    return replace(ranking, chance=table)


def _beside_chance(
    graph: Graph,
    ranking: Ranking,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    how: FileRanking,
    judged_on: str,
    progress: Callable[[int, int], None] | None,
) -> ChanceTable:
    from ..pruning.chance import against_chance
    from ..pruning.graph_scores import group_scores
    from ..pruning.sensitivity import Candidates

    candidates = Candidates.of(graph, *arrays)
    groups = [group for group in candidates.groups.values() if group.columns]
    if not groups:
        raise Problem("no layer can be made narrower", graph.name, "leave out --chance")
    scores = {
        row.criterion: group_scores(groups, {name: np.array(one) for name, one in row.scores.items()})
        for row in ranking.criteria
    }
    cells = against_chance(candidates, scores, how.shares, how.chance, how.seed, progress)
    return ChanceTable(draws=how.chance, images=len(arrays[1]), judged_on=judged_on, cells=cells)
