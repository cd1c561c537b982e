"""The commands on faults. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from ..run.files import check_file
from .options import DataDir, GraphFile, ImagesOrContract, Json, given, together, useless

DataName = Annotated[
    str,
    typer.Option(
        "--data",
        help="Data set to test on, as `flow data` lists them: digits, mnist, fashion-mnist, cifar10, ...; default: "
        "that of the run that the graph belongs to.",
        show_default=False,
    ),
]
Labels = Annotated[Path | None, typer.Option(help="Labels as .npy, for --input.", show_default=False)]
Fps = Annotated[
    float | None,
    typer.Option(min=0.001, max=1e9, help="Fold the graph for this rate, images a second.", show_default=False),
]
Folding = Annotated[Path | None, typer.Option(help="Fold it by FINN's folding file (.json).", show_default=False)]
PeSimd = Annotated[
    str,
    typer.Option(metavar="PE,SIMD", help="Fold it alike everywhere: 1,1 is not folded at all.", show_default=False),
]
Several = list[str]
STORES = (".sqlite", ".sqlite3", ".db")
MAPS = (".npz", ".csv")


def check_images(
    context: typer.Context, data: str, data_dir: Path | None, pictures: Path | None, labels: Path | None
) -> None:
    """Refuse options on images that contradict each other or change nothing.

    Raises:
        Problem: names them.
    """
    if data and (pictures is not None or labels is not None):
        raise Problem("--data has images and labels of its own", "--data", "give --data, or --input with --labels")
    if not data:
        useless(context, ["data_dir"], "without --data", "name the data set with --data")
    if labels is not None and pictures is None:
        raise Problem("labels without images", "--labels", "give their images with --input")


def _listed(wanted: bool) -> None:
    if wanted:
        from ..show.entries import fault_entries, print_entries

        print_entries(fault_entries())
        raise typer.Exit


def faults(
    context: typer.Context,
    graph: GraphFile,
    data: DataName = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    rates: Annotated[str, typer.Option(help="Fault rates, comma separated.")] = "1e-4,1e-3,1e-2,3e-2,1e-1",
    maps: Annotated[int, typer.Option(help="Fault maps a rate.")] = 5,
    images: Annotated[int, typer.Option(min=1, help="Test images a map.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the maps.")] = 0,
    target: Annotated[
        Several,
        typer.Option(
            help="What is hit: weights, thresholds, streams, fifos, accumulators, products, weights+thresholds. "
            "This and the next three may be given several times: every combination is measured."
        ),
    ] = ["weights"],  # noqa: B006
    layers: Annotated[Several, typer.Option(help="all (at once), each (one by one), or names joined by +.")] = ["all"],  # noqa: B006
    model: Annotated[
        Several | None,
        typer.Option(
            show_default=False,
            help="[SHAPE ]EFFECT, as --list says, such as 'stuck-at-1' or 'burst:4 flip'; default: flip, or asymmetric "
            "for a table with p01 and p10. 'single' flips one cell a trial, by Leveugle's sample size.",
        ),
    ] = None,
    protection: Annotated[
        Several,
        typer.Option(
            help="As --list says, such as tmr or secded-72-64; options behind colons: x4 (interleaving), "
            "zero, last or keep (what a detected error becomes), scrub=N (intervals)."
        ),
    ] = ["none"],  # noqa: B006
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV of rates over temperature or voltage, in place of --rates; columns: temperature, voltage or "
            "condition; memory (optional); rate, or p01 and p10.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Run as many maps as the mean over maps takes to be known to +- this accuracy (95 %), 0.0025 for a "
            "quarter of a point; the first --maps decide it.",
            show_default=False,
        ),
    ] = None,
    max_maps: Annotated[int, typer.Option(help="Maps a rate at most, with --interval.")] = 100,
    error: Annotated[float, typer.Option(help="Half width of the share of critical faults, for 'single'.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Its confidence: 0.9, 0.95, 0.99 or 0.999.")] = 0.95,
    fifo_depth: Annotated[int, typer.Option(min=1, help="Words of a FIFO, for the target fifos.")] = 32,
    fps: Fps = None,
    folding: Folding = None,
    pe_simd: PeSimd = "",
    part: Annotated[str, typer.Option(help="FPGA part, for --fps.")] = "xc7z020clg400-1",
    clock_mhz: Annotated[float, typer.Option(min=1, max=1000, help="Clock in MHz, for --fps.")] = 100,
    against: Annotated[
        Path | None, typer.Option(help="Second graph: the same images and maps, compared in pairs.", show_default=False)
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="SQLite file that results are added to; an interrupted campaign goes on.", show_default=False
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes on this computer.")] = 1,
    cluster: Annotated[str, typer.Option(help="Running cluster: dask:tcp://HOST:PORT, ray or ray:ADDRESS.")] = "",
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda (a GPU by torch) or cpu-torch; the same outcomes on all. Faults of streams and sums, and "
            "single flips of weights, stay on the processor."
        ),
    ] = "cpu",
    map: Annotated[
        Path | None, typer.Option(help="Replay one fault map (.npz or .csv) instead.", show_default=False)
    ] = None,
    save_map: Annotated[
        Path | None, typer.Option(help="Write map 0 of one rate as .npz or .csv instead.", show_default=False)
    ] = None,
    listed: Annotated[
        bool,
        typer.Option("--list", is_eager=True, callback=_listed, help="List shapes, effects and protections, and end."),
    ] = False,
    json: Json = False,
) -> None:
    """Accuracy while memories, streams or sums suffer faults."""
    from ...sim.faults import Grid, Plan, Rates, Workers, read_rates
    from ..graphs import campaign as work
    from ..graphs import fault_folding, inputs
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    _check_faults(context, model or [])
    _check_replay(context)
    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    if against is not None and against.resolve() == graph.resolve():
        raise Problem("the graph is compared with itself", "--against", "give another graph")
    for path, endings in ((store, STORES), (save_map, MAPS)):
        if path is not None:
            check_file(path, endings, [graph, against, pictures, labels, table])
    try:
        wanted = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise Problem(f"{rates!r} is not a list of numbers", "--rates", "for example 1e-3,1e-2") from None
    if any(not 0 <= rate <= 1 for rate in wanted):
        raise Problem(f"bit error rates of {wanted}", "--rates", "give numbers from 0 to 1")
    steps = read_rates(table) if table is not None else [Rates.of(rate) for rate in wanted]
    grid = Grid(steps, target, layers, model or (), protection, (seed,), fifo_depth)
    plan = Plan(maps, interval, max_maps, error, confidence)
    workers = Workers(jobs, cluster)
    fold = fault_folding.Folding(fps, folding, pe_simd, part, clock_mhz)
    first, known = fault_folding.folded(inputs.open_graph(graph, contract), fold, str(graph))
    opened = {first.name: first}
    if against is not None:
        second, too = fault_folding.folded(inputs.open_graph(against, contract), fold, str(against))
        opened, known = {str(graph): first, str(against): second}, known and too
    if map is None and not known:
        fault_folding.check_folding(first, grid)
    if save_map is not None:
        found = work.save_map(first, grid, save_map)
        screen.print_json(found) if json else screen_faults.print_replay(found)
        return
    pixels, kept = work.judged_on(first, graph, data, data_dir, images, pictures, labels)
    truth = work.labelled(kept)
    if map is not None:
        found = work.replay(first, pixels, truth, map, device)
        screen.print_json(found) if json else screen_faults.print_replay(found)
        return
    with screen.Bar("faults", quiet=json) as bar:
        found = work.campaign(opened, pixels, truth, grid, plan, workers, store, bar.update, device)
    found |= {"store": None if store is None else str(store), "input": inputs.input_facts(first)}
    screen.print_json(found) if json else screen_faults.print_faults(found)


# What draws and judges maps; a map from a file needs none of it, nor does one that is only written.
_DRAWN = ("rates", "table", "seed", "target", "layers", "model", "protection", "fifo_depth")
_MANY = ("maps", "interval", "max_maps", "error", "confidence", "against", "store", "jobs", "cluster")
_JUDGED = ("data", "data_dir", "images", "input", "labels", "device")


def _check_faults(context: typer.Context, models: Several) -> None:
    """Refuse options of a campaign that another one makes void."""
    together(context, ["rates", "table"], "give the rates in one of them")
    together(context, ["jobs", "cluster"], "a cluster decides how many workers there are")
    together(context, ["device", "cluster"], "workers of a cluster compute on their processors")
    together(context, ["device", "jobs"], "several processes compute on the processor")
    together(context, ["fps", "folding", "pe_simd"], "give one of them")
    if "fps" not in given(context, ["fps"]):
        useless(context, ["part", "clock_mhz"], "without --fps", "give the rate to fold for")
    if "interval" not in given(context, ["interval"]):
        useless(context, ["max_maps"], "without --interval", "give --interval, or the number with --maps")
    single = [name == "single" for name in models]
    if not any(single):
        useless(context, ["error", "confidence"], "without --model single", "give --model single")
    if single and all(single):
        why = "for single faults, of which --error and --confidence decide the number"
        useless(context, ["rates", "table", "maps", "interval", "max_maps"], why)
    if not any(kind in target for target in context.params["target"] for kind in ("weights", "thresholds")):
        useless(context, ["device"], "for faults of streams and sums, which are simulated on the processor")
    if "fifos" not in context.params["target"]:
        useless(context, ["fifo_depth"], "without --target fifos", "give --target fifos")


def _check_replay(context: typer.Context) -> None:
    """Refuse options beside a fault map that is read or only written."""
    together(context, ["map", "save_map"], "give one of them")
    if given(context, ["map"]):
        useless(context, [*_DRAWN, *_MANY], "with --map: the map from the file is all that is replayed")
    if given(context, ["save_map"]):
        useless(context, [*_MANY, *_JUDGED], "with --save-map: one map is written, and nothing judged")


def criticality(
    context: typer.Context,
    graph: GraphFile,
    layer: Annotated[Several, typer.Option(help="Name of a layer; may be given several times; all for every one.")] = [  # noqa: B006
        "all"
    ],
    data: DataName = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 100,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the table of every bit as .npz.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Flip every weight bit of a layer, one at a time, and count the images whose class changes; exact.

    No labels are needed: classes are compared with those of the network without faults.
    """
    from ..commands import fault_analysis
    from ..graphs import campaign as faults
    from ..graphs import inputs
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    if "all" in layer and len(layer) > 1:
        raise Problem("all layers, and some by name", "--layer", "give all, or names")
    if output is not None:
        check_file(output, (".npz",), [graph, pictures, labels])
    opened = faults.dataflow(inputs.open_graph(graph, contract))
    pixels, truth = faults.judged_on(opened, graph, data, data_dir, images, pictures, labels)
    with screen.Bar("criticality", len(pixels) * max(1, len(layer)), quiet=json) as bar:
        found = fault_analysis.criticality(opened, pixels, truth, layer, output, bar.update)
    found["input"] = inputs.input_facts(opened)
    screen.print_json(found) if json else screen_faults.print_criticality(found)


def margins(
    context: typer.Context,
    graph: GraphFile,
    data: DataName = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 1000,
    rate: Annotated[
        float, typer.Option(min=0, max=1, help="Weight error rate of the exact flip probabilities.")
    ] = 0.01,
    attack: Annotated[int, typer.Option(min=0, help="Flips of a greedy attack on 50 images; 0 for none.")] = 0,
    weakest: Annotated[
        int,
        typer.Option(min=0, help="Search, for the first so many images, few flips of each layer that are enough."),
    ] = 0,
    json: Json = False,
) -> None:
    """Weight flips that provably change no class, margins and exact flip probabilities of neurons."""
    from ..commands import fault_analysis
    from ..graphs import campaign as faults
    from ..graphs import inputs
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    opened = faults.dataflow(inputs.open_graph(graph, contract))
    pixels, truth = faults.judged_on(opened, graph, data, data_dir, images, pictures, labels)
    found = fault_analysis.margins(opened, pixels, truth, rate, attack, weakest)
    found["input"] = inputs.input_facts(opened)
    screen.print_json(found) if json else screen_faults.print_margins(found)
