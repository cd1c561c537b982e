"""What commands on single graphs find."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bnnflow import Problem

from ..run.typed_json import APART, OPTIONAL
from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCheck:
    """What becomes of an operator.

    Attributes:
        node, operator: of the file.
        becomes: in the graph; empty where it is refused.
        ends_in: its units in hardware; empty where nothing is left of it or the whole does not compile.
        problem: why it is refused; None where it is not.
    """

    node: str
    operator: str
    becomes: str
    ends_in: str
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What `flow check` finds.

    Attributes:
        compiles: whether the whole compiles to dataflow units.
        operators: in the order of the file.
        notes: what a user should know.
        left_out: what could not be looked at.
        input: what the compiled graph's input holds; None where it is not known.
        problem: why it does not compile; left out where it does.
        refusal: the same as an error; not in JSON.
    """

    compiles: bool
    operators: list[OperatorCheck]
    notes: list[str]
    left_out: list[str]
    input: InputHeld | None
    problem: str | None = field(default=None, metadata=OPTIONAL)
    refusal: Problem | None = field(default=None, metadata=APART)


@dataclass(frozen=True, slots=True)
class PassRow:
    """What one pass did.

    Attributes:
        name: of the pass.
        seconds: of processor time.
        before, after: nodes of the graph.
        compared: integers compared; 0 where it was not checked.
    """

    name: str
    seconds: float
    before: int
    after: int
    compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSize:
    """A level of a compilation.

    Attributes:
        level: its name.
        operations: nodes of its graph.
    """

    level: str
    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileResult:
    """What `flow compile` did.

    Attributes:
        graph: file that was compiled.
        folder, files: that were written, and where.
        input: what the last graph's input holds; None where it is not known.
        read_seconds: of processor time.
        levels: in order.
        passes: in order.
        checked: whether every pass was compared.
        notes: of the compiler.
    """

    graph: str
    folder: str
    input: InputHeld | None
    files: list[str]
    read_seconds: float
    levels: list[LevelSize]
    passes: list[PassRow]
    checked: bool
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassDoc:
    """A pass of the compiler.

    Attributes:
        level: that it leads to.
        name: its name.
        does: the first line of its documentation.
    """

    level: str
    name: str
    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """What `flow ops` lists.

    Attributes:
        operators: name to what is supported.
        passes: in order.
    """

    operators: dict[str, str]
    passes: list[PassDoc]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What `flow simulate` finds.

    Attributes:
        graph: its file.
        images: that were simulated.
        accuracy: 0 to 1; None without labels.
        confusion: images by true (rows) and found class; None without labels.
        input: what the graph's input holds; None where it is not known.
        output: file of the class scores; None for none.
        files: all that were written.
        scores: class scores (N, classes), or what else the graph's output holds; not in JSON.
    """

    graph: str
    images: int
    accuracy: float | None
    confusion: list[list[int]] | None
    input: InputHeld | None
    output: str | None
    files: list[str]
    scores: np.ndarray = field(metadata=APART, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatTrial:
    """A training with momenta in some format.

    Attributes:
        format: its name.
        bits: of a number in it.
        lost_updates: share of updates that its rounding lost, 0 to 1.
        flips: signs of weights that changed.
        accuracy: on images held out, 0 to 1.
    """

    format: str
    bits: int
    lost_updates: float
    flips: int
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSearch:
    """What `flow formats` finds.

    Attributes:
        cheapest: format within the tolerance; None where none is.
        tolerance: accuracy that may be lost, 0 to 1.
        uncertain: half of the 95 % interval of an accuracy.
        images: held out of training, that accuracy is measured on.
        epochs: of each training.
        rows: trials, in order.
    """

    cheapest: str | None
    tolerance: float
    uncertain: float
    images: int
    epochs: int
    rows: list[FormatTrial]
