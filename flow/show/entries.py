"""What can be chosen by name: tables of the entries' own documentation, for the terminal and for docs/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Entries = Mapping[str, Sequence[tuple[str, str]]]


def fault_entries() -> Entries:
    """Shapes and effects of fault models, and protections: how each is written, and what it is."""
    from ...sim.faults import CODES, EFFECTS, SHAPES

    return {"shape": SHAPES.lines(), "effect": EFFECTS.lines(), "protection": CODES.lines()}


def cost_entries() -> Entries:
    """Cost models and parts."""
    from ...build.cost_models import COST_MODELS
    from ...build.parts import lines

    return {"cost model": COST_MODELS.lines(), "part": lines()}


def print_entries(entries: Entries, json: bool = False) -> None:
    """Print a table of each kind, or one JSON object: by kind and name, what it is."""
    from rich.table import Table

    from .terminal import print_json, terminal

    if json:
        print_json({kind: dict(rows) for kind, rows in entries.items()})
        return
    for kind, rows in entries.items():
        table = Table(kind, "what it is")
        for name, about in rows:
            table.add_row(name, about)
        terminal().print(table)


def entry_tables(entries: Entries) -> str:
    """A table of each kind, for docs/."""
    tables = []
    for kind, rows in entries.items():
        lines = [f"| `{name.replace('|', chr(92) + '|')}` | {about} |" for name, about in rows]
        tables.append("\n".join([f"| {kind} | what it is |", "|---|---|", *lines]))
    return "\n\n".join(tables) + "\n"
