"""What `flow compare` finds of several runs."""

from __future__ import annotations

from dataclasses import dataclass

from .comparison import EqualAccuracy, HardwareComparison
from .summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsCompared:
    """What `flow compare` finds.

    Attributes:
        runs: summaries, as they were given.
        hardware: pruned beside unpruned, of each run with a pruned network.
        accuracy: at equal accuracy: among the runs' networks by test images, and among the rounds of each pruning by
            images held out.
        notes: what could not be compared, and why.
    """

    runs: list[Summary]
    hardware: list[HardwareComparison]
    accuracy: list[EqualAccuracy]
    notes: list[str]
