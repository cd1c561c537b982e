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
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data set's files.", show_default=False)]
