"""Codes that protect memories, one class each; every file of this folder is loaded."""

from __future__ import annotations

from .base import CODES, Code

__all__ = ["CODES", "Code"]

CODES.load(__name__, __path__)
