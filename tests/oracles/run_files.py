"""What a run hands over, exactly as its files lie on disk: taken up by finn-plus and finn-base, a row each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bnnflow.flow.cli import app as cli
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.reading.read import read

from .compare import Row, compare_tensors
from .environments import ROOT, Refused, judge
from .networks import random_images

SUBJECT = "model.yaml's run"
_FEW = ("train.epochs=2", "prune.epochs=1", "prune.steps=1", "verify.images=16")
_SHOWN = ("LUT", "BRAM_18K", "URAM", "DSP")


def run_files(folder: Path) -> list[tuple[str, str, Callable[[], Row]]]:
    """Build the recipe at the root, briefly trained; what to compare of its files: what, by which program, and how."""
    run = folder / "run"
    overrides = [word for text in _FEW for word in ("-s", text)]
    if cli.run(["build", str(ROOT / "model.yaml"), "--run", str(run), "--to", "cost", *overrides]):
        raise Refused("flow build failed")
    checks: list[tuple[str, str, Callable[[], Row]]] = []
    for network in ("base", "pruned"):
        what = f"finn/ of {network}: graph, folding file and reports as they lie there"
        checks.append((what, "finn-plus", partial(_handed, run / network / "finn", folder / network, what)))
        for level in ("1_integer", "2_xnor"):
            file = run / network / "intermediate_models" / f"{level}.onnx"
            what = f"every tensor of {network}/intermediate_models/{level}.onnx"
            checks.append((what, "finn-base", partial(_executed, file, folder / f"{network}_{level}", what)))
    return checks


def _handed(place: Path, folder: Path, what: str) -> Row:
    """finn-plus takes the graph with the folding file and estimates: its reports against those beside them."""
    target = json.loads((place.parents[1] / "manifest.json").read_text())["stages"]["schedule"]["facts"]
    shutil.copytree(place, folder)
    job = {"task": "build", "model": str(folder / "dataflow.onnx"), "folding": str(folder / "auto_folding_config.json")}
    job |= {"part": target["part"], "clock_mhz": 100.0, "start": "step_create_dataflow_partition"}
    answer = judge("finn-plus", job, folder)
    ours = {name: json.loads((folder / "report" / f"{name}.json").read_text()) for name in answer if name != "units"}
    wrong: list[str] = []
    cycles, theirs = ours["estimate_layer_cycles"], answer["estimate_layer_cycles"]
    wrong += [f"{name}: {cycles.get(name)} cycles here, {theirs.get(name)} there" for name in cycles | theirs
              if cycles.get(name) != theirs.get(name)]  # fmt: skip
    for name in cycles:
        mine, other = ours["estimate_layer_resources"][name], answer["estimate_layer_resources"].get(name, {})
        wrong += [f"{name}: {key} {mine[key]} here, {other.get(key)} there" for key in _SHOWN
                  if mine[key] != other.get(key)]  # fmt: skip
    for key in ("max_cycles", "critical_path_cycles"):
        mine, other = (one["estimate_network_performance"][key] for one in (ours, answer))
        wrong += [f"{key} is {mine} here, {other} there"] if mine != other else []
    folded = {unit["name"]: unit["attributes"] for unit in answer["units"]}
    for name, stated in json.loads((folder / "auto_folding_config.json").read_text()).items():
        if name != "Defaults":
            wrong += [f"{name}: {key} {value} here, {folded.get(name, {}).get(key)} there"
                      for key, value in stated.items() if folded.get(name, {}).get(key) != value]  # fmt: skip
    return Row(what, "finn-plus", SUBJECT, f"{len(cycles)} units", tuple(wrong))


def _executed(file: Path, folder: Path, what: str) -> Row:
    graph = read(file)
    images = random_images(graph.input_type.shape, 16)
    values, wrong = compare_tensors(file, graph, images, folder, Simulator.of(graph).tensors(images))
    return Row(what, "finn-base", SUBJECT, f"{values:,} integers of {len(images)} images", tuple(wrong))
