"""Have programs that we did not write judge our results, and write docs/results/interop.md.

Usage: python -m tests.oracles.run. Exit status 1 if any comparison fails.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from bnnflow.build.finn_cost import FinnUnit, finn_units
from bnnflow.build.finn_reports import folding, unit_names
from bnnflow.build.memories import threshold_lines, threshold_table, weight_lines
from bnnflow.build.parts import part
from bnnflow.build.schedule import schedule
from bnnflow.sim.engine import Simulator
from bnnflow.transforms.compile import stages
from bnnflow.transforms.finn_base import for_finn_base
from bnnflow.transforms.graph import Graph, Mvau, Thresholding
from bnnflow.transforms.read import load, read
from bnnflow.transforms.write import write

from .entry import for_finn_plus
from .environments import FOLDER, PROGRAMS, ROOT, Refused, judge
from .networks import Case, cases, random_images
from .random_units import differences, random_types, random_units

PAGE = ROOT / "docs" / "results" / "interop.md"
PART, CLOCK_MHZ = "xc7z045ffg900-2", 200.0
UNITS_A_KIND = 500
LINES = 10
TURNED = (
    "behind a negative gain finn-plus negates a row of weights, ours what reads its bit: weights are equal but for the "
    "signs of rows and columns, and the estimates compared are those of our formulas on finn-plus' weights"
)
ENTERS = (
    "finn-plus does not convert this QONNX itself, as its max pools then read floats; in our dataflow graph they "
    "follow the thresholds"
)
CLIPPED = (
    "finn-plus clips bounds to its accumulator's type, which holds fewer than the possible popcounts; "
    "they are compared as it clips them"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: what, by which program, on what, how much, what is wrong (nothing where all is equal), notes."""

    what: str
    program: str
    subject: str
    compared: str
    wrong: tuple[str, ...]
    notes: tuple[str, ...] = ()


Check = Callable[[], Row]


def main() -> int:
    """Run every comparison; the exit status."""
    torch.set_num_threads(1)
    work = FOLDER / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows = [_guarded(lambda: unit_formulas(work / "units"), "cost formulas", "finn-plus", "random units")]
    rows.append(_guarded(lambda: unit_types(work / "types"), "data types", "finn-plus", "random units"))
    for case in cases(work):
        rows += judged(case, work / re.sub(r"\W+", "-", case.name).strip("-"))
    PAGE.write_text(page(rows))
    failed = [row for row in rows if row.wrong]
    print(f"{len(rows) - len(failed)} of {len(rows)} comparisons equal; {PAGE.relative_to(ROOT)} written")
    return 1 if failed else 0


def _guarded(check: Check, what: str, program: str, subject: str) -> Row:
    """The row of a check, with the last words of a program that refused as what is wrong."""
    try:
        row = check()
    except Refused as error:
        row = Row(what, program, subject, "refused", (str(error),))
    print(
        f"{'equal ' if not row.wrong else 'FAILED'} {row.subject}: {row.what}, {row.program}, {row.compared}",
        flush=True,
    )
    for line in row.wrong[:LINES]:
        print(f"       {line}", flush=True)
    if len(row.wrong) > LINES:
        print(f"       and {len(row.wrong) - LINES} more", flush=True)
    return row


def judged(case: Case, folder: Path) -> list[Row]:
    """Every comparison on one network."""
    made = {stage.level: stage.graph for stage in stages(read(load(case.file)))}
    graph = schedule(made["dataflow"], case.fps, CLOCK_MHZ, part(PART))
    images = random_images(graph.input_type.shape, case.images)
    rows = []

    def add(program: str, what: str, check: Check) -> None:
        rows.append(_guarded(check, what, program, case.name))

    if case.converts:
        what = "QONNX converted by finn-plus: weights, folding, data types, cycles, resources"
        add("finn-plus", what, lambda: conversion(case, made["network"], graph, images, folder / "conversion", what))
        ran = "classes by the graph that finn-plus streamlines"
        add("finn-plus", ran, lambda: classified(case, graph, images, folder / "conversion", ran))
    entry = "dataflow graph: folding, data types, cycles, resources"
    add("finn-plus", entry, lambda: dataflow(case, graph, folder / "dataflow", entry))
    stored = "words of memblock.dat, thresh.h and threshold .dat"
    add("finn-plus", stored, lambda: memories(case, graph, folder / "dataflow", stored))
    for level in ("integer", "xnor"):
        ran = f"every tensor of the {level} level"
        add("finn-base", ran, lambda level=level, ran=ran: executed(case, made[level], images, folder / level, ran))
    return rows


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
    what = "data types of weights, sums and bounds"
    return Row(what, "finn-plus", "random MVAU and Thresholding", f"{len(rows):,} units", wrong)


