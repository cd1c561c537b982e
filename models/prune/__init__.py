"""Structured pruning: whole filters and neurons are removed, the network becomes physically smaller, and recovers."""

from .schedule import PruneResult, PruneSpec, prune
from .surgery import check_prunable, remove

__all__ = ["PruneResult", "PruneSpec", "check_prunable", "prune", "remove"]
