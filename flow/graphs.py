"""The work behind the commands on single graphs: simulate, speed, estimate, cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ..transforms.compile import stages
from ..transforms.contract import InputContract
from ..transforms.graph import Graph
from .folding import FPS, compile_and_fold
from .inputs import input_facts, load_json, open_graph
from .run_files import move_into_place, temporary_beside
from .runs import verify_recorded


def simulate(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray | None,
    batch: int | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> tuple[np.ndarray, float | None, list[list[int]] | None]:
    """Class scores (N, classes) and, with labels, accuracy (0 to 1) and confusion: rows true, columns found classes.

    `device` is "cpu" for the compiled kernels, else one of `torch_engine.DEVICES`.

    Raises:
        Problem: shapes or values do not fit; no images; labels of another number; no such device.
    """
    from ..sim.engine import Simulator, class_count, classes_of
    from ..sim.images import checked_labels

    if images.shape[1:] != graph.input_type.shape and images.shape == graph.input_type.shape:
        images = images[None]
    if not len(images):
        raise Problem("there are no images", "input", "give at least one")
    if device == "cpu":
        scores = Simulator.of(graph, threads=threads).scores(images, batch)
    else:
        from .context import set_threads
        from .torch_engine import TorchSimulator

        set_threads(threads)
        scores = TorchSimulator.of(graph, device).scores(images, batch)
    if labels is None:
        return scores, None, None
    classes = class_count(graph)
    checked_labels(labels, len(images), classes)
    found = classes_of(graph, scores)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, found), 1)
    return scores, float(np.mean(found == labels)), confusion.tolist()


def taps(graph: Graph, images: np.ndarray, names: Sequence[str], threads: int = 1) -> dict[str, np.ndarray]:
    """Tensors of a graph for all images, by name.

    Raises:
        Problem: the graph has no such tensor.
    """
    from ..sim.engine import Simulator

    for name in names:
        if name not in graph.types:
            close = get_close_matches(name, graph.types, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(graph.types)}"
            raise Problem(f"the graph has no tensor {name!r}", "--tap", hint)
    return Simulator.of(graph, threads=threads).tensors(images, taps=names) if names else {}


def save_results(output: Path, scores: np.ndarray, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Write scores as .npy or, by the name's ending, .csv; tensors beside them as <stem>.<tensor>.npy.

    Returns:
        the files' names.
    """
    files: list[tuple[Path, np.ndarray]] = [(output, scores)]
    files += [(output.with_name(f"{output.stem}.{name}.npy"), values) for name, values in tensors.items()]
    for path, values in files:
        with temporary_beside(path) as temporary:
            with temporary.open("wb") as file:
                if path.suffix == ".csv":
                    np.savetxt(file, values, delimiter=",", fmt="%.17g")
                else:
                    np.save(file, values)
            move_into_place(temporary, path)
    return [str(path) for path, _ in files]


def estimate(
    graph: Graph,
    part_name: str,
    clock_mhz: float,
    fps: float | None,
    model: str = "exact",
    folding: Path | None = None,
    finn_plus: bool = False,
    with_unrolled: bool = False,
) -> dict[str, Any]:
    """Cost of a graph of any level, compiled, folded, and estimated.

    Args:
        graph: of any level.
        part_name, clock_mhz, fps: what to fold for; no rate: 10,000 images a second.
        model: "exact" or "finn".
        folding: FINN's folding file, to be taken in place of one found for a rate.
        finn_plus: compile to finn-plus' units.
        with_unrolled: add "unrolled": every MVAU with its weights built in.

    Raises:
        Problem: it does not compile, the part or the model is unknown, no folding reaches the rate, or the folding
            file names no unit, does not fit, or is given beside a rate.
    """
    from ..build.cost import MODELS
    from ..build.energy import SOURCE as ENERGY_SOURCE
    from ..build.parts import part
    from .figures import cost_facts, network_operations

    if model not in MODELS:
        raise Problem(f"there is no cost model {model!r}", "--cost-model", f"models are: {', '.join(MODELS)}")
    chip = part(part_name)
    made, folded = compile_and_fold(graph, chip, clock_mhz, fps, folding, finn_plus)
    facts = cost_facts(folded, clock_mhz, MODELS[model])
    operations = network_operations(made["xnor"]) if "xnor" in made else {}
    rate = None if folding is not None else FPS if fps is None else fps
    target = {"part": chip.name, "clock_mhz": clock_mhz, "fps": rate, "lut": chip.lut, "bram18": chip.bram18}
    found = {"name": graph.name, "input": input_facts(folded), "target": target, **operations, **facts}
    found["energy_source"] = ENERGY_SOURCE
    if with_unrolled:
        from ..build.unrolled import SOURCE, unrolled

        found["unrolled"] = {"source": SOURCE, "layers": [asdict(cost) for cost in unrolled(folded)]}
    return found


