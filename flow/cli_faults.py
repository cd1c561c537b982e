"""The commands on faults. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from .cli_options import DataDir, GraphFile, ImagesOrContract, Json

DataName = Annotated[
    str,
    typer.Option(
        "--data",
        help="Data set to test on, as `flow data` lists them: digits (taken where no --input is given), mnist, "
        "fashion-mnist, cifar10, ...",
        show_default=False,
    ),
]
Labels = Annotated[Path | None, typer.Option(help="Labels as .npy, for --input.", show_default=False)]
Several = list[str]


def faults(
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
        Several,
        typer.Option(
            help="[SHAPE ]EFFECT. Effects: flip, stuck-at-0, stuck-at-1, stuck, asymmetric. Shapes: bit-line, "
            "word-line, pe, burst:LENGTH, cluster:WORDSxBITS, bram-row, bram-column. 'logical flip' ignores the "
            "folding; 'single' flips one cell a trial, by Leveugle's sample size."
        ),
    ] = ["flip"],  # noqa: B006
    protection: Annotated[
        Several,
        typer.Option(
            help="none, parity, secded-72-64, secded-39-32, tmr; options behind colons: x4 (interleaving), "
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
            help="Run more maps until the mean is known to +- this accuracy (95 %), 0.0025 for a quarter of a point.",
            show_default=False,
        ),
    ] = None,
    max_maps: Annotated[int, typer.Option(help="Maps a rate at most, with --interval.")] = 100,
    error: Annotated[float, typer.Option(help="Half width of the share of critical faults, for 'single'.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Its confidence: 0.9, 0.95, 0.99 or 0.999.")] = 0.95,
    fifo_depth: Annotated[int, typer.Option(min=1, help="Words of a FIFO.")] = 32,
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
    map: Annotated[
        Path | None, typer.Option(help="Replay one fault map (.npz or .csv) instead.", show_default=False)
    ] = None,
    save_map: Annotated[
        Path | None, typer.Option(help="Write map 0 of the first rate as .npz or .csv instead.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Accuracy while memories, streams or sums suffer faults."""
    from ..sim.faults import Grid, Plan, Rates, Workers, read_rates
    from . import faults as work
    from . import inputs, screen, screen_faults

    try:
        wanted = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise Problem(f"{rates!r} is not a list of numbers", "--rates", "for example 1e-3,1e-2") from None
    if any(not 0 <= rate <= 1 for rate in wanted):
        raise Problem(f"bit error rates of {wanted}", "--rates", "give numbers from 0 to 1")
    steps = read_rates(table) if table is not None else [Rates.of(rate) for rate in wanted]
    grid = Grid(steps, target, layers, model, protection, (seed,), fifo_depth)
    plan = Plan(maps, interval, max(1, maps), max_maps, error, confidence)
    workers = Workers(jobs, cluster)
    pictures, contract = inputs.images_and_contract(input)
    first = work.dataflow(inputs.open_graph(graph, contract))
    opened = {first.name: first}
    if against is not None:
        opened = {str(graph): first, str(against): work.dataflow(inputs.open_graph(against, contract))}
    if save_map is not None:
        found = work.save_map(first, grid, save_map)
        screen.print_json(found) if json else screen_faults.print_replay(found)
        return
    pixels, given = work.judged_on(first, data, data_dir, images, pictures, labels)
    truth = work.labelled(given)
    if map is not None:
        found = work.replay(first, pixels, truth, map)
        screen.print_json(found) if json else screen_faults.print_replay(found)
        return
    with screen.Bar("faults", quiet=json) as bar:
        found = work.campaign(opened, pixels, truth, grid, plan, workers, store, bar.update)
    found["store"] = None if store is None else str(store)
    screen.print_json(found) if json else screen_faults.print_faults(found)


def criticality(
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
    from . import fault_analysis, faults, inputs, screen, screen_faults

    if output is not None and output.is_dir():
        raise Problem("the output is a folder", str(output), "give the name of an .npz file")
    pictures, contract = inputs.images_and_contract(input)
    opened = faults.dataflow(inputs.open_graph(graph, contract))
    pixels, truth = faults.judged_on(opened, data, data_dir, images, pictures, labels)
    with screen.Bar("criticality", len(pixels) * max(1, len(layer)), quiet=json) as bar:
        found = fault_analysis.criticality(opened, pixels, truth, layer, output, bar.update)
    screen.print_json(found) if json else screen_faults.print_criticality(found)


def margins(
    graph: GraphFile,
    data: DataName = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 1000,
    rate: Annotated[float, typer.Option(help="Weight error rate of the exact flip probabilities.")] = 0.01,
    attack: Annotated[int, typer.Option(min=0, help="Flips of a greedy attack on 50 images; 0 for none.")] = 0,
    json: Json = False,
) -> None:
    """Weight flips that provably change no class, margins and exact flip probabilities of neurons."""
    from . import fault_analysis, faults, inputs, screen, screen_faults

    pictures, contract = inputs.images_and_contract(input)
    opened = faults.dataflow(inputs.open_graph(graph, contract))
    pixels, truth = faults.judged_on(opened, data, data_dir, images, pictures, labels)
    found = fault_analysis.margins(opened, pixels, truth, rate, attack)
    screen.print_json(found) if json else screen_faults.print_margins(found)
