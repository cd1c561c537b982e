"""Plans against faults of memories: how bad each memory may be, and which ones are worth a code.

Both are searches by measured accuracy. What a memory costs alone says in which order to try; what is taken is measured
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

from bnnflow import CHECK_FAILED, Problem

MeasureRates = Callable[[Mapping[str, float]], float]
"""Accuracy, 0 to 1, with a bit error rate for each memory."""

MeasureCodes = Callable[[Mapping[str, str]], float]
"""Accuracy, 0 to 1, with codes of some memories, in text form; the others have none."""


@dataclass(frozen=True, slots=True)
class RatePlan:
    """Bit error rates that a network stands.

    Attributes:
        rates: of each memory.
        accuracy: with all of them, 0 to 1, as measured while they were chosen.
        uniform: the highest rate of the grid that all memories together stand; 0: none does.
        uniform_accuracy: with that.
        measured: how many times all memories were measured together.
    """

    rates: Mapping[str, float]
    accuracy: float
    uniform: float
    uniform_accuracy: float
    measured: int


def assign_rates(
    bits: Mapping[str, int],
    grid: Sequence[float],
    alone: Mapping[str, Sequence[float]],
    measure: MeasureRates,
    floor: float,
) -> RatePlan:
    """The highest rates, memory by memory, with which accuracy stays at `floor`.

    All begin at the grid's lowest rate. The memory that loses least, by itself, for each bit and each factor of its
    rate goes one step up, and stays there if the accuracy of all together allows; else it rises no further. It ends
    when none can rise. The task is BERA's (bit error rate assignment: Yayla et al., IEEE Transactions on Computers
    71(7), 2022), whose listing we have not read; the rule by which a memory is chosen is ours.

    Args:
        bits: of each memory.
        grid: rates above 0, ascending.
        alone: accuracy, 0 to 1, with one memory alone at each rate of the grid.
        measure: with rates for all memories; the lower the rates the higher, but for noise.
        floor: accuracy that is asked for.

    Raises:
        Problem: the floor is missed at the lowest rate already (status 1), or the grid does not ascend.
    """
    if not grid or grid[0] <= 0 or any(low >= high for low, high in pairwise(grid)):
        raise Problem("rates that do not ascend from above 0", "grid", "give two or more, such as 1e-4,1e-3,1e-2")
    uniform = [measure(dict.fromkeys(bits, rate)) for rate in grid]
    if uniform[0] < floor:
        left, asked = 100 * uniform[0], 100 * floor
        what = f"all memories at {grid[0]:g} leave {left:.2f} % for sure, and {asked:.2f} % are asked for"
        raise Problem(what, "grid", "give lower rates or more maps, or allow more loss", CHECK_FAILED)
    best = max(index for index, accuracy in enumerate(uniform) if min(uniform[: index + 1]) >= floor)
    at, measured = dict.fromkeys(bits, 0), len(grid)
    accuracy, rising = uniform[0], set(bits) if len(grid) > 1 else set()

    def price(memory: str) -> tuple[float, str]:
        low, high = at[memory], at[memory] + 1
        lost = max(0.0, alone[memory][low] - alone[memory][high])
        return lost / (bits[memory] * log(grid[high] / grid[low])), memory

    while rising:
        memory = min(rising, key=price)
        tried = {**at, memory: at[memory] + 1}
        found = measure({name: grid[step] for name, step in tried.items()})
        measured += 1
        if found < floor:
            rising.remove(memory)
            continue
        at, accuracy = tried, found
        if at[memory] == len(grid) - 1:
            rising.remove(memory)
    rates = {name: grid[step] for name, step in at.items()}
    return RatePlan(rates, accuracy, grid[best], uniform[best], measured)


@dataclass(frozen=True, slots=True)
class CodeChoice:
    """A code of one memory.

    Attributes:
        memory, code: names.
        lut, bram18: what it takes more than the memory without, estimated.
        alone: accuracy, 0 to 1, with faults in this memory alone, behind the code.
    """

    memory: str
    code: str
    lut: int
    bram18: int
    alone: float


@dataclass(frozen=True, slots=True)
class Protected:
    """Codes of some memories.

    Attributes:
        codes: by memory; memories that are not named have none.
        accuracy: with faults in all memories, 0 to 1.
        lut, bram18: what the codes take, estimated.
    """

    codes: Mapping[str, str]
    accuracy: float
    lut: int
    bram18: int


def protection_front(
    choices: Sequence[CodeChoice],
    bare: Mapping[str, float],
    measure: MeasureCodes,
    lut_of_bram18: float,
) -> list[Protected]:
    """Which memories to protect: every measured set of codes that no other beats in accuracy at less cost.

    It begins without codes. The code that wins most accuracy for its cost, by what the memories lose alone, is taken
    next, a stronger one in place of a weaker one, too. Where none wins anything alone, which the luck of few maps may
    feign, the memories that are left get the strongest code, the cheapest first. What is all in one code is tried, too.

    Args:
        choices: codes of memories.
        bare: accuracy, 0 to 1, with faults in one memory alone, without a code.
        measure: with faults in all memories.
        lut_of_bram18: LUTs that one block RAM is worth.

    Returns:
        Cheapest first, each more accurate than the ones before; the first is without codes.
    """
    made = [Protected({}, measure({}), 0, 0)]
    taken: dict[str, CodeChoice] = {}

    def cost(choice: CodeChoice) -> float:
        return choice.lut + lut_of_bram18 * choice.bram18

    def worth(choice: CodeChoice) -> float:
        now = taken.get(choice.memory)
        won = choice.alone - (bare[choice.memory] if now is None else now.alone)
        more = cost(choice) - (0.0 if now is None else cost(now))
        return won / max(more, 1e-9) if won > 0 else 0.0

    def measured(codes: Sequence[CodeChoice]) -> None:
        named = {one.memory: one.code for one in codes}
        if all(before.codes != named for before in made):
            lut, bram18 = sum(one.lut for one in codes), sum(one.bram18 for one in codes)
            made.append(Protected(named, measure(named), lut, bram18))

    while winning := [choice for choice in choices if worth(choice) > 0]:
        best = max(winning, key=lambda choice: (worth(choice), choice.memory, choice.code))
        taken[best.memory] = best
        measured(list(taken.values()))
    by_code: dict[str, list[CodeChoice]] = {}
    for choice in choices:
        by_code.setdefault(choice.code, []).append(choice)
    strongest = max(by_code.values(), key=lambda each: sum(one.alone for one in each), default=[])
    for choice in sorted(strongest, key=lambda choice: (cost(choice), choice.memory)):
        if choice.memory not in taken:
            taken[choice.memory] = choice
            measured(list(taken.values()))
    for each in by_code.values():
        measured(each)
    made.sort(key=lambda one: (one.lut + lut_of_bram18 * one.bram18, -one.accuracy))
    front: list[Protected] = []
    for one in made:
        if not front or one.accuracy > front[-1].accuracy:
            front.append(one)
    return front
