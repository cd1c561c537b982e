"""The stages of `flow build` in order, for a command line that imports none of them."""

from __future__ import annotations

STAGE_NAMES = (
    *("data", "train", "prune", "export", "streamline", "lower"),
    *("verify", "schedule", "cost", "faults", "speed", "report"),
)
