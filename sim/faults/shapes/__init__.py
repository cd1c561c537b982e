"""Shapes of faults, one class each; every file of this folder is loaded."""

from __future__ import annotations

from .base import SHAPES, Shape

__all__ = ["SHAPES", "Shape"]

SHAPES.load(__name__, __path__)
