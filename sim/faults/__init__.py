"""Faults of hardware in simulated networks: what breaks and where, campaigns, criticality, margins.

`Grid` and `Campaign` run whole campaigns on a `Subject` (graph, images, labels); `FaultModel`, `Rates` and `Protection`
say what is hit, how often and behind what; `FaultMap` draws, keeps and replays maps of memories; `criticality`
judges every single bit of a layer; `margins` and `attack` bound what cannot and what can go wrong.
"""

from __future__ import annotations

from .campaigns.campaign import Campaign, Grid, Plan, Series
from .campaigns.equal import EQUAL, check_equal, equal_faults, stored_bits
from .campaigns.statistics import leveugle, paired, student_t
from .campaigns.store import Store
from .campaigns.sweep import Sweep, sweep
from .campaigns.workers import Workers
from .injection.boards import Board, kc705b, read_board
from .injection.cells import CellRate, Cells
from .injection.effects import EFFECTS
from .injection.layout import Memory, elsewhere, from_memory, in_block_ram, memories, memory
from .injection.maps import FaultMap, checksum, contents, draw_map, flips, inject
from .injection.metrics import METRICS, ClassCount, MarginSum
from .injection.models import FaultModel
from .injection.placements import Placement, read_placement
from .injection.protect import Protection, ProtectionCost, Protections
from .injection.rates import Rates, read_rates, upset_rate
from .injection.trials import TARGETS, Outcome, Point, Subject
from .injection.undervolting import Chip, Exposure, exposure
from .protections import CODES
from .shapes import SHAPES

__all__ = [
    "CODES",
    "EFFECTS",
    "EQUAL",
    "METRICS",
    "SHAPES",
    "TARGETS",
    "Board",
    "Campaign",
    "CellRate",
    "Cells",
    "Chip",
    "ClassCount",
    "Exposure",
    "FaultMap",
    "FaultModel",
    "Grid",
    "MarginSum",
    "Memory",
    "Outcome",
    "Placement",
    "Plan",
    "Point",
    "Protection",
    "ProtectionCost",
    "Protections",
    "Rates",
    "Series",
    "Store",
    "Subject",
    "Sweep",
    "Workers",
    "check_equal",
    "checksum",
    "contents",
    "draw_map",
    "elsewhere",
    "equal_faults",
    "exposure",
    "flips",
    "from_memory",
    "in_block_ram",
    "inject",
    "kc705b",
    "leveugle",
    "memories",
    "memory",
    "paired",
    "read_board",
    "read_placement",
    "read_rates",
    "stored_bits",
    "student_t",
    "sweep",
    "upset_rate",
]
