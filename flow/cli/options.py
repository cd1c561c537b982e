"""Arguments and options that several commands share, and what options mean together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bnnflow import Problem

from .declare import JSON, Key, Own

GraphFile = Annotated[Path, Own("ONNX file: QONNX, streamlined or dataflow.", argument=True)]
HardwareOf = Annotated[
    Path,
    Own(
        "ONNX file of any level, or a run: its pruned network as it is folded, else its base; RUN/base is that.",
        argument=True,
        metavar="RUN|GRAPH",
    ),
]
Json = Annotated[bool, Own("Print one JSON object and nothing else.", (JSON,))]
Overrides = Annotated[
    list[str] | None,
    Own(
        "Change a key of the recipe (null: its default); paths from here. May be given several times.",
        ("-s", "--set"),
        metavar="KEY=VALUE",
    ),
]
Contract = Annotated[
    str | None,
    Own(
        'What the input holds, where the file does not say so: pixels/255, uint8, "normalize(0.5,0.5)", int8, '
        'bipolar, "fixed<8,4>", a formula such as "int8/128", or float (the first quantizer runs on the host).',
        ("--input",),
        metavar="CONTRACT",
    ),
]
ImagesOrContract = Annotated[
    list[str] | None,
    Own(
        "Images as .npy, in place of --data: integers as the data are, or floats as the network was trained on. "
        "Also, given once more, what the input holds, where the file does not say so: pixels/255, uint8, ...",
        ("--input",),
        metavar="X.npy|CONTRACT",
    ),
]
Labels = Annotated[Path | None, Own("Labels as .npy, for --input.")]
DataDir = Annotated[Path | None, Own("Folder of the data set's files.", default="the usual places")]
DataName = Annotated[
    str,
    Own(
        "Data set to test on, as `flow data` lists them: digits, mnist, fashion-mnist, cifar10, ...",
        ("--data",),
        metavar="NAME",
    ),
]
DataOfRun = Annotated[
    str,
    Own(
        "Data set to test on, as `flow data` lists them: digits, mnist, fashion-mnist, cifar10, ...",
        ("--data",),
        metavar="NAME",
        default="that of the run that the graph belongs to",
    ),
]
OF_RUN = "{field}, or the run's"
PartOf = Annotated[str | None, Key("target.part", default=OF_RUN)]
ClockOf = Annotated[float | None, Key("target.clock_mhz", default=OF_RUN)]
Part = Annotated[str, Key("target.part")]
Clock = Annotated[float, Key("target.clock_mhz")]
Device = Annotated[
    str, Own("Where it runs: cuda is a GPU by torch. The same bits on all.", choices=("cpu", "cuda", "cpu-torch"))
]
WhichNetwork = Annotated[str, Own("Network of the run.", ("--network",), choices=("base", "pruned"))]


def given(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Those of a command's parameters that its command line sets, and not its defaults."""
    return [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]


def option(context: typer.Context, name: str) -> str:
    """How a parameter is written on the command line: "--data-dir" of "data_dir"."""
    for parameter in context.command.params:
        if parameter.name == name:
            return max(parameter.opts, key=len)
    return f"--{name.replace('_', '-')}"


def useless(context: typer.Context, names: Iterable[str], why: str, hint: str = "") -> None:
    """Refuse options that change nothing.

    Args:
        context: of the command.
        names: parameters that have no meaning here.
        why: goes on "--data-dir changes nothing ...".
        hint: the repair; none: to leave them out.

    Raises:
        Problem: the command line sets one of them.
    """
    found = [option(context, name) for name in given(context, names)]
    if found:
        listed, one = ", ".join(found), len(found) == 1
        repair = hint or f"leave {'it' if one else 'them'} out"
        raise Problem(f"{listed} {'changes' if one else 'change'} nothing {why}", listed, repair)


def together(context: typer.Context, names: Sequence[str], hint: str) -> None:
    """Refuse options of which each says what the other does.

    Raises:
        Problem: the command line sets more than one of `names`.
    """
    found = [option(context, name) for name in given(context, names)]
    if len(found) > 1:
        raise Problem(f"{' and '.join(found)} contradict each other", ", ".join(found), hint)


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


def changes(overrides: Sequence[str] | None, options: Iterable[str] = ()) -> list[str]:
    """What the command line changes in a recipe: `options` that are keys of it, and `-s KEY=VALUE`.

    Raises:
        Problem: one key is changed twice.
    """
    every = [*options, *(overrides or [])]
    keys = [text.partition("=")[0].strip() for text in every]
    for place, key in enumerate(keys):
        if key in keys[:place]:
            twice = [text for text, name in zip(every, keys, strict=True) if name == key]
            raise Problem(f"{key} is set twice: {' and '.join(twice)}", f"-s {every[place]}", "set it once")
    return every


def share_list(text: str, name: str) -> tuple[float, ...]:
    """The numbers of an option such as "0.25,0.5".

    Raises:
        Problem: it is no list of numbers.
    """
    try:
        return tuple(float(share) for share in text.split(",")) if text else ()
    except ValueError:
        raise Problem(f"{text!r} is not a list of shares", name, "for example 0.25,0.5,0.75") from None


def read_recipe(path: Path, changes: list[str]) -> None:
    """Read a recipe for its faults alone, before a command imports anything heavy; files of other kinds pass."""
    if path.suffix in (".yaml", ".yml"):
        from ..recipe.file import load_recipe

        load_recipe(path, changes)
