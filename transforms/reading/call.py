"""Operators of a file as their readers see them, and the table of the readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnnflow import Problem

from .constant_folding import FOLDED
from .live import Live


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of the file.

    Attributes:
        kind: its operator, without FINN's endings `_hls`, `_rtl` and `_Batch`.
        name: its name where the graph can bear it, else empty.
        inputs, outputs: ONNX tensors; empty where left out.
        settings: its attributes.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]

    def has(self, index: int) -> bool:
        """True where input `index` is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number among the attributes."""
        value = self.settings.get(key, default)
        if not isinstance(value, int):
            raise Problem(f"attribute {key} must be a whole number")
        return value

    def integers(self, key: str, count: int, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """`count` whole numbers among the attributes."""
        value = self.settings.get(key, default)
        whole = isinstance(value, list | tuple) and all(isinstance(item, int) for item in value)
        if value is None or not whole or len(value) != count:
            raise Problem(f"attribute {key} must be {count} whole numbers")
        return tuple(int(item) for item in value)

    def number(self, key: str, default: float) -> float:
        """A number among the attributes."""
        return float(self.settings.get(key, default))

    def text(self, key: str, default: str = "") -> str:
        """A word among the attributes."""
        return str(self.settings.get(key, default))


Made = Live | dict[str, Live]
Handler = Callable[[Any, Call, Live], Made]
"""Called with the `Reader`, the operator and the tensor that it reads first."""


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is read: by which function, and what it may take up."""

    read: Handler
    joins: bool
    takes: tuple[type, ...]


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, joins: bool = False, takes: tuple[type, ...] = ()) -> Callable[[Handler], Handler]:
    """Register a function as the reader of operators; its first docstring line is the user's documentation.

    Args:
        names: ONNX, QONNX or FINN operators.
        joins: any of its inputs may be computed; else only the first.
        takes: kinds of `Live.pending` that it completes.
    """

    def register(handler: Handler) -> Handler:
        OPERATORS.update({name: Operator(handler, joins, takes) for name in names})
        return handler

    return register


def kind_of(op_type: str) -> str:
    """The operator without the endings that FINN gives its specialised and older units."""
    return re.sub(r"_(hls|rtl|Batch)$", "", op_type)


def form_of(op_type: str) -> str:
    """The form that FINN's name of a unit states: "hls" (older versions wrote `_Batch`), "rtl", or nothing."""
    ending = re.search(r"_(hls|rtl|Batch)$", op_type)
    return "" if ending is None else {"Batch": "hls"}.get(ending[1], ending[1])


def is_known(op_type: str) -> bool:
    """True for operators that can be read, or computed in advance."""
    return kind_of(op_type) in OPERATORS or op_type in FOLDED


def plain_name(name: str) -> str:
    """The name where it is one that a graph's text can hold, else nothing."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else ""
