"""The files of a folded graph: ONNX, which all commands read, and its text beside it."""

from __future__ import annotations

from pathlib import Path

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.writing.write import write
from ..run.files import write_whole

NAME = "4_folded"


def places_of(output: Path) -> tuple[Path, Path]:
    """Where the ONNX file and the text of a folded graph go: beside each other, or into a folder.

    Args:
        output: a file's name ending in .onnx, or a folder, which may be new.

    Raises:
        Problem: the name ends otherwise, or a file stands where the folder should be.
    """
    if output.suffix == ".onnx" and not output.is_dir():
        return output, output.with_suffix(".txt")
    if output.exists() and not output.is_dir():
        raise Problem("the folded graph is written as ONNX", str(output), "give a name that ends in .onnx, or a folder")
    if output.suffix:
        raise Problem(f"a folded graph has no format {output.suffix}", str(output), "give a name that ends in .onnx")
    return output / f"{NAME}.onnx", output / f"{NAME}.txt"


def write_folded(graph: Graph, places: tuple[Path, Path], finn_plus: bool = False) -> list[str]:
    """Write a folded graph; returns the files' paths.

    Raises:
        Problem: it cannot be written; the old files stay.
    """
    onnx, text = places
    model = write(graph, finn_plus).SerializeToString()
    write_whole(onnx, model)
    write_whole(text, str(graph).encode())
    return [str(onnx), str(text)]
