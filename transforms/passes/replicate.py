"""Channels that are computed three times, on three PEs, and a vote behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bnnflow import Problem

from ..ir.graph import Graph
from ..ir.ops import Mvau
from ..ir.tensor import Array, TensorType
from .rewrite import Rewrite, Rewritten

COPIES = 3


@dataclass(frozen=True, slots=True)
class ReplicateChannels:
    """Compute channels of a unit three times, on different PEs, and let the majority count.

    Needs: the dataflow level; an MVAU with one threshold a channel and three PEs or more. Its rows become those of the
    replicated channels, each three times, then the others; row r is on PE r mod PE, so that copies of one channel,
    which stand side by side, are on three. The voter is an MVAU, too, with a row a channel, weights of 0 and 1: of
    three copies two have to be above, of a channel that is not replicated itself. Exact: copies are equal, so that the
    vote is the channel. It is folded as narrowly as keeps up with the unit, which takes rows / channels times as long.

    Attributes:
        unit: its name.
        channels: that are replicated, each once.
    """

    unit: str
    channels: Sequence[int] | Array
    name: str = field(default="replicate")

    def __call__(self, graph: Graph) -> Rewritten:
        """The graph whose old tensor of the unit is what the vote makes, and where all others are as they were.

        Raises:
            Problem: there is no such unit, it cannot vote, or its PEs do not divide the rows or would compute the same.
        """
        why = why_not(graph, self.unit)
        if why:
            raise Problem(f"channels of {self.unit!r} cannot be replicated: {why}", self.unit)
        node = graph.node(self.unit)
        op = node.op
        assert isinstance(op, Mvau)
        rows = self._rows(op)
        many = replace(op, weight=op.weight[rows], bounds=op.bounds[rows])
        vote = self._voter(op, rows, graph.types[node.input])
        voter = f"{self.unit}_vote"
        while voter in graph.types:
            voter += "_"
        rewrite = Rewrite(graph)
        rewrite.equate(graph.input, graph.input)
        for each in graph.nodes:
            rewrite.of(each)
            if each.name == self.unit:
                rewrite.emit(each.name, many, *each.inputs)
                rewrite.emit(voter, vote, each.name)
                rewrite.equate(each.name, voter)
            else:
                rewrite.emit(each.name, each.op, *(voter if tensor == self.unit else tensor for tensor in each.inputs))
                rewrite.equate(each.name, each.name)
        made = rewrite.done(graph.output)
        note = f"{len(self.channels)} channels of {self.unit} are computed {COPIES} times; {voter} takes the majority"
        return replace(made, notes=(note,))

    def _rows(self, op: Mvau) -> Array:
        """The channel of each row."""
        count, chosen = len(op.weight), np.asarray(self.channels)
        good = chosen.ndim == 1 and len(chosen) > 0 and chosen.dtype.kind in "iu"
        if not good or len(set(chosen.tolist())) != len(chosen) or chosen.min() < 0 or chosen.max() >= count:
            raise Problem(f"what is replicated must be some channels from 0 to {count - 1}, each once", self.unit)
        check_count(op, len(chosen), self.unit)
        others = np.setdiff1d(np.arange(count), chosen)
        made: Array = np.concatenate([np.repeat(chosen.astype(np.int64), COPIES), others])
        return made

    def _voter(self, op: Mvau, rows: Array, x: TensorType) -> Mvau:
        count = len(op.weight)
        weight = (rows == np.arange(count)[:, None]).astype(np.int8)
        copies = weight.sum(axis=1, dtype=np.int64)
        # Each copy is act_val or one more; the sum of most of them reaches this.
        bounds = copies * op.act_val + copies // 2 + 1
        cycles = len(rows) // op.pe * (op.weight.shape[1] // op.simd)
        lanes = [
            (pe * simd, pe, simd)
            for pe in _divisors(count)
            for simd in _divisors(len(rows))
            if (count // pe) * (len(rows) // simd) <= cycles
        ]
        _, pe, simd = min(lanes)
        return Mvau(weight, bounds[:, None], False, op.act_val, pe, simd)


def why_not(graph: Graph, unit: str) -> str:
    """Why channels of a node cannot be replicated; empty where they can."""
    op = graph.maker(unit)
    if unit not in graph.types:
        return "there is no such unit"
    if not isinstance(op, Mvau):
        return "it is no MVAU"
    if unit == graph.output:
        return "they are the network's output"
    if op.bounds.shape[1] != 1:
        return "a majority is of bits, and its results are " + ("sums" if not op.has_bounds else "numbers")
    if op.pe < COPIES:
        return f"three copies need three PEs, and it has {op.pe}"
    if op.runtime_writeable_weights:
        return "its weights are rewritten in use"
    return "" if counts(op) else "its PEs divide no number of rows"


def counts(op: Mvau) -> list[int]:
    """How many channels can be replicated: PEs divide the rows, and no two compute the same channel in all steps.

    Two that did would be made one by synthesis, and a fault of it would outvote the third.
    """
    channels = len(op.weight)
    return [
        count
        for count in range(1, channels + 1)
        if (channels + 2 * count) % op.pe == 0 and not _repeated(channels, count, op.pe)
    ]


def check_count(op: Mvau, number: int, where: str) -> None:
    """Refuse a number of replicated channels.

    Raises:
        Problem: it is none of `counts`; the hint names the closest.
    """
    able, channels = counts(op), len(op.weight)
    if number in able:
        return
    what = f"{number} of {channels} channels cannot be replicated"
    rows = channels + 2 * number
    if 1 <= number <= channels:
        what = f"{number} replicated channels: {op.pe} PEs do not divide {rows} rows"
        if rows % op.pe == 0:
            what = f"{number} replicated channels: two of {op.pe} PEs would compute the same, which synthesis makes one"
    below, above = [one for one in able if one < number], [one for one in able if one > number]
    raise Problem(what, where, f"give {' or '.join(map(str, [*below[-1:], *above[:1]]))}")


def _repeated(channels: int, count: int, pe: int) -> bool:
    """Whether two PEs would compute the same channel in every step."""
    rows = np.concatenate([np.repeat(np.arange(count), COPIES), np.arange(count, channels)]).reshape(-1, pe)
    return len(np.unique(rows, axis=1).T) < pe


def _divisors(number: int) -> list[int]:
    return [one for one in range(1, number + 1) if number % one == 0]
