"""The comparisons: what is ours against what another program says of it, a row each."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bnnflow import Problem
from bnnflow.build.cost import estimate
from bnnflow.build.finn_reports import folding
from bnnflow.build.finn_types import finn_types
from bnnflow.build.memories import threshold_lines, threshold_table, weight_lines
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau, Thresholding
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.reading.read import load, read
from bnnflow.transforms.writing.finn_base import for_finn_base
from bnnflow.transforms.writing.write import write

from .environments import Refused, judge
from .networks import Case
from .random_units import differences, random_types, random_units
from .units import FinnUnit, finn_units, labelled

PART, CLOCK_MHZ = "xc7z045ffg900-2", 200.0
UNITS_A_KIND = 500
TURNED = (
    "behind a negative gain finn-plus negates a row of weights, ours what reads its result: weights are equal but for "
    "the signs of rows and columns, and the estimates compared are those of our formulas on finn-plus' weights"
)
CLIPPED = (
    "finn-plus clips bounds to its accumulator's type, which holds fewer than the possible popcounts; "
    "they are compared as it clips them"
)
MISCONVERTED = (
    "finn-plus pads bits with 0, which stands for -1 and not for 0; and where a convolution and a join read the same "
    "signs, it gives both bits; each alone changes classes. Our dataflow graph adds back what the padding changes near "
    "the border, and is judged from there on"
)
NARROW = (
    "finn-plus gives sums that leave an XNOR unit without thresholds fewer bits than every popcount needs; its "
    'estimates follow from them, and so do ours of the model "finn"'
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        what, program, subject: what was compared, by which program, on what.
        compared: how much.
        wrong: a line for each difference; none where all is as it should be.
        notes: remarks for the page.
        verdict: the result where nothing is wrong.
    """

    what: str
    program: str
    subject: str
    compared: str
    wrong: tuple[str, ...]
    notes: tuple[str, ...] = ()
    verdict: str = "equal"


def unit_formulas(folder: Path) -> Row:
    """Our cost formulas on random units against finn-plus' estimates."""
    rows = random_units(UNITS_A_KIND, seed=0)
    answer = judge("finn-plus", {"task": "units", "part": PART, "units": rows}, folder)
    wrong = tuple(differences(rows, answer["units"]))
    kinds = len({row["op"] for row in rows})
    what = "cycles, LUT, BRAM18, URAM and DSP of single units"
    return Row(what, "finn-plus", f"random units of {kinds} kinds", f"{len(rows):,} units", wrong)


def unit_types(folder: Path) -> Row:
    """Our rules for the data types of weights, sums and bounds against finn-plus' bit-width minimization."""
    rows = random_types(UNITS_A_KIND, seed=1)
    wrong = tuple(differences(rows, judge("finn-plus", {"task": "types", "units": rows}, folder)["types"]))
    what = "data types of weights, sums, bounds, joins and pools"
    return Row(what, "finn-plus", "random units of 7 kinds", f"{len(rows):,} units", wrong)


