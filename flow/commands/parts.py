"""The work behind `flow parts`: what parts hold, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from bnnflow import Problem

from ...build.parts import PRICES, Part, known_parts
from ...build.route import is_placed
from ..recipe.parts import is_part_file, part_of
from ..results.parts import PartFacts, PartList


def facts(name: str) -> PartFacts:
    """One part.

    Args:
        name: a part number or its beginning, a board, or the path of a YAML file.

    Raises:
        Problem: it is not known, or its file is not whole.
    """
    return _facts(part_of(name))


def is_one(word: str) -> bool:
    """Whether a word names a part, rather than standing in rows of the table."""
    if is_part_file(word):
        return True
    try:
        part_of(word)
    except Problem:
        return all(word.lower() not in _text(one) for one in known_parts())
    return True


def listed(words: Sequence[str] = ()) -> PartList:
    """The parts of the table in whose name, family, boards or description every word stands; without words all.

    Raises:
        Problem: there is none.
    """
    found = [one for one in known_parts() if all(word.lower() in _text(one) for word in words)]
    if not found:
        raise Problem(f"no part has {' and '.join(map(repr, words))}", "flow parts", "`flow parts` lists all")
    return PartList(parts=tuple(_facts(one) for one in found))


def _text(one: Part) -> str:
    return " ".join((one.name, one.family, one.about, one.price, *one.boards)).lower()


def _facts(one: Part) -> PartFacts:
    means = f"{PRICES[one.price]} US dollars, an estimate for one piece" if one.price else ""
    own = {each.name: getattr(one, each.name) for each in fields(Part) if each.name != "nextpnr"}
    return PartFacts(
        **own,
        routed=is_placed(one),
        bram18=one.bram18,
        memory_bits=one.memory_bits,
        price_means=means,
    )
