"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GraphFile = Annotated[Path, typer.Argument(help="ONNX file: QONNX, streamlined or dataflow.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Overrides = Annotated[
    list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
]
Contract = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="CONTRACT",
        help='What the input holds, where the file does not say so: pixels/255, uint8, "normalize(0.5,0.5)", int8, '
        'bipolar, "fixed<8,4>", a formula such as "int8/128", or float (the first quantizer runs on the host).',
        show_default=False,
    ),
]
ImagesOrContract = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="X.npy|CONTRACT",
        help="Images as .npy, in place of --data: integers as the data are, or floats as the network was trained on. "
        "Also, given once more, what the input holds, where the file does not say so: pixels/255, uint8, ...",
        show_default=False,
    ),
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data set's files.", show_default=False)]