def conversion(case: Case, network: Graph, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """finn-plus converts the QONNX with our folding: its units and weights against ours.

    Where the file does not say that its input are pixels, finn-plus gets `network`, which divides them by 255.
    A negative gain turns the comparison behind a row of weights around. finn-plus negates the row, we negate what
    reads its result; so weights are compared but for the signs of rows and columns, and what finn-plus estimates from
    its weights is held against our formulas on those.
    """
    graph = labelled(graph)
    ours = finn_units(graph)
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    images_file = str(folder / "images.npy")
    file = case.file
    if read(file).input_type.is_float:
        file = folder / "network.onnx"
        onnx.save(write(network), file)
    answer = _build(folder, file, graph, top_k=case.scores, images=images_file)
    wrong, turned, nodes = [], False, []
    names = {unit.node: unit.name for unit in ours}
    with np.load(folder / "weights.npz") as theirs:
        for node in graph.nodes:
            name = names.get(node.name, "")
            if isinstance(node.op, Mvau) and name in theirs:
                one, other = _values(node.op.weight, node.op.xnor), _values(theirs[name], node.op.xnor)
                if not _same_but_for_signs(one, other):
                    wrong.append(f"{name}: weights differ by more than the signs of rows and columns")
                elif not np.array_equal(one, other):
                    turned = True
                    found = theirs[name].astype(node.op.weight.dtype)
                    node = replace(node, op=replace(node.op, weight=found))
            nodes.append(node)
    wrong += _unit_differences(finn_units(graph.with_nodes(tuple(nodes))), answer, case.known)
    equal = sum(1 for unit in ours if unit.name not in case.known)
    notes = [f"{name}: {reason}" for name, reason in case.known.items()] + [TURNED] * turned
    return Row(what, "finn-plus", case.name, f"{equal} of {len(ours)} units", tuple(wrong), tuple(notes))


def _values(weight: np.ndarray, xnor: bool) -> np.ndarray:
    """Signed values of weights; 1 and 0 of an XNOR layer stand for +1 and -1."""
    values = weight.astype(np.int64)
    return 2 * values - 1 if xnor else values


def _same_but_for_signs(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two matrices of integers are equal when some rows and columns of one are negated."""
    if one.shape != other.shape or not np.array_equal(np.abs(one), np.abs(other)):
        return False
    agree = np.sign(one) * np.sign(other)
    rows, columns = np.zeros(agree.shape[0], np.int64), np.zeros(agree.shape[1], np.int64)
    while not rows.all():
        rows[np.flatnonzero(rows == 0)[0]] = 1
        known = 0
        while known != (known := int(np.count_nonzero(rows) + np.count_nonzero(columns))):
            columns = np.where(columns, columns, np.sign(rows @ agree))
            rows = np.where(rows, rows, np.sign(agree @ columns))
    return bool(np.array_equal(rows[:, None] * columns * np.abs(agree), agree))


def classified(case: Case, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """The class of each image by finn-plus' own streamlining of our QONNX against the simulator's."""
    if not (folder / "classes.npy").is_file():
        raise Refused("finn-plus executed nothing: it refused the network")
    wrong = _class_differences(Simulator.of(graph).classes(images), np.load(folder / "classes.npy"))
    return Row(what, "finn-plus", case.name, f"{len(images)} images", tuple(wrong))


def misconverted(case: Case, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """finn-plus converts a QONNX that it is known to convert wrongly; wrong here is that it does not."""
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", images)
    with suppress(Refused):  # what counts is the graph that it streamlined before
        _build(folder, case.file, graph, top_k=case.scores, images=str(folder / "images.npy"))
    differ = len(_class_differences(Simulator.of(graph).classes(images), np.load(folder / "classes.npy")))
    wrong = () if differ else ("finn-plus now gives the right classes: compare its conversion too",)
    compared = f"{differ} of {len(images)} images have another class"
    return Row(what, "finn-plus", case.name, compared, wrong, (MISCONVERTED,), "finn-plus is wrong")


def _class_differences(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    differ = np.flatnonzero(ours != theirs)
    return [f"image {image}: class {ours[image]} here, {theirs[image]} there" for image in differ]


def models_read(case: Case, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """Our reader reads the model behind every step of finn-plus, which must give the classes of our graph."""
    files = sorted(folder.glob("*_step_*.onnx"))
    if not files:
        raise Refused("finn-plus left no models: it refused the first step")
    ours, wrong = Simulator.of(graph).classes(images), []
    for file in files:
        try:
            theirs = read(file)
            found = Simulator.of(theirs).classes(_as_input(images, theirs.input_type.shape))
        except Problem as problem:
            wrong.append(f"{file.stem}: {problem}")
            continue
        wrong += [f"{file.stem}: {line}" for line in _class_differences(ours, found)]
    return Row(what, "finn-plus", case.name, f"{len(files)} models x {len(images)} images", tuple(wrong))


def _as_input(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images for a part of a network that reads channels last, or flat."""
    if images.ndim == 4 and shape != images.shape[1:]:
        images = images.transpose(0, 2, 3, 1)
    return images.reshape(-1, *shape)


def dataflow(case: Case, graph: Graph, folder: Path, what: str) -> Row:
    """Our dataflow graph enters finn-plus before its layers are specialised: its units against ours."""
    ours, cost = finn_units(graph), estimate(graph, "finn")
    folder.mkdir(parents=True)
    onnx.save(write(graph, finn_plus=True), folder / "dataflow.onnx")
    start = "step_create_dataflow_partition"
    answer = _build(folder, folder / "dataflow.onnx", graph, start=start, memories=True)
    wrong = _unit_differences(ours, answer, {})
    network = answer["estimate_network_performance"]
    for key, one in (("max_cycles", cost.cycles), ("critical_path_cycles", cost.latency_cycles)):
        if one != network[key]:
            wrong.append(f"network: {key} is {one} here, {network[key]} there")
    notes = [] if case.refused is None else [case.refused]
    types = finn_types(graph)
    for node in graph.nodes:
        if isinstance(node.op, Mvau) and not _within(graph.types[node.name], types[node.name]) and NARROW not in notes:
            notes.append(NARROW)
    return Row(what, "finn-plus", case.name, f"{len(ours)} units", tuple(wrong), tuple(notes))


def _within(kind: TensorType, other: TensorType) -> bool:
    return other.range[0] <= kind.range[0] and kind.range[1] <= other.range[1]


def _build(folder: Path, model: Path, graph: Graph, **more: Any) -> dict[str, Any]:
    """finn-plus' build of a model with our folding configuration."""
    file = folder / "auto_folding_config.json"
    file.write_text(json.dumps(folding(graph, finn_plus=True), indent=2))
    job = {"task": "build", "model": str(model), "part": PART, "clock_mhz": CLOCK_MHZ, "folding": str(file), **more}
    return judge("finn-plus", job, folder)


def _unit_differences(ours: list[FinnUnit], answer: dict[str, Any], known: dict[str, str]) -> list[str]:
    theirs = {unit["name"]: unit["attributes"] for unit in answer["units"]}
    mine = {unit.name: unit for unit in ours}
    wrong = [f"{name}: only in finn-plus" for name in theirs if name not in mine and name not in known]
    for name, unit in mine.items():
        if name in known:
            continue
        if name not in theirs:
            wrong.append(f"{name}: not in finn-plus")
            continue
        cost, resources = unit.cost, answer["estimate_layer_resources"][name]
        pairs = {key: (value, theirs[name].get(key)) for key, value in unit.attributes.items()}
        pairs["cycles"] = (cost.cycles, answer["estimate_layer_cycles"][name])
        for key, value in (("LUT", cost.lut), ("BRAM_18K", cost.bram18), ("URAM", cost.uram), ("DSP", cost.dsp)):
            pairs[key] = (value, resources[key])
        wrong += [f"{name}: {key} is {one} here, {other} there" for key, (one, other) in pairs.items() if one != other]
    return wrong


def memories(case: Case, graph: Graph, folder: Path, what: str) -> Row:
    """The memory files that finn-plus writes for our dataflow graph against ours, line by line."""
    files = folder / "memories"
    if not files.is_dir():
        raise Refused("finn-plus wrote no memories: it refused the dataflow graph")
    words, moved, wrong = 0, False, []
    for unit in finn_units(graph):
        op, types = graph.node(unit.node).op, unit.attributes
        if isinstance(op, Mvau):
            lines = weight_lines(op.weight, op.pe, op.simd, _bits(types["weightDataType"]))
            words += len(lines)
            if lines != _lines(files / unit.name / "memblock.dat"):
                wrong.append(f"{unit.name}: memblock.dat differs")
            if op.has_bounds:
                low, high = _limits(types["accDataType"])
                table = threshold_table(np.clip(op.bounds, low, high + 1), op.pe)
                moved = moved or not np.array_equal(np.clip(op.bounds, low, high + 1), op.bounds)
                words += table.size
                found = _table(files / unit.name / "thresh.h", table.shape)
                if found is None or not np.array_equal(table, found):
                    wrong.append(f"{unit.name}: thresh.h differs")
        elif isinstance(op, Thresholding):
            width, bits = _bits(types["outputDataType"]), _bits(types["weightDataType"])
            for (lane, stage), lines in threshold_lines(op.bounds, op.pe, width, bits).items():
                words += len(lines)
                if lines != _lines(files / unit.name / f"{unit.name}_threshs_{lane}_{stage}.dat"):
                    wrong.append(f"{unit.name}: the thresholds of lane {lane}, stage {stage} differ")
    notes = (CLIPPED,) if moved else ()
    return Row(what, "finn-plus", case.name, f"{words:,} words", tuple(wrong), notes)


def _bits(kind: str) -> int:
    return 1 if kind in ("BINARY", "BIPOLAR") else int(kind.lstrip("UINT"))


def _limits(kind: str) -> tuple[int, int]:
    bits = _bits(kind)
    return (0, 2**bits - 1) if kind.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []


def _table(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The numbers of a C array in a header file; None where their count does not fit."""
    text = file.read_text().partition("=")[2] if file.is_file() else ""
    numbers = np.array([int(number) for number in re.findall(r"-?\d+", text)])
    return numbers.reshape(shape) if numbers.size == np.prod(shape) else None


def executed(case: Case, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """finn-base executes a level: every integer tensor against the simulator's."""
    folder.mkdir(parents=True)
    onnx.save(write(graph), folder / "level.onnx")
    mine = Simulator.of(graph).tensors(images)
    values, wrong = compare_tensors(folder / "level.onnx", graph, images, folder, mine)
    return Row(what, "finn-base", case.name, f"{values:,} integers of {len(images)} images", tuple(wrong))


def compare_tensors(
    file: Path, graph: Graph, images: np.ndarray, folder: Path, mine: dict[str, np.ndarray]
) -> tuple[int, list[str]]:
    """Number of integers of a file's tensors that finn-base computes, and a line for each tensor that differs."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(for_finn_base(load(file)), folder / "model.onnx")
    np.save(folder / "images.npy", images)
    judge("finn-base", {"model": str(folder / "model.onnx"), "images": str(folder / "images.npy")}, folder)
    values, wrong = 0, []
    with np.load(folder / "answer.npz") as theirs:
        for node in graph.nodes:
            if graph.types[node.name].is_float:
                continue
            one, other = mine[node.name], theirs[node.name]
            values += one.size
            if one.shape != other.shape:
                wrong.append(f"{node.name!r}: shape {one.shape} here, {other.shape} there")
            elif not np.array_equal(one.astype(np.float64), other):
                place = tuple(int(i) for i in np.argwhere(one.astype(np.float64) != other)[0])
                wrong.append(f"{node.name!r} at {place}: {one[place]:g} here, {other[place]:g} there")
    return values, wrong
