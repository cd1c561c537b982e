"""finn-base as a judge of the integer and xnor levels, where it is installed (`pip install 'bnnflow[finn-base]'`)."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...sim.engine.simulator import Simulator
from ...sim.verify import Verified, mismatch
from ...transforms.ir.graph import Graph
from ...transforms.reading.read import load, read
from ...transforms.writing.finn_base import for_finn_base

LEVELS = ("integer", "xnor")


def version() -> str | None:
    """The installed version; None where finn-base is absent."""
    try:
        return importlib.metadata.version("finn-base")
    except importlib.metadata.PackageNotFoundError:
        return None


def judge(files: Mapping[str, Path], images: np.ndarray) -> list[Verified]:
    """Every integer tensor of files by finn-base, all in one process, against the simulator's.

    Args:
        files: level (of `LEVELS`) to its file.
        images: (images, ...) as the graphs take them.

    Raises:
        Problem: status 1; a tensor differs, or finn-base ended with an error.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for level, path in files.items():
            (folder / f"{level}.onnx").write_bytes(for_finn_base(load(path)).SerializeToString())
        np.save(folder / "images.npy", images)
        models = {str(folder / f"{level}.onnx"): str(folder / f"{level}.npz") for level in files}
        (folder / "job.json").write_text(json.dumps({"images": str(folder / "images.npy"), "models": models}))
        script = Path(__file__).with_name("in_finn_base.py")
        command = [sys.executable, "-W", "ignore", str(script), str(folder / "job.json")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise Problem(f"finn-base {version()} failed: {' '.join(words)}", str(folder), "", CHECK_FAILED)
        return [_compared(level, read(path), folder / f"{level}.npz", images) for level, path in files.items()]


def _compared(level: str, graph: Graph, answer: Path, images: np.ndarray) -> Verified:
    mine, name, values, tensors = Simulator.of(graph).tensors(images), f"finn-base on {level}", 0, 0
    with np.load(answer, allow_pickle=False) as theirs:
        for node in graph.nodes:
            if graph.types[node.name].is_float or node.name not in theirs:
                continue
            one, other = np.asarray(mine[node.name], np.float64), theirs[node.name]
            if one.shape != other.shape:
                raise mismatch(name, node.name, f"shape {other.shape[1:]} instead of {one.shape[1:]}")
            if not np.array_equal(one, other):
                image, *position = (int(i) for i in np.argwhere(one != other)[0])
                found = f"{other[(image, *position)]:g} instead of {one[(image, *position)]:g}"
                raise mismatch(name, node.name, f"image {image}, position {position}: {found}")
            values, tensors = values + one.size, tensors + 1
    return Verified(name, tensors, len(images), values)
