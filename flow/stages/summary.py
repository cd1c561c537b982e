"""The summary of a run: one JSON object that tables, pages and comparisons are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import CHECK_FAILED, Problem

from ...build.cost import SOURCE
from ...build.energy import SOURCE as ENERGY_SOURCE
from ...build.unrolled import SOURCE as UNROLLED_SOURCE
from ..recipe.methods.all import METHODS
from ..run.folder import Run

if TYPE_CHECKING:
    from .build import Build


def summarize(build: Build) -> dict[str, Any]:
    """Everything a reader of a run wants to know, from the facts of its stages.

    The keys are stable; `networks.base` and, where pruning ran, `networks.pruned` hold accuracy (0 to 1),
    operations an image, cycles, LUTs and block RAMs of 18 kbit.
    """
    facts, recipe, manifest = build.facts, build.recipe, build.run.manifest
    pruning = _pruning(facts)
    chip = facts["schedule"]
    return {
        "name": recipe.name,
        "created": manifest["created"],
        "bnnflow": manifest["versions"]["bnnflow"],
        "data": {"name": recipe.data.name, **facts["data"]},
        "target": {
            "part": recipe.target.part,
            "clock_mhz": recipe.target.clock_mhz,
            "fps": recipe.target.fps,
            "lut": chip["lut"],
            "bram18": chip["bram18"],
        },
        "networks": {name: _network(build, name) for name in build.networks},
        "input": facts["streamline"]["input"]["base"],
        "finn": facts["schedule"]["finn"],
        "verify": {name: facts["verify"][name] for name in build.networks},
        "pruning": pruning and {**pruning, "unpruned_copy": unpruned_copy(facts)},
        "faults": facts["faults"] or None,
        "speed": facts["speed"] or None,
        "training": {
            "base": facts["train"].get("history", []),
            "accuracy_before_reestimation": facts["train"].get("accuracy_before_reestimation"),
        },
        "notes": _notes(facts),
        "stages": [
            {"name": done.name, "seconds": done.seconds, "skipped": done.skipped} for done in build.run.timeline
        ],
        "versions": manifest["versions"],
        "sources": {
            "accuracy": "measured on the test images",
            "accuracy_hw": "simulated bit by bit on the test images",
            "cost": SOURCE,
            "energy": ENERGY_SOURCE,
            "unrolled": UNROLLED_SOURCE,
            "speed": "measured",
        },
    }


def _pruning(facts: dict[str, Any]) -> dict[str, Any] | None:
    """What the stage `prune` says, with the cost of each step where the stage `cost` knows it."""
    if not facts["prune"]:
        return None
    costs = facts["cost"].get("steps") or [{} for _ in facts["prune"]["steps"]]
    steps = [{**step, "cost": cost} for step, cost in zip(facts["prune"]["steps"], costs, strict=True)]
    return {**facts["prune"], "steps": steps, "unpruned": facts["cost"].get("unpruned")}


def _notes(facts: dict[str, Any]) -> dict[str, list[str]]:
    notes = {name: list(found) for name, found in facts["streamline"]["notes"].items()}
    copied = unpruned_copy(facts)
    if copied:
        notes["pruned"].insert(0, copied)
    return notes


def unpruned_copy(facts: dict[str, Any]) -> str:
    """One sentence where the pruned network has all that the unpruned one has; "" where something is gone."""
    if not facts["prune"] or any(
        facts["cost"]["pruned"].get(key) != facts["cost"]["base"].get(key) for key in ("weights", "neurons", "synapses")
    ):
        return ""
    why = METHODS[facts["prune"]["method"]].why_nothing
    return f"nothing was removed: {facts['prune']['stop'] or why}"


def _network(build: Build, name: str) -> dict[str, Any]:
    facts = build.facts
    trained = facts["train" if name == "base" else "prune"]
    return {
        "accuracy": trained.get("accuracy", facts["verify"][name]["accuracy"]),
        "accuracy_hw": facts["verify"][name]["accuracy"],
        **facts["cost"][name],
    }


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run folder whose files are all as they were written.

    Raises:
        Problem: not a run folder, not finished, or (status 1) a file is missing or was changed.
    """
    run = Run.find(folder)
    if run is None:
        raise Problem("this is not a run folder", str(folder), "give a folder that `flow build` made")
    faults = run.check_files()
    if faults:
        raise Problem("; ".join(faults), str(run.folder), "flow build the recipe again", CHECK_FAILED)
    path = run.path("summary.json")
    if not path.is_file():
        raise Problem("this run is not finished", str(run.folder), "flow build goes on with it")
    return {**json.loads(path.read_text()), "folder": str(folder)}
