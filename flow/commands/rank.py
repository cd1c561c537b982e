"""The work behind `flow rank`: importance scores of a trained network by several criteria, and how they agree."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...models.relevance.criteria import CRITERIA, Criterion
from ..pruning.held_out import HeldOut
from ..recipe.file import load_recipe
from ..recipe.objects import dataset, export_properties, set_threads
from ..recipe.of_runs import recipe_of
from ..recipe.schema import Recipe
from ..results.rankings import CaptumComparison, ChanceTable, CriterionScores, Ranking
from ..results.stages import SEEN
from ..run.files import write_whole
from ..run.folder import Run
from ..run.names import FLIPS, WEIGHTS
from ..run.typed_json import extended

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.relevance.sample import Relevance, Sample


_DRAW = 41


def find_run(path: Path) -> Run:
    """The run of a run folder, of a file in it, or of a recipe (runs/<its name> below the present folder).

    Raises:
        Problem: there is none, or (status 1) a file in it is missing or was changed.
    """
    folder = Path("runs") / load_recipe(path).name if path.suffix in (".yaml", ".yml") and not _in_run(path) else path
    run = Run.find(folder) if folder.exists() else None
    if run is None:
        hint = f"`flow build {path} --to train` trains one" if folder != path else "give a run folder or its recipe"
        raise Problem("there is no run with a trained network", str(folder), hint)
    faults = run.check_files()
    if faults:
        raise Problem("; ".join(faults), str(run.folder), "flow build the recipe again", CHECK_FAILED)
    return run


def _in_run(path: Path) -> bool:
    return path.exists() and Run.find(path) is not None


def rank(
    run: Run, criteria: Sequence[str], which: str, images: int, seed: int, threads: int, data_dir: Path | None = None
) -> tuple[Ranking, Network | OwnNetwork, Sample]:
    """Scores of one network of a run by every criterion, on training images, and Spearman's correlation of each pair.

    Args:
        run: of `find_run`.
        criteria: texts as `models.criteria` reads them.
        which: "base" or "pruned".
        images: how many, and as many others as baselines.
        seed: of the images drawn and of random scores.
        threads: processor threads.
        data_dir: folder of the data set's files, in place of the recipe's.

    Raises:
        Problem: an unknown criterion, no such network in the run, too few images, or what `models.relevance.score`
            finds wrong.
    """
    wanted = [Criterion.parse(text) for text in dict.fromkeys(criteria)]
    network, recipe = _network(run, which, data_dir)
    found = dataset(recipe)
    sample = _sample(found, images, seed)
    from ...models.relevance.scores import score
    from ...models.training.flips import FlipCounts
    from ..pruning.sets import set_scores

    set_threads(threads)
    flips = FlipCounts.load(run.path(f"base/{FLIPS}")) if any("flips" in each.needs for each in wanted) else None
    sets = partial(set_scores, properties=export_properties(recipe))
    made = [score(network, each, sample, seed, flips, sets) for each in wanted]
    ranking = ranking_of(str(run.folder), which, wanted, made, len(sample.images), seed)
    return ranking, network, sample


def ranking_of(
    source: str, network: str, wanted: Sequence[Criterion], made: Sequence[Relevance], images: int, seed: int
) -> Ranking:
    """What was scored by each criterion, and how the criteria agree."""
    rows = [
        CriterionScores(
            criterion=each.criterion,
            meaning=_meaning(criterion),
            check=each.check,
            check_is=CRITERIA[criterion.method].check if criterion.method in CRITERIA else "",
            captum=None if each.captum is None else extended(CaptumComparison, each.captum),
            seconds=round(each.seconds, 3),
            images=each.images,
            scores={name: values.tolist() for name, values in each.scores.items()},
        )
        for criterion, each in zip(wanted, made, strict=True)
    ]
    return Ranking(
        run=source,
        network=network,
        images=images,
        seed=seed,
        criteria=rows,
        spearman={
            name: [[spearman(a.scores[name], b.scores[name]) for b in made] for a in made]
            for name in made[0].scores
            if all(name in one.scores for one in made)
        },
    )


def check_draws(draws: int) -> int:
    """The number of random draws, or 0 for none.

    Raises:
        Problem: there is one, whose spread nobody knows.
    """
    if draws == 1:
        raise Problem("a single random draw says nothing of chance", "--chance", "give 2 or more, such as 20")
    return draws


def check_shares(shares: Sequence[float]) -> None:
    """Refuse shares of channels that are none.

    Raises:
        Problem: says which.
    """
    for share in shares:
        if not 0 < share < 1:
            raise Problem(f"a share of {share:g}", "--shares", "give shares between 0 and 1, such as 0.5")


def chance_table(
    run: Run,
    ranking: Ranking,
    network: Network | OwnNetwork,
    shares: Sequence[float],
    draws: int,
    data_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ChanceTable:
    """How the criteria of a ranking stand to random draws on this very network, without training.

    Judged on images that training held out; where it held none, on other training images than the scored ones.

    Args:
        run, data_dir: as for `rank`.
        ranking, network: of `rank`.
        shares: of the channels that go.
        draws: random choices a cell.
        progress: called with accuracies measured and in all.

    Raises:
        Problem: the network has no channels or no batch norms to re-estimate, or a share is none.
    """
    from ..pruning.chance import against_chance
    from ..pruning.sensitivity import Candidates, subsets
    from ..pruning.structure import graph_and_structure

    check_shares(shares)
    recipe = recipe_of(run, [f"data.dir={data_dir.absolute()}"] if data_dir is not None else [])
    images, settings = dataset(recipe), recipe.prune
    held = HeldOut.of(recipe, images.train_labels)
    # No image judges what it helped to score, as one that is explained or as a baseline.
    scored = _order(ranking.seed, len(images.train_images))[: 2 * ranking.images]
    rest = np.setdiff1d(np.arange(len(images.train_images)), scored)
    unseen = np.flatnonzero(np.isin(rest, held.images))
    most = len(unseen) or len(rest) // 2
    counts = min(settings.validation, most), min(settings.calibration, len(rest) // 2)
    if not min(counts):
        raise Problem("no images are left to judge by", "--images", "score fewer")
    arrays = (images.train_images[rest], images.train_labels[rest])
    judged, truth, measured_on = subsets(*arrays, *counts, ranking.seed, unseen if len(unseen) else None)
    graph, structure = graph_and_structure(network, export_properties(recipe))
    scores = {
        row.criterion: structure.scores(network, {name: np.array(one) for name, one in row.scores.items()})
        for row in ranking.criteria
    }
    candidates = Candidates.of(graph, measured_on, judged, truth)
    cells = against_chance(candidates, scores, shares, draws, ranking.seed, progress)
    judged_on = held.called if len(unseen) else SEEN
    return ChanceTable(draws=draws, images=len(judged), judged_on=judged_on, cells=cells)


def _network(run: Run, which: str, data_dir: Path | None) -> tuple[Network | OwnNetwork, Recipe]:
    from ...models.files.saved import load_network
    from ...models.training.ensemble import joined

    changes = [f"data.dir={data_dir.absolute()}"] if data_dir is not None else []
    recipe = recipe_of(run, changes)
    path = run.path(f"{which}/{WEIGHTS}")
    if which not in ("base", "pruned") or not path.is_file():
        there = [name for name in ("base", "pruned") if run.path(f"{name}/{WEIGHTS}").is_file()]
        hint = f"there is {' and '.join(there)}" if there else "`flow build` trains one"
        raise Problem(f"the run has no trained network {which!r}", "--network", hint)
    return joined(load_network(path, str(recipe.folder))), recipe


def _sample(found: Dataset, images: int, seed: int) -> Sample:
    from ...models.relevance.sample import Sample

    classes = len(found.classes)
    if images < classes:
        raise Problem(f"{images} images for {classes} classes", "--images", f"give {classes} or more")
    return Sample.draw(found.train_images, found.train_labels, images, np.random.default_rng([seed, _DRAW]))


def _order(seed: int, count: int) -> np.ndarray:
    """The order in which `_sample` draws of so many images."""
    return np.random.default_rng([seed, _DRAW]).permutation(count)


def _meaning(criterion: Criterion) -> str:
    if criterion.parts:
        return "mean rank position over the criteria, 0 to 1"
    return CRITERIA[criterion.method].meaning


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation by scipy, -1 to 1; None where one of both has no differences."""
    from scipy import stats

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a, b).statistic)


def write_ranking_csv(ranking: Ranking, path: Path) -> None:
    """One row per layer, filter and criterion, with its score and rank position from 0 (lowest)."""
    from ...models.relevance.scores import ranks

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("layer", "filter", "criterion", "score", "rank"))
    for row in ranking.criteria:
        for layer, scores in row.scores.items():
            for index, (value, place) in enumerate(zip(scores, ranks(np.array(scores)), strict=True)):
                writer.writerow((layer, index, row.criterion, repr(value), place))
    write_whole(path, text.getvalue().encode())
