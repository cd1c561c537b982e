"""Runs in Python: a recipe is built, its network ranked and pruned, and runs are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from .arguments import Changes, Count, Jobs, Natural, PathLike, Share, Void, checked_arguments
from .common import changes_of, given_or_default, path_of

if TYPE_CHECKING:
    from ..results.compared_runs import RunsCompared
    from ..results.rankings import Ranking
    from ..results.stages import PrunedRun
    from ..results.summary import Summary

__all__ = ["build", "compare", "compare_hardware", "prune", "rank"]


@checked_arguments()
def build(
    recipe: PathLike = "model.yaml",
    run: PathLike | None = None,
    *,
    changes: Changes = (),
    first: str = "",
    last: str = "report",
    quiet: bool = True,
) -> Any:
    """Train, prune, export, compile, verify and cost a network; resumes where an earlier run stopped.

    Args:
        recipe: its file.
        run: its folder; None: runs/<name>.
        changes: of the recipe: {"train.epochs": 3} or ["train.epochs=3"].
        first: stage from which on nothing is skipped.
        last: the last stage.
        quiet: print no progress.

    Returns:
        the `Summary`, or the result of the last stage.

    Raises:
        Problem: what the recipe has wrong, with file, line and column; or (status 1) a check that failed.

    >>> summary = bf.build("model.yaml", changes={"train.epochs": 1})
    >>> sorted(summary.networks)
    ['base', 'pruned']
    """
    from ..commands.planned import planned

    return planned(Path(recipe), path_of(run), changes_of(changes), first, last).built(quiet)


@checked_arguments(Void(("shares",), ("chance",)))
def rank(
    run: PathLike,
    criteria: Sequence[str] | str | None = None,
    *,
    network: str = "base",
    count: Count | None = None,
    seed: int | None = None,
    threads: Count = 1,
    data_dir: PathLike | None = None,
    chance: Natural = 0,
    shares: Sequence[float] = (0.25, 0.5, 0.75),
    csv: PathLike | None = None,
    plot: PathLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Score every filter and neuron of a trained network by one or several criteria, and say how they agree.

    Args:
        run: folder, or the recipe of runs/<name>.
        criteria: METHOD, METHOD:REDUCTION or borda(A,B,...); "ablation" is the slow reference; None: deeplift
            and reconstruction.
        network: "base" or "pruned".
        count: training images to look at; None: the recipe's default.
        seed: of the images drawn and of random scores.
        threads: processor threads.
        data_dir: folder of the data set's files.
        chance: random draws a cell that the criteria are held against, without training; 0: none, else 2 or more.
        shares: of the channels that go in these cells.
        csv: file for every score.
        plot: picture of scores and relevance maps (.svg, .png, .pdf).
        progress: called with accuracies beside chance that are measured, and how many there are in all.

    Raises:
        Problem: no trained network, an unknown criterion, or too few images.

    >>> found = bf.rank("runs/model", ["latent", "deeplift:l2"], count=20)
    >>> [row.criterion for row in found.criteria]
    ['latent', 'deeplift:l2']
    """
    from ...models.relevance.criteria import RANKED
    from ..commands import rank as work
    from ..run.files import check_file
    from ..show.drawing import PICTURES

    for path, endings in ((path_of(csv), (".csv",)), (path_of(plot), PICTURES)):
        if path is not None:
            check_file(path, endings, [Path(run)])
    wanted = [criteria] if isinstance(criteria, str) else criteria or list(RANKED)
    images, drawn = given_or_default(count, "prune.images"), given_or_default(seed, "seed")
    found = work.find_run(Path(run))
    scored, made, sample = work.rank(found, wanted, network, images, drawn, threads, path_of(data_dir))
    if chance:
        table = work.chance_table(found, scored, made, shares, work.check_draws(chance), path_of(data_dir), progress)
        scored = replace(scored, chance=table)
    if csv is not None:
        work.write_ranking_csv(scored, Path(csv))
    if plot is not None:
        from ..show import rank_plots

        rank_plots.plot(scored, made, sample, Path(plot))
    return scored


