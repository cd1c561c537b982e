"""What a recipe's fields say of themselves: kind, range, choices, default and description, for options and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .bounds import Bounds, shown
from .schema import Recipe

_WITHOUT = re.compile(r"(?:null|empty): (.*)")


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One key of the recipe.

    Attributes:
        key: dotted path.
        kind: of the value, or of the entries of a list: int, float, bool, str, Path, dict or object (several kinds).
        many: whether it is a list.
        bounds: of numbers.
        choices: words that are allowed; empty: any.
        default: None, or the value; `...` for a key that must be given.
        description: without what it says of no value, which is `without`.
        without: what null or an empty value means; empty where the description does not say it.
        filled: of a list, whether it must hold something.
    """

    key: str
    kind: type
    many: bool
    bounds: Bounds
    choices: tuple[str, ...]
    default: Any
    description: str
    without: str
    filled: bool = False

    @property
    def allowed(self) -> str:
        """What it may hold, for people: "whole number, 1 to 100", "list of text", "adam, sgd, bop"."""
        if self.choices:
            return ", ".join(str(word) for word in self.choices)
        names = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}
        kind = names.get(self.kind, "mapping" if self.kind is dict else "any")
        bounds = str(self.bounds)
        if self.many:
            kind, bounds = f"list of {kind}{'' if self.kind is str else 's'}", f"each {bounds}" if bounds else ""
        return f"{kind}, {bounds}" if bounds else kind

    @property
    def default_text(self) -> str:
        """The default as people read it; empty where there is none."""
        if self.default is ...:
            return ""
        if self.default is None or self.default in ((), "", {}):
            return self.without
        return shown(self.default)


@cache
def field_facts(key: str) -> FieldFacts:
    """Facts of a key, such as "prune.amount".

    Raises:
        KeyError: there is no such key.
    """
    section: Any = Recipe
    *sections, name = key.split(".")
    for part in sections:
        section = section.model_fields[part].annotation
    field: FieldInfo = section.model_fields[name]
    found = _of_type(field.annotation, list(field.metadata))
    clauses = (field.description or "").split("; ")
    without = next((said[1] for clause in clauses if (said := _WITHOUT.fullmatch(clause))), "")
    description = "; ".join(clause for clause in clauses if not _WITHOUT.fullmatch(clause))
    default = field.get_default(call_default_factory=True)
    return replace(
        found,
        key=key,
        default=... if default is PydanticUndefined else default,
        description=description,
        without=without,
    )


def default(key: str) -> Any:
    """The one default of a key."""
    return field_facts(key).default


def keys() -> Iterator[str]:
    """Every key that holds a value, in the recipe's order."""
    yield from _keys(Recipe, ())


def _keys(section: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, (*path, name))
        else:
            yield ".".join((*path, name))


def _of_type(annotation: Any, metadata: list[Any]) -> FieldFacts:
    """Kind, list or not, bounds and choices of a type."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _of_type(inner, [*metadata, *more])
    bounds = _bounds(metadata)
    if get_origin(annotation) in (Union, UnionType):
        kinds = [one for one in get_args(annotation) if one is not NoneType]
        return _of_type(kinds[0], metadata) if len(kinds) == 1 else _facts(object, bounds)
    if get_origin(annotation) is tuple:
        return replace(
            _of_type(get_args(annotation)[0], []), many=True, filled=bool(_of_metadata(metadata, "min_length"))
        )
    if get_origin(annotation) is Literal:
        words = get_args(annotation)
        return replace(_facts(str if all(isinstance(word, str) for word in words) else object, bounds), choices=words)
    if get_origin(annotation) is dict:
        return _facts(dict, bounds)
    assert annotation in (int, float, bool, str, Path), annotation
    return _facts(annotation, bounds)


def _facts(kind: type, bounds: Bounds) -> FieldFacts:
    return FieldFacts("", kind, False, bounds, (), ..., "", "")


def _bounds(metadata: list[Any]) -> Bounds:
    return Bounds(*(_of_metadata(metadata, name) for name in ("ge", "gt", "le", "lt")))


def _of_metadata(metadata: list[Any], name: str) -> float | None:
    flat = [inner for one in metadata for inner in (one.metadata if isinstance(one, FieldInfo) else [one])]
    return next((getattr(one, name) for one in flat if getattr(one, name, None) is not None), None)


def recipe_page() -> str:
    """docs/recipe.md: every key with what it may hold, its default and its meaning."""
    lines = [
        "# The recipe",
        "",
        "What `model.yaml` may say. Made from `flow/recipe/*.py`, as the options of commands, `flow new` and "
        "`flow schema` are; `pytest --update-golden` writes it. Every key of it is `-s KEY=VALUE` on the command line; "
        "[recipe-rules.md](recipe-rules.md) says which keys go together.",
    ]
    section = ""
    for key in keys():
        path, _, name = key.rpartition(".")
        if path != section or len(lines) == 3:
            section, about = path, Recipe
            for part in filter(None, path.split(".")):
                about = about.model_fields[part].annotation  # type: ignore[assignment]
            heading = [f"## {path}", "", " ".join((about.__doc__ or "").split()), ""] if path else []
            lines += ["", *heading, "| key | allowed | default | meaning |", "|---|---|---|---|"]
        facts = field_facts(key)
        cells = (f"`{name}`", facts.allowed, _cell(facts), facts.description)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(facts: FieldFacts) -> str:
    if facts.default is ...:
        return "must be given"
    if facts.default is None or facts.default in ((), "", {}):
        nothing = "null" if facts.default is None else "empty"
        return f"{nothing}: {facts.without}" if facts.without else nothing
    return f"`{facts.default_text}`"
