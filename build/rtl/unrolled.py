"""Matrices of constants that are unrolled: a circuit a row, of the inputs that have a weight there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, log2

import numpy as np

from ...transforms.ir.ops import Mvau
from ...transforms.ir.tensor import Array
from .words import packed

# Inputs that one compressor counts.
GROUP = 6


def latency_of(inputs: int) -> int:
    """Cycles from so many inputs of a row to its result, at least (bnnflow_neuron)."""
    return 1 + (counting_levels(inputs) + 1) // 2


def counting_levels(inputs: int) -> int:
    """Levels of adders behind the compressors of a row of so many inputs."""
    return ceil(log2(ceil(inputs / GROUP))) if inputs > GROUP else 0


@dataclass(frozen=True, slots=True)
class Neuron:
    """A row.

    Attributes:
        columns: whose weights are not 0, ascending.
        plus: bit i: the weight of columns[i] is +1; else -1.
        bounds: numbers of inputs that agree with their weights where a bound is reached, ascending, from 0 (always) to
            one more than there are inputs (never); none: sums leave.
        less: what a sum is less than that number.
    """

    columns: tuple[int, ...]
    plus: int
    bounds: tuple[int, ...]
    less: int

    @property
    def latency(self) -> int:
        """Cycles from its inputs to its result, at least."""
        return latency_of(len(self.columns))

    @property
    def parameters(self) -> dict[str, int | str]:
        """Those of bnnflow_neuron that follow from the row."""
        number, levels = len(self.columns), len(self.bounds)
        bounds: dict[str, int | str] = {"BOUNDS": packed(list(self.bounds))} if levels else {"LESS": self.less}
        return {"N": number, "PLUS": f"{number}'h{self.plus:x}", "LEVELS": levels, **bounds}

    @property
    def constant(self) -> int | None:
        """Bounds that every input reaches, where no other is ever reached; of no inputs, a sum; None: they count."""
        if not self.bounds:
            return None if self.columns else -self.less
        if any(0 < bound <= len(self.columns) for bound in self.bounds):
            return None
        return sum(bound <= 0 for bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Row:
    """What makes one result.

    Attributes:
        result: bits of a wire.
        value: constant, as SystemVerilog; empty where a bnnflow_neuron computes it.
        parameters, x: of that one: all that it has, and what it reads.
    """

    result: str
    value: str
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    x: str = ""


@dataclass(frozen=True)
class Unrolled:
    """A matrix of constants on inputs of a bit: weights -1, 0 and +1, or the bits of XNOR.

    Attributes:
        op: of PE and SIMD of the whole matrix.
    """

    op: Mvau

    @cached_property
    def inputs(self) -> Array:
        """Of each row, those that have a weight: bool, (rows, columns)."""
        return np.ones(self.op.weight.shape, bool) if self.op.xnor else self.op.weight != 0

    @cached_property
    def neurons(self) -> tuple[Neuron, ...]:
        """Row by row."""
        bounds = self.op.bounds if self.op.has_bounds else np.zeros((len(self.op.weight), 0), np.int64)
        rows = zip(self.op.weight, self.inputs, bounds, strict=True)
        return tuple(self._neuron(*row) for row in rows)

    @cached_property
    def latency(self) -> int:
        """Cycles from a vector to its results: a register, and the rows'."""
        return 1 + latency_of(int(self.inputs.sum(axis=1).max()))

    def rows(self, x: str, results: str, bits: int) -> Iterator[Row]:
        """What makes each row's result of `bits` bits, beside a bnnflow_unrolled with wires `x` and `results`."""
        whole = self.op.weight.shape[1]
        for place, row in enumerate(self.neurons):
            out = f"{results}[{(place + 1) * bits - 1}:{place * bits}]"
            if row.constant is not None:
                value = row.constant + (self.op.act_val if row.bounds else 0)
                yield Row(out, f"{bits}'d{value % 2**bits}")
                continue
            given = ", ".join(f"{x}[{column}]" for column in reversed(row.columns))
            sizes = row.parameters | {"OBITS": bits, "ACT_VAL": self.op.act_val, "LATENCY": self.latency - 1}
            yield Row(out, "", sizes, x if len(row.columns) == whole else f"{{{given}}}")

    def _neuron(self, row: Array, inputs: Array, bounds: Array) -> Neuron:
        columns = np.flatnonzero(inputs)
        plus = sum(1 << place for place, column in enumerate(columns) if row[column] > 0)
        # The bits of XNOR are counted where they are equal, others where they are 1: those that agree, less the -1.
        less = 0 if self.op.xnor else int(np.count_nonzero(row < 0))
        # What is always or never reached may be said by any number.
        reached = np.clip(bounds, -less, len(columns) + 1 - less) + less
        return Neuron(tuple(columns.tolist()), plus, tuple(reached.tolist()), less)
