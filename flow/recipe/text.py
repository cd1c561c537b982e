"""The text of a file that a user writes: read whole, or refused with its place and a repair."""

from __future__ import annotations

import difflib
from pathlib import Path

from bnnflow import Problem

MAX_BYTES = 1 << 20


def read_text(path: Path, kind: str, start: str) -> str:
    """The text of a YAML file.

    Args:
        path: of the file.
        kind: what it is to be, such as "recipe".
        start: how to come by one, as a hint.

    Raises:
        Problem: the file cannot be read, is larger than 1 MiB, or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Problem(f"no such {kind} file", str(path), _near_files(path) or start) from None
    except IsADirectoryError:
        raise Problem(f"this is a folder, not a {kind} file", str(path), "name a .yaml file in it") from None
    except OSError as error:
        what = f"the {kind} cannot be read: {error.strerror}"
        raise Problem(what, str(path), "check the path and its permissions") from None
    if len(raw) > MAX_BYTES:
        raise Problem(f"the file is larger than 1 MiB, so it is not a {kind}", str(path), start)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        where = f"{path}:{line}:{column}"
        what = f"the byte 0x{raw[error.start]:02x} is not UTF-8 text"
        raise Problem(what, where, f"save the file as UTF-8; is this a {kind}?") from None


def _near_files(path: Path) -> str:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, 1, 0.6)
    return f"did you mean '{path.parent / near[0]}'?" if near else ""
