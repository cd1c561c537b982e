"""How many channels each group keeps: hardware saved per accuracy lost.

After MOSP (Sabih et al., IGSC 2022): sensitivity curves, one weight for each objective, then a small exploration.
What a candidate costs is a function that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from .sensitivity import SensitivityCurve

Widths = Mapping[str, int]
Cost = Mapping[str, float]
JUMPS = (1, 2, 4)
_STEPS = 32
_FINEST = 1e-4


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be saved.

    Attributes:
        weights: of parts of the cost, such as {"lut": 1, "bram18": 2}: relative savings are added with them.
        budget: most that parts of the cost may be; with one, pruning ends where all are met.

    Raises:
        Problem: no weight and no budget, or a number that is not positive.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.weights and not self.budget:
            raise Problem("there is nothing to save", "objective", "for example {lut: 1}")
        for kind in (self.weights, self.budget):
            for name, value in kind.items():
                if not value > 0:
                    raise Problem(f"{name} of {value}", "objective", "give positive numbers")

    def left(self, cost: Cost, whole: Cost) -> float:
        """What is left of the unpruned network's cost: 1 for all of it. With a budget, 1 and less fits."""
        if self.budget:
            return max(cost[name] / limit for name, limit in self.budget.items())
        total = sum(self.weights.values())
        return sum(weight * cost[name] / whole[name] for name, weight in self.weights.items() if whole[name]) / total

    def excess(self, cost: Cost, whole: Cost) -> float:
        """What moves bring down: the weighted cost, or by how much the parts of a budget are exceeded."""
        if self.budget:
            return sum(max(0.0, cost[name] / limit - 1.0) for name, limit in self.budget.items())
        return self.left(cost, whole)


