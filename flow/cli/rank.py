"""The command on relevance. Imports nothing heavy: it loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...models.relevance.criteria import CRITERIA, REDUCTIONS
from ..run.files import check_file
from .options import DataDir, Json, useless

_CRITERIA = (
    f"Criterion; may be given several times. METHOD, METHOD:REDUCTION or borda(A,B,...). Methods: "
    f"{', '.join(CRITERIA)}. Reductions: {', '.join(REDUCTIONS)}."
)


def rank(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder, or the recipe of runs/<name>.", show_default=False)],
    criterion: Annotated[list[str], typer.Option(help=_CRITERIA)] = ["deeplift"],  # noqa: B006
    network: Annotated[str, typer.Option(help="base or pruned.")] = "base",
    images: Annotated[int, typer.Option(min=1, help="Training images to look at.")] = 256,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Compare with single-filter ablation too, the reference; slow.")
    ] = False,
    show: Annotated[int, typer.Option(min=1, help="Filters to list at either end of each layer.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the images drawn and of random scores.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="Write every score as CSV.", show_default=False)] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw scores and relevance maps (.svg, .png, .pdf).", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Score every filter and neuron of a trained network by one or several criteria, and say how they agree."""
    from ..commands import rank as work
    from ..show import pruning as screen_pruning
    from ..show import rank_plots
    from ..show import terminal as screen
    from ..show.drawing import PICTURES

    if json:
        useless(context, ["show"], "with --json, which has all filters")
    for path, endings in ((csv, (".csv",)), (plot, PICTURES)):
        if path is not None:
            check_file(path, endings, [run])
    wanted = [*criterion, *(["ablation"] if ablation and "ablation" not in criterion else [])]
    facts, made, sample = work.rank(work.find_run(run), wanted, network, images, seed, threads, data_dir)
    if csv is not None:
        work.write_csv(facts, csv)
    if plot is not None:
        rank_plots.plot(facts, made, sample, plot)
    screen.print_json(facts) if json else screen_pruning.print_rank(facts, show)
