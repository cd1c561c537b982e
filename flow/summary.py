"""The summary of a run: one JSON object that tables, pages and comparisons are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Build


def summarize(build: Build) -> dict[str, Any]:
    """Everything a reader of a run wants to know, from the facts of its stages.

    The keys are stable; `networks.base` and, where pruning ran, `networks.pruned` hold accuracy (0 to 1),
    operations an image, cycles, LUTs and block RAMs of 18 kbit.
    """
    facts, recipe, manifest = build.facts, build.recipe, build.run.manifest
    pruning = facts["prune"] or None
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
        "verify": {name: facts["verify"][name] for name in build.networks},
        "pruning": pruning and {"criterion": pruning["criterion"], "steps": pruning["steps"]},
        "faults": facts["faults"] or None,
        "speed": facts["speed"] or None,
        "training": {
            "base": facts["train"]["history"],
            "accuracy_before_reestimation": facts["train"]["accuracy_before_reestimation"],
        },
        "notes": facts["streamline"]["notes"],
        "stages": [
            {"name": done.name, "seconds": done.seconds, "skipped": done.skipped} for done in build.run.timeline
        ],
        "versions": manifest["versions"],
        "sources": {
            "accuracy": "measured on the test images",
            "accuracy_hw": "simulated bit by bit on the test images",
            "cost": "estimated (FINN formulas)",
            "speed": "measured",
        },
    }


def _network(build: Build, name: str) -> dict[str, Any]:
    facts = build.facts
    trained = facts["train" if name == "base" else "prune"]
    return {
        "accuracy": trained["accuracy"],
        "accuracy_hw": facts["verify"][name]["accuracy"],
        **facts["cost"][name],
    }