@dataclass(frozen=True, slots=True)
class Space:
    """Among what is chosen.

    Attributes:
        widths: channels of each group before pruning.
        kept: channels that are left now.
        units: channels that go at a time, by group.
        least: channels that must stay, by group.
        curves: sensitivity by group; groups without one stay whole, and no group loses more than was measured.
    """

    widths: Widths
    kept: Widths
    units: Widths
    least: Widths
    curves: Mapping[str, SensitivityCurve]

    def loss(self, kept: Widths) -> float:
        """Predicted accuracy lost: the sum over all groups."""
        return sum(curve.loss(self.widths[name] - kept[name]) for name, curve in self.curves.items())

    def allowed(self, name: str, width: int) -> bool:
        """Whether a group may be left with so many channels."""
        curve = self.curves[name]
        return width >= max(1, self.least[name], self.widths[name] - curve.removed[-1])

    def step(self, name: str) -> int:
        """Channels of one move: a unit, or more where a group has more than 32 units."""
        unit = self.units[name]
        return unit * max(1, self.widths[name] // (unit * _STEPS))

    def moves(self, kept: Widths) -> Iterator[tuple[str, dict[str, int]]]:
        """Every group made narrower by one, two or four steps."""
        for name in self.curves:
            for jump in JUMPS:
                width = self.narrower(name, kept[name], jump)
                if width < kept[name] and self.allowed(name, width):
                    yield name, {**kept, name: width}

    def narrower(self, name: str, width: int, jump: int = 1) -> int:
        """A width some steps below, in whole units."""
        unit = self.units[name]
        return -(-(width - jump * self.step(name)) // unit) * unit


def allocate(space: Space, cost: Callable[[Widths], Cost], objective: Objective, goal: float) -> dict[str, int]:
    """Take channels away greedily until no more than `goal` is left of the cost.

    Each move is the one with the most cost saved for each point of predicted accuracy; where none saves anything
    (a memory is filled in steps), the one with the most binary operations saved.

    Args:
        space: what may be chosen.
        cost: of what stays, with the objective's parts and "ops".
        objective: what is saved.
        goal: as `Objective.left` counts.

    Raises:
        Problem: status 1; a budget that cannot be met; the message shows the closest.
    """
    whole = cost(space.widths)
    kept = dict(space.kept)
    best = (objective.left(cost(kept), whole), dict(kept))
    while objective.left(now := cost(kept), whole) > goal:
        candidates = list(space.moves(kept))
        if not candidates:
            break
        lost = space.loss(kept)
        rated = []
        for name, candidate in candidates:
            after, risk = cost(candidate), max(space.loss(candidate) - lost, _FINEST)
            saved = objective.excess(now, whole) - objective.excess(after, whole)
            fewer = (now["ops"] - after["ops"]) / (whole["ops"] or 1.0)
            # Of moves as good the smallest; rates that differ by rounding alone are as good.
            rated.append((saved > 0, round((saved if saved > 0 else fewer) / risk, 9), candidate[name], candidate))
        kept = max(rated, key=lambda item: item[:3])[3]
        best = min(best, (objective.left(cost(kept), whole), dict(kept)), key=lambda item: item[0])
    if objective.budget and best[0] > goal:
        raise _unmet(cost(best[1]), best[1], objective, goal)
    return kept


def equal_shares(
    space: Space, cost: Callable[[Widths], Cost], objective: Objective, goal: float
) -> dict[str, int] | None:
    """The least share, taken of every group in whole units, that leaves no more than `goal`; None where none does.

    Args are those of `allocate`.
    """
    whole = cost(space.widths)
    for percent in range(1, 100):
        kept = dict(space.kept)
        for name in space.curves:
            unit = space.units[name]
            width = max(unit, int(space.widths[name] * (1 - percent / 100) / unit + 0.5) * unit)
            while width < kept[name] and not space.allowed(name, width):
                width += unit
            kept[name] = min(kept[name], width)
        if objective.left(cost(kept), whole) <= goal:
            return kept
    return None


def _unmet(cost: Cost, kept: Widths, objective: Objective, goal: float) -> Problem:
    parts = ", ".join(f"{name} {cost[name]:,.0f} of {limit * goal:,.0f}" for name, limit in objective.budget.items())
    widths = ", ".join(f"{name} {width}" for name, width in kept.items())
    what = f"no network that may be chosen meets the budget; the closest has {parts} ({widths})"
    return Problem(what, "budget", "raise the budget, lower min_width, or take a lower rate", CHECK_FAILED)


def explore(
    space: Space,
    kept: Widths,
    cost: Callable[[Widths], Cost],
    objective: Objective,
    accuracy: Callable[[Widths], float],
    moves: int,
    seed: int,
    goal: float,
) -> tuple[dict[str, int], list[dict[str, float | str]]]:
    """Shift channels from one group to another at random, and keep what measures best.

    Args:
        space, cost, objective, goal: as for `allocate`.
        kept: where to start.
        accuracy: measured, of what stays.
        moves: how many shifts are tried; each starts from the best so far.
        seed: of the shifts.

    Returns:
        The best, and for each shift that was measured `wider`, `narrower`, `accuracy`.
    """
    rng = np.random.default_rng([seed, 5])
    whole = cost(space.widths)
    best, limit = dict(kept), max(goal, objective.left(cost(kept), whole))
    top = accuracy(best)
    tried: list[dict[str, float | str]] = []
    names = sorted(space.curves)
    for _ in range(moves if len(names) > 1 else 0):
        wider, narrower = (names[index] for index in rng.choice(len(names), 2, replace=False))
        candidate = {
            **best,
            wider: min(space.kept[wider], best[wider] + space.step(wider)),
            narrower: space.narrower(narrower, best[narrower]),
        }
        fits = space.allowed(narrower, candidate[narrower]) and candidate[narrower] < best[narrower]
        if not fits or candidate[wider] == best[wider] or objective.left(cost(candidate), whole) > limit:
            continue
        found = accuracy(candidate)
        tried.append({"wider": wider, "narrower": narrower, "accuracy": found})
        if found > top:
            best, top = candidate, found
    return best, tried
