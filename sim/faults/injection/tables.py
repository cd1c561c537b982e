"""CSV files as people write them: of rates, of boards, of faulty cells."""

from __future__ import annotations

import csv
from pathlib import Path

from bnnflow import Problem


def read_text(path: Path) -> str:
    """The content of a text file, without the mark that spreadsheets begin it with.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is no text.
    """
    return path.read_text(encoding="utf-8-sig")


def table_rows(text: str, path: Path) -> list[tuple[str, list[str]]]:
    """The rows of a CSV file, its header first: the place of each, and its values without spaces around them.

    Empty lines and those that start with # are no rows.

    Args:
        text: of the file.
        path: of the file, for places such as "rates.csv:3".

    Raises:
        Problem: a row has not as many values as the header has names, or is no CSV.
    """
    rows: list[tuple[str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}:{number}"
        try:
            (values,) = csv.reader([line])
        except csv.Error as error:
            raise Problem(
                f"this is no row of a table: {error}", where, "give values with commas between them"
            ) from None
        if rows and len(values) != len(rows[0][1]):
            raise Problem(f"{len(values)} values for {len(rows[0][1])} columns", where)
        rows.append((where, [value.strip() for value in values]))
    return rows