def cycles(
    graph: Graph,
    part_name: str,
    clock_mhz: float,
    fps: float | None,
    images: int,
    depth: int,
    folding: Path | None = None,
    finn_plus: bool = False,
    depths: Path | None = None,
) -> dict[str, Any]:
    """Timing of a graph of any level, compiled and folded as for `estimate`, word by word.

    After a deadlock, all figures but those under "deadlock" are those of the graph with the FIFOs that suffice.

    Args:
        graph: of any level.
        part_name, clock_mhz, fps, folding, finn_plus: as for `estimate`.
        images: sent through.
        depth: of every FIFO, in words; 0 for unbounded ones.
        depths: JSON file with those of single FIFOs, as `fifo_depths.fifo_depths` reads it.

    Raises:
        Problem: as for `estimate`, and where the depths do not fit the graph.
    """
    from ..build.cost import estimate as cost
    from ..build.parts import part
    from ..sim.pipeline import fifo_names
    from ..sim.pipeline import simulate as timing
    from .fifo_depths import fifo_depths

    _, folded = compile_and_fold(graph, part(part_name), clock_mhz, fps, folding, finn_plus)
    own: dict[str, int] = {}
    if depths is not None:
        own = fifo_depths(load_json(depths, "file of FIFO depths"), folded, fifo_names(folded), finn_plus)
    found = timing(folded, images, depth, own)
    stuck = found.deadlock
    if stuck is not None:
        found = timing(folded, images, depth, own | dict(stuck.enough))
    assert found.latency is not None
    estimated = {unit.name: unit.cycles for unit in cost(folded).units}
    return {
        "name": graph.name,
        "input": input_facts(folded),
        "clock_mhz": clock_mhz,
        "images": images,
        "fifo_depth": depth,
        "fifo_depths": own,
        "source": "simulated (word by word, bnnflow.sim.pipeline)",
        "interval_cycles": found.interval,
        "intervals": list(found.intervals),
        "fps": found.fps(clock_mhz),
        "latency_cycles": found.latency,
        "latency_us": found.latency / clock_mhz,
        "estimated_cycles": max(estimated.values()),
        "units": [asdict(unit) | {"estimated_cycles": estimated.get(unit.name)} for unit in found.units],
        "fifos": [asdict(fifo) for fifo in found.fifos],
        "deadlock": None if stuck is None else asdict(stuck),
    }


def speed(
    path: Path,
    count: int,
    threads: int,
    part_name: str,
    clock_mhz: float,
    fps: float,
    contract: InputContract | None = None,
) -> dict[str, Any]:
    """Speed of a graph, compiled, in our simulator; of its file, if QONNX, in other programs; of its accelerator.

    Images are random. The network in torch is the one whose weights.pt lies beside the file.

    Args:
        path: ONNX file of any level.
        count: images a run.
        threads: processor threads.
        part_name, clock_mhz, fps: what the accelerator is folded for; one that no folding reaches is left out.
        contract: what the input holds, where the file does not say so.

    Returns:
        device, threads, rows and missing, as `speed.network_rows` gives them.
    """
    from ..transforms.compile import level_of
    from .context import WEIGHTS
    from .speed import network_rows, processor

    graph = open_graph(path, contract)
    compiled = stages(graph)[-1].graph
    low, high, step = *compiled.input_type.range, compiled.input_type.step
    levels = np.random.default_rng(0).integers(0, (high - low) // step + 1, (count, *compiled.input_type.shape))
    images = low + step * levels
    if low >= 0 and high <= 255:
        images = images.astype(np.uint8)
    qonnx = path if level_of(graph) == "network" else None
    weights, network = path.with_name(WEIGHTS), None
    if qonnx is not None and weights.is_file():
        from ..models.saved import load_network

        verify_recorded(weights)
        network = load_network(weights)
    try:
        found = estimate(graph, part_name, clock_mhz, fps)
    except Problem as problem:
        if problem.status != CHECK_FAILED:
            raise
        cost, reason = None, problem.what
    else:
        cost, reason = {**found, **found["target"], "fps": found["fps"]}, ""
    made = network_rows(qonnx, compiled, images, threads, network, cost)
    for row in made["missing"]:
        row["reason"] = reason if row["engine"] == "accelerator" else row["reason"]
    return {"device": processor(), "threads": threads, "input": input_facts(compiled), **made}
