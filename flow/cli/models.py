"""The commands on networks, data sets and training. Imports nothing heavy: every command loads what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnflow import CHECK_FAILED, Problem

from .commands import examples
from .declare import KEY, Key, Own
from .options import DataDir, Json, Overrides, WhichNetwork, changes, read_recipe


@examples("flow models --width 0.5")
def models(
    width: Annotated[float, Key("model.width", help="Factor of all filters and neurons, in multiples of 8.")] = KEY,
    json: Json = False,
) -> None:
    """List the networks that a recipe can name, and trained ones.

    With their sizes; the trained ones come with bnnflow.
    """
    from ..commands.models import listed
    from ..show import terminal as screen

    found = listed(width)
    screen.print_json(found) if json else screen.print_models(found)


@examples("flow data", "flow data get mnist --data-dir data")
def data(
    action: Annotated[str, Own("`get` fetches a data set.", argument=True)] = "",
    name: Annotated[str, Own("The data set to get.", argument=True)] = "",
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Say which data sets are found where; `data get` fetches one.

    It says how to get the others.
    """
    from ..commands.fetch import data_set_places, fetch
    from ..results.networks import FetchedDataSet
    from ..run.places import data_home
    from ..show import terminal as screen

    if action == "get":
        fetched = FetchedDataSet(name=name, folder=str(fetch(name, data_dir or data_home(), screen.say)))
        screen.print_json(fetched) if json else print(f"{fetched.name} is in {fetched.folder}")
        return
    if action:
        raise Problem(f"there is no action {action!r}", "flow data", "`flow data`, or `flow data get NAME`")
    found = data_set_places(data_dir)
    screen.print_json(found) if json else screen.print_data(found)


@examples("flow pack runs/model -o model.bnn")
def pack(
    run: Annotated[Path, Own("Run folder that `flow build` trained in.", argument=True)],
    output: Annotated[Path | None, Own("File to write.", ("-o", "--output"), default="<recipe>.bnn")] = None,
    network: WhichNetwork = "base",
    machine: Annotated[str, Own("What it was trained on, where the run does not say it.")] = "",
    force: Annotated[bool, Own("Overwrite an existing file.", ("--force",))] = False,
    json: Json = False,
) -> None:
    """Pack a run's trained network into one small file.

    One bit a binary weight; `model: {trained: FILE}` of a recipe takes it.

    What the network computes stays the same, bit for bit. The magnitudes of latent weights are lost but for one mean a
    layer, from which further training starts. Weights with a scale or of several bits are kept as they are.
    """
    from ..commands.pack import pack_run
    from ..show import terminal as screen

    found = pack_run(run, output, network, machine, force)
    if json:
        screen.print_json(found)
    else:
        print(f"wrote {found.file}: {found.bytes:,} bytes, test accuracy {found.accuracy:.2%}")


@examples("flow formats model.yaml -s train.optimizer=bop -s train.epochs=3")
def formats(
    recipe: Annotated[Path, Own("Recipe file with `train: {optimizer: bop}`.", argument=True)],
    tolerance: Annotated[float, Own("Accuracy that may be lost against float32 momenta.", least=0, most=1)] = 0.01,
    exponents: Annotated[str, Own("Numbers of exponent bits to try, comma separated.")] = "8,5,4,3",
    mantissas: Annotated[str, Own("Numbers of mantissa bits to try.")] = "7,3,2,1,0",
    lost: Annotated[float, Own("Share of updates that may be lost.", least=0, most=1)] = 1.0,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Find the cheapest number format for Bop's momenta.

    By short trainings; exit status 1 where no format will do.

    For each number of exponent bits, mantissas are tried from wide to narrow until one loses too much. Accuracy is
    that on training images held out. -s train.epochs=3 makes the trainings short.
    """
    read_recipe(recipe, list(overrides or []))
    from ..commands.formats import search
    from ..show import terminal as screen

    bits = (_numbers(exponents, "--exponents"), _numbers(mantissas, "--mantissas"))
    with screen.Bar("formats", quiet=json) as bar:
        found = search(
            recipe,
            changes(overrides),
            tolerance,
            bits,
            lost,
            lambda name, done, total, figures: bar.update(done, total, figures, name),
        )
    screen.print_json(found) if json else screen.print_formats(found)
    if found.cheapest is None:
        raise typer.Exit(CHECK_FAILED)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise Problem(f"{text!r} is no list of whole numbers", option, "for example 5,4,3") from None
