"""The command on approximate sums. Imports nothing heavy: it loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from .commands import examples
from .declare import KEY, Key, Own
from .options import DataDir, DataOfRun, GraphFile, ImagesOrContract, Json, Labels, check_images, useless


@examples(
    "flow approximate net.onnx --data digits --lta 8,16,32 --balanced",
    "flow approximate net.onnx --data digits --capmin 33,8,3 --refit --histogram popcounts.csv",
    "flow approximate net.onnx --data digits --confusion read_as.csv --draws 10  # 33 rows of 33 probabilities.",
)
def approximate(
    context: typer.Context,
    graph: GraphFile,
    data: DataOfRun = "",
    data_dir: DataDir = None,
    input: ImagesOrContract = None,
    labels: Labels = None,
    images: Annotated[int, Own("Test images.", least=1)] = 1000,
    lta: Annotated[
        str,
        Own(
            "Local thresholds: products of a segment, such as 32 or 8,16,32; the majority of segments is the bit.",
            metavar="N,...",
        ),
    ] = "",
    balanced: Annotated[
        bool,
        Own("--lta: thresholds of neighbouring segments differ by one, so that votes are even.", ("--balanced",)),
    ] = False,
    capmin: Annotated[
        str,
        Own(
            "CapMin: so many levels of each segment's popcount are kept, the most frequent on training images.",
            metavar="LEVELS,...",
        ),
    ] = "",
    levels: Annotated[str, Own("CapMin with these levels, in place of the most frequent.", metavar="LOW-HIGH")] = "",
    array: Annotated[int, Own("Products of a segment, for all but --lta.", least=1, most=65536)] = 32,
    confusion: Annotated[
        Path | None, Own("CSV of probabilities: popcount 0, 1, ... (rows) is read as 0, 1, ... (columns).")
    ] = None,
    xnor_errors: Annotated[
        Path | None, Own("CSV of two rows, of weight 0 and 1, and columns, of input 0 and 1: how likely XNOR errs.")
    ] = None,
    layers: Annotated[list[str], Own("Layers that are approximate; may be given several times.", default="all")] = [],  # noqa: B006
    refit: Annotated[
        bool, Own("Move thresholds behind approximate sums, so that bits are as often set as before.", ("--refit",))
    ] = False,
    calibration: Annotated[
        Path | None, Own("Training images as .npy, for --capmin, --refit and --histogram beside --input.")
    ] = None,
    calibrate: Annotated[int, Own("The first so many training images.", least=1)] = 500,
    histogram: Annotated[
        Path | None, Own("Write how often each popcount of a segment occurs (.csv, .json, .svg, .png, .pdf).")
    ] = None,
    draws: Annotated[int, Own("Trials of --confusion and --xnor-errors.", least=1)] = 5,
    seed: Annotated[int, Key("seed", help="Seed of the trials.")] = KEY,
    json: Json = False,
) -> None:
    """Accuracy while sums of XNOR products are approximate.

    As in-memory hardware makes them: read with few levels, wrongly, or by a comparator a segment.
    """
    from ..commands import approximate as work
    from ..commands.simulation import Images
    from ..graphs import inputs
    from ..show import approximation as screen_approximation
    from ..show import terminal as screen

    pictures, contract = inputs.images_and_contract(input)
    check_images(context, data, data_dir, pictures, labels)
    if not lta:
        useless(context, ["balanced"], "without --lta", "give --lta")
    if not (confusion or xnor_errors):
        useless(context, ["draws", "seed"], "where nothing is drawn", "give --confusion or --xnor-errors")
    if not (capmin or levels or confusion or histogram):
        useless(context, ["array"], "without --capmin, --levels, --confusion or --histogram", "--lta says its own")
    if not (capmin or refit or histogram):
        useless(context, ["calibrate"], "where nothing is counted", "give --capmin, --refit or --histogram")
    wanted = work.Wanted(
        lta=_numbers(lta, "--lta"),
        balanced=balanced,
        capmin=_numbers(capmin, "--capmin"),
        levels=_range(levels),
        array=array,
        confusion=confusion,
        xnor_errors=xnor_errors,
        layers=layers,
        refit=refit,
        calibration=calibration,
        calibrate=calibrate,
        draws=draws,
        seed=seed,
        histogram=histogram,
    )
    judged = Images(pictures, labels, data, data_dir, images)
    with screen.Bar("approximate", quiet=json) as bar:
        found = work.approximate(graph, contract, judged, wanted, bar.update)
    screen.print_json(found) if json else screen_approximation.print_approximation(found)


def _numbers(text: str, name: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise Problem(f"{text!r} is not a list of whole numbers", name, "for example 8,16,32") from None
    if any(number < 1 for number in found):
        raise Problem(f"{text} holds numbers below 1", name, "for example 8,16,32")
    return found


def _range(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    low, _, high = text.partition("-")
    if not (low.isdecimal() and high.isdecimal()):
        raise Problem(f"{text!r} is no range of levels", "--levels", "for example 15-17")
    return int(low), int(high)
