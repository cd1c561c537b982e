"""Structured pruning: whole filters and neurons are removed, the network becomes physically smaller, and recovers."""

from .schedule import Allocation, PruneResult, PruneSpec, Situation, prune
from .surgery import check_prunable, remove

__all__ = ["Allocation", "PruneResult", "PruneSpec", "Situation", "check_prunable", "prune", "remove"]
