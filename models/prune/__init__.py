"""Structured pruning: whole filters and neurons are removed, the network becomes physically smaller, and recovers."""

from .groups import Group, group_scores, groups
from .schedule import PruneResult, PruneSpec, prune
from .surgery import drop_blocks, remove, remove_inputs

__all__ = [
    "Group",
    "PruneResult",
    "PruneSpec",
    "drop_blocks",
    "group_scores",
    "groups",
    "prune",
    "remove",
    "remove_inputs",
]
