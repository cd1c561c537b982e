"""Expected texts: one table a test module, beside it (`tests/flow/stages/test_own.py` has `test_own.golden`).

A table holds texts under `=== name` lines, in the order of their names. `pytest --update-golden` writes what tests
found; read the diff.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from filelock import FileLock

_HEADING = re.compile(r"^=== (\S+)\n", re.MULTILINE)


def table_of(module: Path) -> Path:
    """The table of a test module."""
    return module.with_suffix(".golden")


def read(path: Path) -> dict[str, str]:
    """The texts of a table by name; {} where there is no file."""
    if not path.is_file():
        return {}
    parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return {name: text.removesuffix("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def write(path: Path, name: str, text: str) -> None:
    """Put a text into a table; several processes may."""
    with FileLock(path.with_suffix(".golden.lock")):
        held = read(path) | {name: text}
        whole = "".join(f"=== {key}\n{held[key]}\n" for key in sorted(held))
        path.write_text(whole, encoding="utf-8")


def difference(path: Path, name: str, found: str) -> str:
    """How a text differs from its table's; "" where it does not."""
    held = read(path)
    if name not in held:
        return f"{name} is not in {path.name}; pytest --update-golden writes it\n{found}"
    if found == held[name]:
        return ""
    lines = difflib.unified_diff(held[name].splitlines(), found.splitlines(), "golden", "found", lineterm="")
    return f"{name} differs; pytest --update-golden rewrites it\n" + "\n".join(lines)
