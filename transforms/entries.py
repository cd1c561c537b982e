"""Entries: what a user chooses by name, one class each; the first line of its docstring is its documentation.

A registry loads every file of its folder, so that a new entry is a new file there and nothing else. Parameters are the
fields of a dataclass; as text they follow the name behind a colon and are joined by x: `burst:4`, `cluster:2x3`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

E = TypeVar("E")
C = TypeVar("C", bound=type)


def about(entry: type) -> str:
    """The first line of a class's own docstring; "" where it has none."""
    text = entry.__dict__.get("__doc__") or ""
    # A dataclass without one is given its signature.
    made = text.startswith(f"{entry.__name__}(")
    return "" if made else inspect.cleandoc(text).partition("\n")[0]


def entry_form(entry: type) -> str:
    """How an entry is written: `burst:LENGTH`, `cluster:WORDSxBITS`; what may be left out in brackets."""
    made, end = str(getattr(entry, "name", "")), ""
    for number, field in enumerate(_fields(entry)):
        mark = "x" if number else ":"
        if field.default is not MISSING:
            mark, end = f"[{mark}", f"{end}]"
        kind = get_type_hints(entry)[field.name]
        made += mark + ("|".join(get_args(kind)) if get_origin(kind) is Literal else field.name.upper())
    return made + end


class Registry(dict[str, type[E]]):
    """Classes of entries by their `name`.

    Args:
        form: how an entry is written, where not by name and parameters.
    """

    def __init__(self, form: Callable[[type[E]], str] | None = None) -> None:
        super().__init__()
        self._form = form or entry_form

    def add(self, entry: C) -> C:
        """Register a class, as a decorator.

        Raises:
            ValueError: it has no name or no documentation, or there is one of that name.
        """
        name = getattr(entry, "name", "")
        if not name or name in self or not about(entry):
            raise ValueError(f"{entry.__qualname__} needs a name of its own and a docstring: {name!r}")
        self[name] = entry
        return entry

    def load(self, package: str, folder: Iterable[str]) -> None:
        """Import every module of a package, and with it the entries there."""
        for name in sorted(module.name for module in iter_modules(folder)):
            import_module(f"{package}.{name}")

    def lines(self) -> list[tuple[str, str]]:
        """How each entry is written, and its documentation, by name."""
        return [(self._form(self[name]), about(self[name])) for name in sorted(self)]


def read_entry(entry: type[E], text: str) -> E:
    """An entry from its parameters as text; "" for none.

    Raises:
        ValueError: too many, too few, or one that is no number or word of its kind.
    """
    given, known = text.split("x") if text else [], _fields(entry)
    needed = sum(field.default is MISSING for field in known)
    if not needed <= len(given) <= len(known):
        raise ValueError(f"{len(given)} parameters")
    kinds = get_type_hints(entry)
    return entry(**{field.name: _value(kinds[field.name], part) for field, part in zip(known, given, strict=False)})


def written(entry: object) -> str:
    """The name and parameters of an entry, without those at the end that are as they are by default."""
    name, known = type(entry).name, _fields(type(entry))  # type: ignore[attr-defined]
    values = [getattr(entry, field.name) for field in known]
    while values and known[len(values) - 1].default == values[-1]:
        values.pop()
    return ":".join([name, *(["x".join(map(str, values))] if values else [])])


def _fields(entry: type) -> tuple[Field[Any], ...]:
    return fields(entry) if is_dataclass(entry) else ()


def _value(kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if not re.fullmatch(r"\d+" if kind is int else r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text):
        raise ValueError(text)
    return kind(text)
