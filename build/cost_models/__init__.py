"""Cost models of dataflow units, one class each; every file of this folder is loaded."""

from __future__ import annotations

from .base import COST_MODELS, CostModel

__all__ = ["COST_MODELS", "CostModel"]

COST_MODELS.load(__name__, __path__)
