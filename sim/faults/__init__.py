"""Faults of hardware in simulated networks: what breaks and where, campaigns, criticality, margins.

`Grid` and `Campaign` run whole campaigns on a `Subject` (graph, images, labels); `Model`, `Rates` and `Protection`
say what is hit, how often and behind what; `FaultMap` draws, keeps and replays maps of memories; `criticality`
judges every single bit of a layer; `margins` and `attack` bound what cannot and what can go wrong.
"""

from __future__ import annotations

from .campaign import Campaign, Grid, Plan, Series
from .layout import Memory, from_memory, memories, memory
from .maps import FaultMap, checksum, draw, flips, inject
from .models import Cells, Model, Rate
from .protect import Protection, ProtectionCost
from .rates import Rates, read_rates
from .statistics import leveugle, paired, student_t
from .store import Store
from .sweep import Sweep, sweep
from .trials import TARGETS, Outcome, Point, Subject
from .workers import Workers

__all__ = [
    "TARGETS",
    "Campaign",
    "Cells",
    "FaultMap",
    "Grid",
    "Memory",
    "Model",
    "Outcome",
    "Plan",
    "Point",
    "Protection",
    "ProtectionCost",
    "Rate",
    "Rates",
    "Series",
    "Store",
    "Subject",
    "Sweep",
    "Workers",
    "checksum",
    "draw",
    "flips",
    "from_memory",
    "inject",
    "leveugle",
    "memories",
    "memory",
    "paired",
    "read_rates",
    "student_t",
    "sweep",
]
