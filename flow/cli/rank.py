"""The command on importance. Imports nothing heavy: it loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...models.relevance.criteria import CRITERIA, RANKED, REDUCTIONS
from .commands import examples
from .declare import KEY, Key, Own
from .options import DataDir, ImagesOrContract, Json, Labels, WhichNetwork, check_images, share_list, useless

_CRITERIA = (
    "Criterion: METHOD, METHOD:REDUCTION or borda(A,B,...). Methods: "
    f"{', '.join(CRITERIA)}. Reductions: {', '.join(REDUCTIONS)}."
)


def _list(json: bool) -> None:
    from ..show.pruning import print_criteria

    print_criteria(json)


@examples(
    "flow rank runs/model",
    "flow rank runs/model --criterion deeplift --criterion latent --csv scores.csv --plot scores.svg",
    "flow rank net.onnx --data digits --criterion deeplift --criterion lrp",
)
def rank(
    context: typer.Context,
    run: Annotated[Path, Own("Run folder, the recipe of runs/<name>, or QONNX file.", argument=True)],
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
    data: Annotated[str, Own("Data set, for a QONNX file.", ("--data",), metavar="NAME")] = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    listed: Annotated[bool, Own("List the criteria and what each says.", ("--list",), instead=_list)] = False,
    json: Json = False,
) -> None:
    """Score every filter and neuron of a trained network.

    By one or several criteria; says how they agree. Of a run, or of anyone's QONNX file.
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
    wanted = share_list(shares, "--shares")
    if run.suffix == ".onnx":
        useless(context, ["network", "plot"], "for a QONNX file", "leave it out")
        from ..api.graphs import LoadedGraph
        from ..graphs.inputs import images_and_contract, open_graph

        pictures, contract = images_and_contract(input)
        check_images(context, data, data_dir, pictures, labels)
        with screen.Bar("chance", quiet=json or not chance) as bar:
            found = LoadedGraph(open_graph(run, contract), run).rank(
                criteria,
                pictures,
                labels,
                data=data,
                data_dir=data_dir,
                count=images,
                seed=seed,
                threads=threads,
                chance=chance,
                shares=wanted,
                csv=csv,
                progress=bar.update,
            )
        screen.print_json(found) if json else screen_pruning.print_rank(found, show)
        return
    useless(context, ["data", "input", "labels"], "for a run", "a run has images of its own")
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
            shares=wanted,
            csv=csv,
            plot=plot,
            progress=bar.update,
        )
    screen.print_json(found) if json else screen_pruning.print_rank(found, show)
