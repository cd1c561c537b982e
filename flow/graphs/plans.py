"""Plans of codes as files, which name the network that they are for."""

from __future__ import annotations

import json
from pathlib import Path

from bnnflow import Problem

from ...sim.faults.injection.layout import KINDS, memories
from ...sim.faults.injection.placements import memories_digest
from ...transforms.ir.graph import Graph
from .inputs import load_json

ENDING = ".json"
_KEYS = {"network": str, "protect": str}
_HOW = "give a file that `flow protect -o` wrote"


def plan_text(graph: Graph, protect: str) -> str:
    """A plan of codes for a graph, as the content of a file."""
    return json.dumps({"network": memories_digest(graph, memories(graph, KINDS)), "protect": protect}, indent=2) + "\n"


def is_plan(text: str) -> bool:
    """Whether codes are said by a file."""
    return text.endswith(ENDING)


def codes_said(graph: Graph, text: str) -> str:
    """Codes of a graph's memories, as they stand or as a plan's file says.

    Raises:
        Problem: the file cannot be read, is no plan, or is one for another network or folding.
    """
    if not is_plan(text):
        return text
    held = load_json(Path(text), "plan of codes", _HOW)
    if {key: type(value) for key, value in held.items()} != _KEYS:
        raise Problem("this is no plan of codes", text, _HOW)
    mine = memories_digest(graph, memories(graph, KINDS))
    if held["network"] != mine:
        what = f"the plan is for another network or folding ({held['network'][:12]}, not {mine[:12]})"
        raise Problem(what, text, "plan anew with `flow protect`")
    found: str = held["protect"]
    return found
