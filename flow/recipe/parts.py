"""The part that a recipe or an option names: of the table, of a board, or a user's own in a YAML file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ...build.parts import PRICES, Part, part, part_names
from ...build.synth.families import FAMILIES
from .positions import Fault, as_problem, parse_yaml
from .text import read_text

if TYPE_CHECKING:
    from .schema import Recipe

_KIND, _START = "part", "docs/parts.md shows one to start from"
_MOST = 10**9
# Nothing is assumed of a figure that something is weighed by; "uram: 0" says that there are none.
_NEEDED = ("name", "lut", "lut_inputs", "ff", "block_rams", "block_bits", "uram", "dsp")
_NUMBERS = {
    **dict.fromkeys(("ff", "block_rams", "uram", "dsp", "spram"), (0, _MOST)),
    "lut": (1, _MOST),
    "lut_inputs": (2, 8),
    "block_bits": (1, _MOST),
}


def is_part_file(name: str) -> bool:
    """Whether the name of a part is the path of a YAML file."""
    return name.lower().endswith((".yaml", ".yml"))


def part_of(name: str) -> Part:
    """The part of a name: a part number or its beginning, a board, or the path of a YAML file.

    Raises:
        Problem: it is not known, or the file is not whole.
    """
    return _read(Path(name).expanduser()) if is_part_file(name) else part(name)


def part_at(recipe: Recipe, key: str, name: str) -> Part:
    """The part that a key of a recipe names.

    Raises:
        Problem: as of `part_of`; at the key, or in the part's own file.
    """
    if is_part_file(name):
        return part_of(name)
    with recipe.at(key):
        return part_of(name)


def target_part(recipe: Recipe) -> Part:
    """The part that a recipe's hardware is for.

    Raises:
        Problem: as of `part_at`.
    """
    return part_at(recipe, "target.part", recipe.target.part)


def shown_part(name: str) -> str:
    """A part as tables name it: by its full number or board, as it was given, or as its file calls it."""
    return part_of(name).name if is_part_file(name) else name


def part_content(said: Any) -> Any:
    """Plain data of a recipe, with what a part's file says in place of its path: what a stage's key counts."""
    if isinstance(said, dict):
        return {key: _content(one) if key == "part" else part_content(one) for key, one in said.items()}
    return said


def _content(name: Any) -> Any:
    return asdict(part_of(name)) if isinstance(name, str) and is_part_file(name) else name


def part_files(recipe: Recipe) -> list[Path]:
    """The files of parts that a recipe names."""
    named = (recipe.target.part, recipe.route.part, recipe.prune.budget.get("part"))
    return [Path(name) for name in named if isinstance(name, str) and is_part_file(name)]


def _read(path: Path) -> Part:
    """A user's part.

    Raises:
        Problem: the file cannot be read or is not YAML; keys are missing or unknown, or values not what they are to
            be. It says all faults at once, each with its line.
    """
    data, source, faults = parse_yaml(read_text(path, _KIND, _START), str(path))
    if data is None:
        raise Problem("the part is empty", str(path), _START)
    if not isinstance(data, dict):
        raise Problem("a part is a mapping of keys to values", source.place_of(()), _START)
    known = [one.name for one in fields(Part)]
    for key in data:
        if key not in known:
            faults.append(Fault(f"unknown key '{key}' of a part", source.place_of((key,), of_key=True), _near(key)))
        elif said := _fault(key, data[key]):
            faults.append(Fault(f"{key}: {said[0]}", source.place_of((key,)), said[1]))
    if missing := [key for key in _NEEDED if key not in data]:
        hint = "of what it does not have, say 0" if any(key not in ("name", "lut") for key in missing) else _START
        faults.append(Fault(f"a part needs {', '.join(missing)}", str(path), hint))
    if faults:
        raise as_problem(faults, str(path))
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    made = Part(**given)
    for key in ("lut_inputs", "block_bits") if made.family else ():
        own, usual = getattr(made, key), getattr(FAMILIES[made.family], key)
        if own != usual:
            # What is mapped to a family takes what it has, and so do our estimates.
            hint = "leave family out, or say another"
            if key == "block_bits" and own % usual == 0:
                hint = f"say block_bits: {usual} and block_rams: {made.block_rams * (own // usual)}"
            raise Problem(f"{key}: {made.family} has {usual:,}, not {own:,}", source.place_of((key,)), hint)
    return made


def _near(key: str) -> str:
    if "bram" in key.lower() or "ebr" in key.lower():
        return "`block_rams` says how many, `block_bits` of how many bits: 18432 for 18 kbit"
    known = [one.name for one in fields(Part)]
    near = difflib.get_close_matches(key, known, 1, 0.6)
    return f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"


def _fault(key: str, value: Any) -> tuple[str, str] | None:
    """What is wrong with a value, and its repair."""
    if key in _NUMBERS:
        least, most = _NUMBERS[key]
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return None
        return f"{_shown(value)} is not allowed", f"a whole number from {least} to {most:,}"
    if key in ("grades", "boards", "nextpnr"):
        is_list = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        return None if is_list else (f"{_shown(value)} is not a list of texts", 'for example ["-1", "-2"]')
    if not isinstance(value, str):
        return f"{_shown(value)} is not text", "put it in quotes"
    return _CHECKS[key](value) if key in _CHECKS else None


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)[:60]


def _own_name(value: str) -> tuple[str, str] | None:
    if not value.strip() or len(value) > 100:
        return "a name has 1 to 100 characters", "for example my-fpga"
    if value.lower() in part_names():
        return f"{value!r} is a part of the table", "give yours another name, so that figures say of which it is"
    return None


def _one_of(words: tuple[str, ...]) -> Callable[[str], tuple[str, str] | None]:
    def check(value: str) -> tuple[str, str] | None:
        return None if value in ("", *words) else (f"{value!r} is not known", f"one of {', '.join(words)}, or none")

    return check


_CHECKS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "name": _own_name,
    "family": _one_of(tuple(FAMILIES)),
    "price": _one_of(tuple(PRICES)),
}
