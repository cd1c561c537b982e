"""What docs/pruning.md says of methods and criteria: their docstrings, settings and rows."""

from __future__ import annotations

import sys
from typing import Any

from ...models.relevance.criteria import CRITERIA, REDUCTIONS, ScoringMethod
from .errors import allowed
from .methods.all import METHODS, heeding_loss
from .methods.method import Method


def methods_page() -> str:
    """A part for every method: what it removes and needs, and its settings."""
    parts = [_part(name, method) for name, method in METHODS.items()]
    return "\n".join([*parts, f"`prune.max_loss` ends {_listed(heeding_loss())}; the others go on to the end."])


def criteria_page() -> str:
    """A row for every criterion, and one for every reduction."""
    rows = [
        [
            f"`{name}`",
            one.meaning,
            one.cost,
            one.check,
            one.needs,
            _reduction(one),
        ]
        for name, one in CRITERIA.items()
    ]
    reductions = [[f"`{name}`", meaning] for name, meaning in REDUCTIONS.items()]
    heads = ["criterion", "a score is", "cost", "self-check", "needs", "reduction"]
    return f"{_table(heads, rows)}\n{_table(['reduction of A', 'is'], reductions)}"


def _reduction(one: ScoringMethod) -> str:
    return f"`{one.reduction}`" if one.kind == "attribution" else ""


def _part(name: str, method: type[Method]) -> str:
    about = " ".join((sys.modules[method.__module__].__doc__ or "").split())
    # Of the section alone where other keys of `prune` stand beside them.
    rows = [
        [
            f"`{method.key(key)}`",
            _default(field.get_default(call_default_factory=True)),
            _allowed(method, key),
            field.description or "",
        ]
        for key, field in method.model_fields.items()
    ]
    heads = ["key", "default", "allowed", "meaning"]
    return f"### `prune.method: {name}`\n\n{about}\n\n{_table(heads, rows)}"


def _allowed(method: type[Method], key: str) -> str:
    return allowed(tuple(method.key(key).split(".")))


def _default(value: Any) -> str:
    match value:
        case None:
            return "null"
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {one:g}' for key, one in value.items())}}}"
        case _:
            return str(value)


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
