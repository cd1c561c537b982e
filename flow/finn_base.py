"""finn-base as a judge of the integer and xnor levels, where it is installed (`pip install 'bnnflow[finn-base]'`)."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ..sim.engine import Simulator
from ..sim.verify import Verified, mismatch
from ..transforms.finn_base import for_finn_base
from ..transforms.read import load, read

LEVELS = ("integer", "xnor")


def version() -> str | None:
    """The installed version; None where finn-base is absent."""
    try:
        return importlib.metadata.version("finn-base")
    except importlib.metadata.PackageNotFoundError:
        return None


def judge(level: str, path: Path, images: np.ndarray) -> Verified:
    """Every integer tensor of a file by finn-base against the simulator's.

    Args:
        level: integer or xnor.
        path: the level's file.
        images: (images, ...) as the graph takes them.

    Raises:
        Problem: status 1; a tensor differs, or finn-base ended with an error.
    """
    graph, name = read(path), f"finn-base on {level}"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        job = {"model": folder / "model.onnx", "images": folder / "images.npy", "output": folder / "answer.npz"}
        job["model"].write_bytes(for_finn_base(load(path)).SerializeToString())
        np.save(job["images"], images)
        (folder / "job.json").write_text(json.dumps({key: str(file) for key, file in job.items()}))
        script = Path(__file__).with_name("in_finn_base.py")
        command = [sys.executable, "-W", "ignore", str(script), str(folder / "job.json")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise Problem(f"finn-base {version()} failed: {' '.join(words)}", str(path), "", CHECK_FAILED)
        with np.load(job["output"]) as answer:
            theirs = {key: answer[key] for key in answer.files}
    mine, values, tensors = Simulator.of(graph).tensors(images), 0, 0
    for node in graph.nodes:
        if graph.types[node.name].is_float or node.name not in theirs:
            continue
        one, other = np.asarray(mine[node.name], np.float64), theirs[node.name]
        if one.shape != other.shape:
            raise mismatch(name, node.name, f"shape {other.shape[1:]} instead of {one.shape[1:]}")
        if not np.array_equal(one, other):
            image, *position = (int(i) for i in np.argwhere(one != other)[0])
            values_there = f"{other[(image, *position)]:g} instead of {one[(image, *position)]:g}"
            raise mismatch(name, node.name, f"image {image}, position {position}: {values_there}")
        values, tensors = values + one.size, tensors + 1
    return Verified(name, tensors, len(images), values)
