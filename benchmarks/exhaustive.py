"""The fronts of `flow explore` beside those of all designs, each of which is counted.

    PYTHONPATH=. python benchmarks/exhaustive.py [--family xc7] [--draws 20] [--seed 0]

TFC: every folding of every unit with every place for its weights, all of them together. FashCNN has too many: of each
unit some of its ways are drawn, as many as leave some millions of designs, and both searches choose among these. The
costs of units and of what joins them are the model's; what is judged is the search. Exit status 1 where a front
differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise, product

import numpy as np
from rtl import folded

from bnnflow.build.calibrated.table import table
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.pareto import best
from bnnflow.build.points import MULTIPLIER_LUT, Choice
from bnnflow.transforms.ir.ops import Pool

RAMS = 280
DESIGNS = 20_000_000
Front = set[tuple[int, int, int]]


def every_way(space: Space) -> dict[str, tuple[Choice, ...]]:
    """All ways to build each unit, also those that others beat."""
    return {
        node.name: tuple(space._choices(node, space.model.widths(node.op, space.graph.types[node.input])))
        for node in space.units
    }


def drawn(ways: Mapping[str, Sequence[Choice]], rng: np.random.Generator) -> dict[str, tuple[Choice, ...]]:
    """Some ways of each unit, so that at least about DESIGNS are left."""
    free = [name for name, held in ways.items() if len(held) > 1]
    each = max(2, int(DESIGNS ** (1 / len(free))))
    made = {}
    for name, held in ways.items():
        number = min(len(held), each + int(rng.integers(0, 2)))
        made[name] = tuple(held[place] for place in sorted(rng.choice(len(held), number, replace=False)))
    return made


def all_designs(space: Space, ways: Mapping[str, Sequence[Choice]]) -> tuple[int, Front]:
    """How many designs there are, and those that no other beats in cycles, LUTs and block RAMs."""
    units = [ways[node.name] for node in space.units]
    joins = [_joins(space, node.name, one, two) for node, (one, two) in zip(space.units, pairwise(units), strict=False)]
    cycles = sorted({each.cycles for held in units for each in held})
    place_of = {value: place for place, value in enumerate(cycles)}
    fewest = np.full((len(cycles), RAMS + 1), np.inf)
    # Designs of the last units, as many as a vector holds well, beside each design of the first.
    cut = len(units) - 1
    while cut > 1 and np.prod([len(held) for held in units[cut - 1 :]], dtype=float) <= 100_000:
        cut -= 1
    behind = list(product(*(range(len(held)) for held in units[cut:])))
    slow, cost = np.zeros(len(behind), int), np.zeros((len(behind), 2))
    chosen = np.array(behind)
    for number, held in enumerate(units[cut:]):
        slow = np.maximum(slow, np.array([place_of[each.cycles] for each in held])[chosen[:, number]])
        cost += np.array([each.cost for each in held])[chosen[:, number]]
        if number:
            cost += joins[cut + number - 1][chosen[:, number - 1], chosen[:, number]]
    count = 0
    for first in product(*(range(len(held)) for held in units[:cut])):
        taken = [held[place] for held, place in zip(units[:cut], first, strict=True)]
        own = space.entrance(taken[0].entry) + sum(each.cost for each in taken)
        for number, pair in enumerate(pairwise(first)):
            own = own + joins[number][pair]
        total = cost + own + joins[cut - 1][first[-1], chosen[:, 0]]
        count += len(total)
        there = np.flatnonzero(np.isfinite(total[:, 0]) & (total[:, 1] <= RAMS))
        slowest = np.maximum(slow[there], max(place_of[each.cycles] for each in taken))
        np.minimum.at(fewest, (slowest, total[there, 1].astype(int)), total[there, 0])
    rows = [(cycles[row], fewest[row, rams], rams) for row, rams in zip(*np.nonzero(np.isfinite(fewest)), strict=True)]
    kept = best(np.array(rows, float).reshape(-1, 3))
    return count, {(int(rows[place][0]), int(rows[place][1]), int(rows[place][2])) for place in kept}


def _joins(space: Space, tensor: str, one: Sequence[Choice], two: Sequence[Choice]) -> np.ndarray:
    """(ways of one unit, ways of the next, 2) of what joins their words."""
    reader = space.graph.readers(tensor)[0]
    made = np.zeros((len(one), len(two), 2))
    for row, first in enumerate(one):
        for column, second in enumerate(two):
            apart = isinstance(reader.op, Pool) and first.leave != second.entry
            made[row, column] = (
                np.inf if apart else space.converter(space.graph.types[tensor], first.leave, second.entry)
            )
    return made


def searched(space: Space, ways: Mapping[str, Sequence[Choice]]) -> Front:
    """The front as `flow explore` finds it, of these ways."""
    space.__dict__["choices"] = ways
    space.__dict__.pop("alike", None)
    return {(point.cycles, point.lut + MULTIPLIER_LUT * point.dsp, point.bram18) for point in space.front(RAMS)}


def judged(name: str, space: Space, ways: Mapping[str, Sequence[Choice]]) -> bool:
    """Print both fronts' sizes; whether they are equal."""
    began = time.process_time()
    found = searched(space, ways)
    between = time.process_time()
    count, expected = all_designs(space, ways)
    took = time.process_time() - between
    same = "equal" if found == expected else f"DIFFERENT: {len(found - expected)} more, {len(expected - found)} fewer"
    print(
        f"{name}: {count:,} designs, {len(expected)} on the front, {same}; "
        f"{between - began:.1f} s to search, {took:.1f} s to count all",
        flush=True,
    )
    return found == expected


def main() -> int:
    """Judge both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="xc7")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    model = Bnnflow(table(asked.family))
    space = Space(folded("tfc-mnist", 64), model)
    right = judged("TFC", space, every_way(space))
    ways = every_way(other := Space(folded("fashcnn-fashion-mnist", 25_000), model))
    print(f"FashCNN: {np.prod([len(held) for held in ways.values()], dtype=float):.1e} designs in all")
    for draw in range(asked.draws):
        rng = np.random.default_rng([asked.seed, draw])
        right &= judged(f"FashCNN, draw {draw}", other, drawn(ways, rng))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
