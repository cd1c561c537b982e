"""The commands on faults. Imports nothing heavy: every command loads what it needs when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from .commands import examples
from .declare import KEY, Key, Own
from .options import (
    DataDir,
    DataOfRun,
    GraphFile,
    ImagesOrContract,
    Json,
    Labels,
    check_images,
    given,
    together,
    useless,
)

Rate = Annotated[
    float | None,
    Key("target.fps", help="Fold the graph for this rate, images per second.", default="as the graph is folded"),
]
Folding = Annotated[Path | None, Own("Fold it by FINN's folding file (.json).")]
PeSimd = Annotated[str, Own("Fold it alike everywhere: 1,1 is not folded at all.", metavar="PE,SIMD")]
Several = list[str]
TestImages = Annotated[int, Own("Test images.", least=1)]
Jobs = Annotated[int, Own("Processes; the result does not depend on it.", least=1, most=4096)]


def _list(json: bool) -> None:
    from ..show.entries import fault_entries, print_entries

    print_entries(fault_entries(), json)


@examples(
    "flow faults net.onnx --data digits --rates 1e-3,1e-2",
    "flow faults net.onnx --data digits --target weights --target thresholds --layers each --maps 20",
    "flow faults net.onnx --data digits --pe-simd 1,1 --model 'bit-line stuck-at-0' --protection secded-72-64",
    "flow faults net.onnx --data digits --voltages 0.55,0.54,0.53 --protection none --protection secded-72-64",
    "flow faults net.onnx --input uint8 --input x.npy --labels y.npy --store faults.sqlite  # Can go on.",
)
def faults(
    context: typer.Context,
    graph: GraphFile,
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    rates: Annotated[str, Key("faults.rates", more="Comma separated.")] = KEY,
    maps: Annotated[int, Key("faults.maps")] = KEY,
    images: Annotated[int, Key("faults.images")] = KEY,
    seed: Annotated[int, Key("seed", help="Seed of the maps.")] = KEY,
    target: Annotated[
        Several,
        Key("faults.targets", more="Every combination of this and the next three is measured."),
    ] = KEY,
    layers: Annotated[Several, Key("faults.layers")] = KEY,
    model: Annotated[
        Several,
        Key(
            "faults.models",
            help="[SHAPE ]EFFECT, as --list says, such as 'stuck-at-1' or 'burst:4 flip'. 'single' flips one cell a "
            "trial, by Leveugle's sample size.",
        ),
    ] = KEY,
    protection: Annotated[
        Several,
        Key(
            "faults.protections",
            help="As --list says, such as tmr or secded-72-64; options behind colons: x4 (interleaving), zero, last or "
            "keep (what a detected error becomes), scrub=N (intervals).",
        ),
    ] = KEY,
    table: Annotated[
        Path | None,
        Key(
            "faults.table",
            more="Columns: temperature, voltage or condition; memory (optional); rate, or p01 and p10, or fit, share "
            "and hours.",
            default="none",
        ),
    ] = None,
    voltages: Annotated[
        str,
        Key("faults.voltages", more="Comma separated, such as 0.56,0.55,0.54 (docs/undervolting.md).", default="none"),
    ] = KEY,
    undervolting: Annotated[
        Path | None,
        Key("faults.undervolting", help="Measured board (.json or .csv).", default="KC705-B, which comes with bnnflow"),
    ] = None,
    placement: Annotated[
        Path | None,
        Key("faults.placement", help="Where block RAMs lie (.json, by flow placement).", default="drawn for each map"),
    ] = None,
    interval: Annotated[
        float | None,
        Key(
            "faults.interval",
            help="Run as many maps as the mean over maps takes to be known to +- this accuracy (95 %), 0.0025 for a "
            "quarter of a point; the first --maps decide it.",
            default="{field}",
        ),
    ] = None,
    max_maps: Annotated[int, Key("faults.max_maps")] = KEY,
    error: Annotated[float, Own("Half width of the interval of the share of critical faults, for 'single'.")] = 0.01,
    confidence: Annotated[float, Own("Confidence of that interval, above 0 and below 1.")] = 0.95,
    fifo_depth: Annotated[int, Key("faults.fifo_depth", more="For the target fifos.")] = KEY,
    metrics: Annotated[
        str, Key("faults.metrics", more="Comma separated, such as classes,margin.", default="accuracy alone")
    ] = KEY,
    fps: Rate = None,
    folding: Folding = None,
    pe_simd: PeSimd = "",
    part: Annotated[str, Key("target.part", more="For --fps.")] = KEY,
    clock_mhz: Annotated[float, Key("target.clock_mhz", more="For --fps.")] = KEY,
    against: Annotated[Path | None, Own("Second graph: the same images and maps, compared in pairs.")] = None,
    equal: Annotated[
        str,
        Key(
            "faults.equal",
            help="What both have alike beyond rates: faults (as many in the mean), memory (the second with a code "
            "that fits into what the first takes). Comma separated.",
            default="rates alone",
        ),
    ] = KEY,
    store: Annotated[
        Path | None, Own("SQLite file that results are added to; an interrupted campaign resumes.")
    ] = None,
    jobs: Annotated[int, Key("faults.jobs")] = KEY,
    cluster: Annotated[
        str, Key("faults.cluster", help="Running cluster: dask:tcp://HOST:PORT, ray or ray:ADDRESS.")
    ] = KEY,
    device: Annotated[
        str,
        Own(
            "Where it runs: cuda is a GPU by torch. The same outcomes on all; faults of streams and sums, and single "
            "flips of weights, stay on the processor.",
            choices=("cpu", "cuda", "cpu-torch"),
        ),
    ] = "cpu",
    map: Annotated[Path | None, Own("Replay one fault map (.npz or .csv) instead.")] = None,
    csv: Annotated[Path | None, Own("Write a row for every rate of every series.")] = None,
    plot: Annotated[Path | None, Own("Draw accuracy against rates (.svg, .png, .pdf).")] = None,
    save_map: Annotated[Path | None, Own("Write map 0 of one rate as .npz or .csv instead.")] = None,
    listed: Annotated[bool, Own("List shapes, effects and protections, and end.", ("--list",), instead=_list)] = False,
    json: Json = False,
) -> None:
    """Accuracy while memories, streams or sums suffer faults."""
    from ...sim.faults import EQUAL, METRICS, Chip, Grid, Plan, Rates, Workers, read_board, read_placement, read_rates
    from ..commands import faults as work
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..graphs.fault_folding import Folding
    from ..results.faults import FaultMapCells
    from ..show import fault_plots
    from ..show import faults as screen_faults
    from ..show import terminal as screen
    from ..show.drawing import PICTURES

    _check_faults(context, model)
    pictures, contract = inputs.images_and_contract(input)
    _check_replay(context, pictures)
    check_images(context, data, data_dir, pictures, labels)
    fold = Folding(fps, folding, pe_simd, part, clock_mhz)
    source = work.FaultedGraph(
        graph, contract, fold, against, tuple(one for one in (table, undervolting, placement) if one is not None)
    )
    judged = Images(pictures, labels, data, data_dir, images)
    source.check(judged, (store, work.STORES), (save_map, work.MAPS), (csv, (".csv",)), (plot, PICTURES))
    steps = read_rates(table) if table is not None else [Rates.of(rate) for rate in rate_list(rates)]
    chip = Chip(
        None if undervolting is None else read_board(undervolting),
        None if placement is None else read_placement(placement),
    )
    grid = Grid(steps, target, layers, model, protection, (seed,), fifo_depth, _voltages(voltages), chip)
    asked, alike = (
        _listed_names(text, known, what)
        for text, known, what in ((metrics, METRICS, "metric"), (equal, EQUAL, "equal condition"))
    )
    plan, workers = Plan(maps, interval, max_maps, error, confidence), Workers(jobs, cluster)
    if map is not None or save_map is not None:
        if map is not None:
            drawn: FaultMapCells = work.replay(source, judged, map, device, asked)
        else:
            assert save_map is not None
            drawn = work.save_map(source, grid, save_map)
        screen.print_json(drawn) if json else screen_faults.print_replay(drawn)
        return
    with screen.Bar("faults", quiet=json) as bar:
        found = work.campaign(
            source,
            judged,
            grid,
            plan,
            workers,
            store=store,
            device=device,
            metrics=asked,
            equal=alike,
            progress=bar.update,
        )
    if csv is not None:
        fault_plots.write_csv(found, csv)
    if plot is not None:
        fault_plots.draw(found, plot)
    screen.print_json(found) if json else screen_faults.print_faults(found)


def _listed_names(text: str, known: Sequence[str], what: str) -> list[str]:
    """The names of an option, separated by commas; the hint of an unknown one names the closest."""
    from ...sim.faults.injection.layout import chosen

    return [chosen(name.strip(), known, what) for name in text.split(",")] if text else []


def rate_list(text: str) -> list[float]:
    """The rates of an option.

    Raises:
        Problem: no numbers, or not from 0 to 1.
    """
    try:
        rates = [float(rate) for rate in text.split(",")]
    except ValueError:
        raise Problem(f"{text!r} is not a list of numbers", "--rates", "for example 1e-3,1e-2") from None
    if any(not 0 <= rate <= 1 for rate in rates):
        raise Problem(f"bit error rates of {rates}", "--rates", "give numbers from 0 to 1")
    return rates


def _voltages(text: str) -> list[float]:
    try:
        found = [float(volts) for volts in text.split(",")] if text else []
    except ValueError:
        found = [0.0]
    if not all(0 < volts < 3 for volts in found):
        raise Problem(f"{text!r} is no list of volts", "--voltages", "for example 0.56,0.55,0.54")
    return found


# What draws and judges maps; a map from a file needs none of it, nor does one that is only written.
_RATES = ("rates", "table")
_DRAWN = (
    *_RATES,
    "voltages",
    "undervolting",
    "placement",
    "seed",
    "target",
    "layers",
    "model",
    "protection",
    "fifo_depth",
)
_MANY = (
    "maps",
    "interval",
    "max_maps",
    "error",
    "confidence",
    "against",
    "equal",
    "store",
    "jobs",
    "cluster",
    "csv",
    "plot",
)
_JUDGED = ("data", "data_dir", "images", "input", "labels", "device")


def _check_faults(context: typer.Context, models: list[str]) -> None:
    """Refuse options of a campaign that another one makes void."""
    from ..recipe.unused import undervolts

    together(context, ["rates", "table"], "give the rates in one of them")
    for name in (*_RATES, "model"):
        together(context, ["voltages", name], "voltages say what is hit, and a board how often: leave the other out")
    together(context, ["jobs", "cluster"], "a cluster decides how many workers there are")
    together(context, ["device", "cluster"], "workers of a cluster compute on their processors")
    together(context, ["device", "jobs"], "several processes compute on the processor")
    check_folding_options(context)
    if "interval" not in given(context, ["interval"]):
        useless(context, ["max_maps"], "without --interval", "give --interval, or the number with --maps")
    single = [name == "single" for name in models]
    if not any(single):
        useless(context, ["error", "confidence"], "without --model single", "give --model single")
    if single and all(single):
        why = "for single faults, of which --error and --confidence decide the number"
        useless(context, [*_RATES, "maps", "interval", "max_maps"], why)
        useless(context, ["plot"], "for single faults, which have no rates")
    below = [undervolts(name) for name in models]
    if below and all(below):
        useless(context, _RATES, "for undervolted block RAMs: a board says how often their cells fail")
    if not any(below) and not given(context, ["voltages"]):
        hint = "give --voltages, or --model undervolting:VOLTAGE"
        useless(context, ["undervolting", "placement"], "where nothing is undervolted", hint)
    if not any(kind in target for target in context.params["target"] for kind in ("weights", "thresholds")):
        useless(context, ["device"], "for faults of streams and sums, which are simulated on the processor")
    if "fifos" not in context.params["target"]:
        useless(context, ["fifo_depth"], "without --target fifos", "give --target fifos")


def check_folding_options(context: typer.Context) -> None:
    """Refuse two foldings, and options of one that is not asked for."""
    together(context, ["fps", "folding", "pe_simd"], "give one of them")
    if "fps" not in given(context, ["fps"]):
        useless(context, ["part", "clock_mhz"], "without --fps", "give the rate to fold for")


def _check_replay(context: typer.Context, pictures: Path | None) -> None:
    """Refuse options beside a fault map that is read or only written; `pictures` are a file of images, if any."""
    together(context, ["map", "save_map"], "give one of them")
    if given(context, ["map"]):
        useless(context, [*_DRAWN, *_MANY], "with --map: the map from the file is all that is replayed")
    if given(context, ["save_map"]):
        # What the input holds decides how the network compiles; images would judge.
        judged = [name for name in _JUDGED if name != "input" or pictures is not None]
        useless(context, [*_MANY, "metrics", *judged], "with --save-map: one map is written, and nothing judged")
