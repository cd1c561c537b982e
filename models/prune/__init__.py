"""Structured pruning: whole filters and neurons are removed, the network becomes physically smaller, and recovers."""

from .groups import Group, group_scores, groups
from .schedule import prune
from .spec import Allocation, PruneResult, PruneSpec, Situation
from .surgery import drop_blocks, remove, remove_inputs

__all__ = [
    "Allocation",
    "Group",
    "PruneResult",
    "PruneSpec",
    "Situation",
    "drop_blocks",
    "group_scores",
    "groups",
    "prune",
    "remove",
    "remove_inputs",
]
