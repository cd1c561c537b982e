"""The command on importance. Imports nothing heavy: it loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...models.relevance.criteria import CRITERIA, RANKED, REDUCTIONS
from .commands import examples
from .declare import KEY, Key, Own
from .options import DataDir, Json, WhichNetwork, share_list, useless

_CRITERIA = (
    "Criterion: METHOD, METHOD:REDUCTION or borda(A,B,...). Methods: "
    f"{', '.join(CRITERIA)}. Reductions: {', '.join(REDUCTIONS)}."
)


def _list(wanted: bool) -> None:
    """Print the table of criteria and stop."""
    if wanted:
        from ..show.pruning import print_criteria

        print_criteria()
        raise typer.Exit


@examples(
    "flow rank runs/model",
    "flow rank runs/model --criterion deeplift --criterion latent --csv scores.csv --plot scores.svg",
)
def rank(
    context: typer.Context,
    run: Annotated[Path, Own("Run folder, or the recipe of runs/<name>.", argument=True)],
    criterion: Annotated[list[str] | None, Own(_CRITERIA, default="deeplift, reconstruction")] = None,
    network: WhichNetwork = "base",
    images: Annotated[int, Key("prune.images")] = KEY,
    ablation: Annotated[
        bool, Own("Compare with single-filter ablation too, the reference; slow.", ("--ablation",))
    ] = False,
    chance: Annotated[
        int, Own("Random draws to hold the criteria against, without training, such as 20.", least=0)
    ] = 0,
    shares: Annotated[str, Own("With --chance: of the channels that go, comma separated.")] = "0.25,0.5,0.75",
    show: Annotated[int, Own("Filters to list at either end of each layer.", least=1)] = 5,
    seed: Annotated[int, Key("seed", help="Of the images drawn and of random scores.")] = KEY,
    threads: Annotated[int, Own("Processor threads.", least=1)] = 1,
    csv: Annotated[Path | None, Own("Write every score as CSV.")] = None,
    plot: Annotated[Path | None, Own("Draw scores and relevance maps (.svg, .png, .pdf).")] = None,
    data_dir: DataDir = None,
    listed: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=_list, help="List the criteria and what each says.")
    ] = False,
    json: Json = False,
) -> None:
    """Score every filter and neuron of a trained network.

    By one or several criteria; says how they agree.
    """
    from ..api.runs import rank as api
    from ..show import pruning as screen_pruning
    from ..show import terminal as screen

    if json:
        useless(context, ["show"], "with --json, which has all filters")
    named = criterion or list(RANKED)
    criteria = [*named, *(["ablation"] if ablation and "ablation" not in named else [])]
    if not chance:
        useless(context, ["shares"], "without --chance", "say with --chance how many random draws there are")
    with screen.Bar("chance", quiet=json or not chance) as bar:
        found = api(
            run,
            criteria,
            network=network,
            count=images,
            seed=seed,
            threads=threads,
            data_dir=data_dir,
            chance=chance,
            shares=share_list(shares, "--shares"),
            csv=csv,
            plot=plot,
            progress=bar.update,
        )
    screen.print_json(found) if json else screen_pruning.print_rank(found, show)
