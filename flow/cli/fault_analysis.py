"""The commands on what faults can do: where memories lie, which bits matter, what is certified, what attacks need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from .commands import examples
from .declare import KEY, Key, Own
from .faults import Folding, Jobs, PeSimd, Rate, Several, TestImages, check_folding_options
from .options import (
    DataDir,
    DataOfRun,
    GraphFile,
    ImagesOrContract,
    Json,
    Labels,
    check_images,
)


@examples("flow placement net.onnx --data digits --voltage 0.53 -o plan.json  # flow faults --placement reads it.")
def placement(
    context: typer.Context,
    graph: GraphFile,
    voltage: Annotated[float, Own("Volts that the block RAMs run at; the board was measured there.", above=0, most=3)],
    output: Annotated[Path, Own("Write the plan as .json.", ("-o", "--output"))],
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: TestImages = 500,
    undervolting: Annotated[
        Path | None,
        Key("faults.undervolting", help="Measured board (.json or .csv).", default="KC705-B, which comes with bnnflow"),
    ] = None,
    share: Annotated[float, Own("Part of a block RAM's cells that read 0 at once.", above=0, most=1)] = 0.25,
    seed: Annotated[int, Key("seed", help="Seed of these cells.")] = KEY,
    fps: Rate = None,
    folding: Folding = None,
    pe_simd: PeSimd = "",
    part: Annotated[str, Key("target.part", more="For --fps.")] = KEY,
    clock_mhz: Annotated[float, Key("target.clock_mhz", more="For --fps.")] = KEY,
    json: Json = False,
) -> None:
    """Plan which undervolted memories hold which block RAMs.

    Each block RAM is judged by itself; the most important lie in the memories with the fewest faults.
    """
    from ...sim.faults import Chip, read_board
    from ..commands import faults as work
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..graphs.fault_folding import Folding
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    check_folding_options(context)
    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    tables = () if undervolting is None else (undervolting,)
    source = work.FaultedGraph(graph, contract, Folding(fps, folding, pe_simd, part, clock_mhz), None, tables)
    judged = Images(pictures, labels, data, data_dir, images)
    source.check(judged, (output, work.PLANS))
    chip = Chip(None if undervolting is None else read_board(undervolting))
    with screen.Bar("placement", quiet=json) as bar:
        found = work.placement(source, judged, chip, voltage, output, share=share, seed=seed, progress=bar.update)
    screen.print_json(found) if json else screen_faults.print_placement(found)


@examples("flow criticality net.onnx --data digits --layer hidden -o bits.npz")
def criticality(
    context: typer.Context,
    graph: GraphFile,
    layer: Annotated[Several, Own("Name of a layer, or all. May be given several times.")] = ["all"],  # noqa: B006
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: TestImages = 100,
    output: Annotated[Path | None, Own("Write the table of every bit as .npz.", ("-o", "--output"))] = None,
    jobs: Jobs = 1,
    csv: Annotated[Path | None, Own("Write a row for every bit.")] = None,
    plot: Annotated[Path | None, Own("Draw how many bits change how many images (.svg, .png, .pdf).")] = None,
    json: Json = False,
) -> None:
    """Flip every weight bit, and count images whose class changes.

    One at a time; exact. No labels are needed: classes are compared with those of the network without faults.
    """
    from ..commands import fault_analysis as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    given_images = Images(pictures, labels, data, data_dir, images)
    with screen.Bar("criticality", quiet=json) as bar:
        source = FaultedGraph(graph, contract)
        found = work.criticality(source, given_images, layer, output, bar.update, jobs, csv, plot)
    screen.print_json(found) if json else screen_faults.print_criticality(found)


@examples("flow margins net.onnx --data digits --attack 100")
def margins(
    context: typer.Context,
    graph: GraphFile,
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: TestImages = 1000,
    rate: Annotated[float, Own("Weight error rate of the exact flip probabilities.", least=0, most=1)] = 0.01,
    attack: Annotated[int, Own("Flips of a greedy attack on 50 images; 0: none.", least=0)] = 0,
    weakest: Annotated[
        int, Own("Search, for the first so many images, few flips of each layer that are enough; 0: none.", least=0)
    ] = 0,
    jobs: Jobs = 1,
    csv: Annotated[Path | None, Own("Write certified flips, a row for every image and layer.")] = None,
    plot: Annotated[Path | None, Own("Draw how many images stand how many flips (.svg, .png, .pdf).")] = None,
    json: Json = False,
) -> None:
    """Weight flips that provably change no class, and margins.

    Also exact flip probabilities of neurons.
    """
    from ..commands import fault_analysis as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..show import faults as screen_faults
    from ..show import terminal as screen

    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    given_images = Images(pictures, labels, data, data_dir, images)
    found = work.margins(FaultedGraph(graph, contract), given_images, rate, attack, weakest, jobs, csv, plot)
    screen.print_json(found) if json else screen_faults.print_margins(found)


@examples(
    "flow attack net.onnx --data digits",
    "flow attack net.onnx --data digits --target 3 --flips 500 --save-map flips.npz --plot attack.svg",
    "flow attack net.onnx --input x.npy --labels y.npy --layer fc1 --random 0  # One layer, without the control.",
)
def attack(
    context: typer.Context,
    graph: GraphFile,
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: Annotated[int, Own("Images that judge, the first ones.", least=1)] = 1000,
    batch: Annotated[int, Own("Images that are attacked on, of those behind them.", least=1)] = 128,
    target: Annotated[
        int | None, Own("Class that all images are to get.", metavar="CLASS", default="any wrong one")
    ] = None,
    flips: Annotated[int, Own("Weight bits that are flipped at most.", least=1)] = 1000,
    margin: Annotated[
        float,
        Own(
            "It ends where accuracy is at most 1/classes + this, or all but this of the images have --target.",
            least=0,
            most=0.9,
        ),
    ] = 0.01,
    layer: Annotated[Several, Own("Name of a layer, or all. May be given several times.")] = ["all"],  # noqa: B006
    candidates: Annotated[int, Own("Bits of a layer that are looked at in a step.", least=1)] = 100,
    random: Annotated[int, Own("Random orders of flips beside it; 0: none.", least=0)] = 5,
    seed: Annotated[int, Key("seed", help="Seed of the random orders, and of the images attacked on.")] = KEY,
    start: Annotated[Path | None, Own("Go on from the flips of a map (.npz or .csv).")] = None,
    save_map: Annotated[Path | None, Own("Write the flips as a fault map, .npz or .csv.")] = None,
    plot: Annotated[Path | None, Own("Draw accuracy against flips, .svg, .png or .pdf.")] = None,
    fps: Rate = None,
    folding: Folding = None,
    pe_simd: PeSimd = "",
    part: Annotated[str, Key("target.part", more="For --fps.")] = KEY,
    clock_mhz: Annotated[float, Key("target.clock_mhz", more="For --fps.")] = KEY,
    json: Json = False,
) -> None:
    """Find few flips of weights that ruin a network.

    The progressive bit-flip attack: gradients say which bits, the simulator what they do.
    """
    from ..commands import attack as work
    from ..commands.faults import MAPS, FaultedGraph
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..graphs.fault_folding import Folding
    from ..run.files import write_whole
    from ..show import faults as screen_faults
    from ..show import terminal as screen
    from ..show.drawing import PICTURES

    check_folding_options(context)
    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    if "all" in layer and len(layer) > 1:
        raise Problem("all layers, and some by name", "--layer", "give all, or names")
    layers = () if layer == ["all"] else tuple(dict.fromkeys(layer))
    plan = work.AttackPlan(target, layers, batch, candidates, flips, margin, random, seed)
    tables = () if start is None else (start,)
    source = FaultedGraph(graph, contract, Folding(fps, folding, pe_simd, part, clock_mhz), None, tables)
    judged = Images(pictures, labels, data, data_dir, images)
    source.check(judged, (save_map, MAPS), (plot, PICTURES))
    with screen.Bar("flips", quiet=json) as bar:
        found = work.attack(source, judged, plan, start=start, save=save_map, progress=bar.update)
    if plot is not None:
        from ..show.attack_plots import attack_picture

        write_whole(plot, attack_picture(found, plot.suffix[1:]))
    screen.print_json(found) if json else screen_faults.print_attack(found)