@checked_arguments()
def prune(
    source: PathLike,
    run: PathLike | None = None,
    *,
    changes: Changes = (),
    quiet: bool = True,
    **settings: Any,
) -> PrunedRun:
    """Prune the trained network of a run, or of a recipe; `LoadedGraph.prune` prunes a file without training.

    Args:
        source: run folder or recipe.
        run: folder of a recipe; None: runs/<name>.
        changes: of the recipe, as for `build`.
        quiet: print no progress.
        **settings: keys of the recipe's section `prune` (docs/recipe.md): amount=0.5, steps=1, objective={"lut": 1}.

    Returns:
        every step, the widths kept, and the cost before and after.

    Raises:
        Problem: as for `build`; a setting that is unknown or has no effect.

    >>> found = bf.prune("runs/model", amount=0.5, steps=1, epochs=0, unit=4)
    >>> found.kept
    {'dense0': 8}
    """
    from ..commands import pruning as work

    if Path(source).suffix == ".onnx":
        raise Problem("a file is not trained", str(source), "bf.load(file).prune(smaller, images) prunes it without")
    said: Mapping[str, Any] = {f"prune.{key}": value for key, value in settings.items()}
    wanted = [*changes_of(said), *changes_of(changes)]
    by_cost = "prune.objective" in said or "prune.budget" in said
    if by_cost and not any(text.startswith("prune.allocation=") for text in wanted):
        wanted.insert(0, "prune.allocation=sensitivity")
    return work.prune(Path(source), path_of(run), wanted, quiet)


@checked_arguments()
def compare(*runs: PathLike) -> list[Summary]:
    """The summaries of several runs, whose files are all as they were written.

    Raises:
        Problem: no run folder, or (status 1) a file that is missing or was changed.

    >>> [summary.name for summary in bf.compare("runs/model", "runs/model")]
    ['model', 'model']
    """
    from ..stages.summary import read_summary

    return [read_summary(Path(run)) for run in runs]


@checked_arguments(Void(("jobs",), ("synth",)))
def compare_hardware(
    *runs: PathLike,
    fps: float | None = None,
    part: str | None = None,
    loss: Share = 0.01,
    synth: bool = False,
    jobs: Jobs | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RunsCompared:
    """Pruned networks beside the unpruned ones of their runs, at equal rate, at equal resources, at equal accuracy.

    Estimates stand beside what synthesis found where the run or the cache holds it, and changes beside the error that
    the cost model states.

    Args:
        runs: folders.
        fps: images per second at equal rate; None: each run's own.
        part: as for `part`; both networks are folded for it and may take all of it at equal resources. None: each run's
            own, of which they may take what the unpruned network does.
        loss: accuracy that a network of equal accuracy may lose, 0 to 1.
        synth: have yosys map the designs that are compared.
        jobs: netlists at a time; None: one a processor, at most 4.
        progress: is told netlists done and in all.

    Raises:
        Problem: no run folder, or a loss or a rate out of range; status 1: a file that is missing or was changed, or a
            rate that a network does not reach on the part; status 3: yosys is asked for and missing.

    >>> found = bf.compare_hardware("runs/model", loss=0.05)
    >>> pair = found.hardware[0].rate
    >>> pair.pruned.cycles <= pair.cycles_asked, pair.pruned.estimated.level
    (True, 'estimated')
    """
    from ..commands import compare as work
    from ..recipe.parts import part_of
    from .common import checked_key
    from .hardware import usual_jobs

    if not 0 <= loss <= 1:
        raise Problem(f"loss: {loss} is out of range", "loss", "allowed: 0 to 1")
    if not runs:
        raise Problem("no run is given", "runs", "give folders that `flow build` made")
    chip = None if part is None else part_of(part)
    rate = checked_key(fps, "target.fps")
    asked = work.Asked(loss, rate, chip, synth, jobs or usual_jobs(), progress)
    return work.compare([Path(run) for run in runs], asked)