def conversion(case: Case, network: Graph, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """finn-plus converts our QONNX with our folding: its units and weights against ours.

    A negative gain turns the comparison behind a row of weights around. finn-plus negates the row, we negate what
    reads the bit; so weights are compared but for the signs of rows and columns, and what finn-plus estimates from
    its weights is held against our formulas on those.
    """
    ours = finn_units(graph, classify=True)
    folder.mkdir(parents=True)
    onnx.save(write(network), folder / "network.onnx")
    np.save(folder / "images.npy", images)
    answer = _build(folder, folder / "network.onnx", graph, ours, top_k=True, images=str(folder / "images.npy"))
    wrong, turned, nodes = [], False, []
    names = {unit.node: unit.name for unit in ours if unit.name.startswith("MVAU_")}
    with np.load(folder / "weights.npz") as theirs:
        for node in graph.nodes:
            name = names.get(node.name, "")
            if isinstance(node.op, Mvau) and name in theirs:
                found = (theirs[name] > 0).astype(np.uint8)
                if not _same_but_for_signs(node.op.weight, found):
                    wrong.append(f"{name}: weights differ by more than the signs of rows and columns")
                elif not np.array_equal(node.op.weight, found):
                    turned, node = True, replace(node, op=replace(node.op, weight=found))
            nodes.append(node)
    wrong += _unit_differences(finn_units(graph.with_nodes(tuple(nodes)), classify=True), answer, case.known)
    equal = sum(1 for unit in ours if unit.name not in case.known)
    notes = [f"{name}: {reason}" for name, reason in case.known.items()] + [TURNED] * turned
    return Row(what, "finn-plus", case.name, f"{equal} of {len(ours)} units", tuple(wrong), tuple(notes))


def classified(case: Case, graph: Graph, images: np.ndarray, folder: Path, what: str) -> Row:
    """The class of each image by finn-plus' own streamlining of our QONNX against the simulator's."""
    if not (folder / "classes.npy").is_file():
        raise Refused("finn-plus executed nothing: it refused the network")
    ours, theirs = Simulator.of(graph).scores(images).argmax(axis=1), np.load(folder / "classes.npy")
    wrong = [
        f"image {image}: class {ours[image]} here, {theirs[image]} there" for image in np.flatnonzero(ours != theirs)
    ]
    return Row(what, "finn-plus", case.name, f"{len(images)} images", tuple(wrong))


def _same_but_for_signs(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two matrices of bits are equal when some rows and columns of one are negated."""
    if one.shape != other.shape:
        return False
    differ = one != other
    return bool(np.array_equal(differ, differ[:, :1] ^ differ[:1] ^ differ[0, 0]))


def dataflow(case: Case, graph: Graph, folder: Path, what: str) -> Row:
    """Our dataflow graph enters finn-plus before its layers are specialised: its units against ours."""
    ours = finn_units(graph)
    costs = [unit.cost.cycles for unit in ours]
    folder.mkdir(parents=True)
    onnx.save(for_finn_plus(write(graph)), folder / "dataflow.onnx")
    answer = _build(
        folder, folder / "dataflow.onnx", graph, ours, start="step_create_dataflow_partition", memories=True
    )
    wrong = _unit_differences(ours, answer, {})
    network = answer["estimate_network_performance"]
    for key, one in (("max_cycles", max(costs)), ("critical_path_cycles", sum(costs))):
        if one != network[key]:
            wrong.append(f"network: {key} is {one} here, {network[key]} there")
    notes = () if case.converts else (ENTERS,)
    return Row(what, "finn-plus", case.name, f"{len(ours)} units", tuple(wrong), notes)


def _build(folder: Path, model: Path, graph: Graph, ours: list[FinnUnit], **more: Any) -> dict[str, Any]:
    """finn-plus' build of a model with our folding configuration, under finn-plus' names of our units."""
    names = unit_names(graph)
    theirs: dict[str, dict[str, Any]] = {"Defaults": {}}
    for key, settings in folding(graph).items():
        node = next((node for node, name in names.items() if name == key), None)
        if node is not None:
            kind = key.rpartition("_")[0]
            theirs[next(u.name for u in ours if u.node == node and u.name.startswith(kind))] = settings
    (folder / "auto_folding_config.json").write_text(json.dumps(theirs, indent=2))
    job = {
        "task": "build",
        "model": str(model),
        "part": PART,
        "clock_mhz": CLOCK_MHZ,
        "folding": str(folder / "auto_folding_config.json"),
        **more,
    }
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
        cycles, resources = answer["estimate_layer_cycles"][name], answer["estimate_layer_resources"][name]
        pairs = {key: (value, theirs[name].get(key)) for key, value in (unit.settings | unit.types).items()}
        pairs["cycles"] = (unit.cost.cycles, cycles)
        for key, value in zip(("LUT", "BRAM_18K", "URAM", "DSP"), _resources(unit), strict=True):
            pairs[key] = (value, resources[key])
        wrong += [f"{name}: {key} is {one} here, {other} there" for key, (one, other) in pairs.items() if one != other]
    return wrong


def _resources(unit: FinnUnit) -> tuple[int, int, int, int]:
    return unit.cost.lut, unit.cost.bram18, unit.cost.uram, unit.cost.dsp


def memories(case: Case, graph: Graph, folder: Path, what: str) -> Row:
    """The memory files that finn-plus writes for our dataflow graph against ours, line by line."""
    files = folder / "memories"
    if not files.is_dir():
        raise Refused("finn-plus wrote no memories: it refused the dataflow graph")
    words, moved, wrong = 0, False, []
    for unit in finn_units(graph):
        op = graph.node(unit.node).op
        if isinstance(op, Mvau):
            lines = weight_lines(_weights(op), op.pe, op.simd, _bits(unit.types["weightDataType"]))
            words += len(lines)
            if lines != _lines(files / unit.name / "memblock.dat"):
                wrong.append(f"{unit.name}: memblock.dat differs")
            if op.has_bounds:
                low, high = _limits(unit.types["accDataType"])
                table = threshold_table(np.clip(op.bounds, low, high + 1), op.pe)
                moved = moved or not np.array_equal(np.clip(op.bounds, low, high + 1), op.bounds)
                words += table.size
                found = _table(files / unit.name / "thresh.h", table.shape)
                if found is None or not np.array_equal(table, found):
                    wrong.append(f"{unit.name}: thresh.h differs")
        elif isinstance(op, Thresholding):
            width, bits = _bits(unit.types["outputDataType"]), _bits(unit.types["weightDataType"])
            for (lane, stage), lines in threshold_lines(op.bounds, op.pe, width, bits).items():
                words += len(lines)
                if lines != _lines(files / unit.name / f"{unit.name}_threshs_{lane}_{stage}.dat"):
                    wrong.append(f"{unit.name}: the thresholds of lane {lane}, stage {stage} differ")
    notes = (CLIPPED,) if moved else ()
    return Row(what, "finn-plus", case.name, f"{words:,} words", tuple(wrong), notes)


def _weights(op: Mvau) -> np.ndarray:
    return op.weight if op.xnor else 2 * op.weight.astype(np.int64) - 1


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
    onnx.save(for_finn_base(write(graph)), folder / "model.onnx")
    np.save(folder / "images.npy", images)
    mine = Simulator.of(graph).tensors(images)
    np.savez(folder / "ours.npz", **mine)
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
    return Row(what, "finn-base", case.name, f"{values:,} integers of {len(images)} images", tuple(wrong))


def page(rows: list[Row]) -> str:
    """The results as a page."""
    versions = " and ".join(f"{program} {version}" for program, version, _ in PROGRAMS.values())
    lines = [
        "# What other programs say",
        "",
        f"Made by `make oracles`, which installs {versions} in environments of their own below `.oracles/` and",
        "compares for equality. Networks are untrained, their batch norms have gains of both signs; estimates are",
        f"for {PART} at {CLOCK_MHZ:g} MHz. Nothing here was synthesized.",
        "",
        "| network | compared | by | how much | result |",
        "|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for row in rows:
        result = f"{len(row.wrong)} differ" if row.wrong else "equal"
        for note in row.notes:
            if note not in notes:
                notes.append(note)
        if row.notes:
            result += f" ({', '.join(str(notes.index(note) + 1) for note in dict.fromkeys(row.notes))})"
        version = next(version for _, (program, version, _) in PROGRAMS.items() if program == row.program)
        lines.append(f"| {row.subject} | {row.what} | {row.program} {version} | {row.compared} | {result} |")
    lines += ["", *(f"{number}. {note}." for number, note in enumerate(notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
