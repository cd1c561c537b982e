"""FPGA parts in Python: which there are, and what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .arguments import PathLike, checked_arguments

if TYPE_CHECKING:
    from ..results.parts import PartFacts, PartList

__all__ = ["part", "parts"]


@checked_arguments()
def parts(*words: str) -> PartList:
    """The parts that are known, or those in whose name, family, boards or description every word stands.

    Raises:
        Problem: there is none.

    >>> [one.name for one in bf.parts("ecp5", "85f").parts]
    ['lfe5u-85f', 'lfe5um5g-85f']
    """
    from ..commands.parts import listed

    return listed(words)


@checked_arguments()
def part(name: PathLike) -> PartFacts:
    """What a part holds.

    Args:
        name: a full part number or its beginning, a board, or the path of a YAML file that describes a part.

    Raises:
        Problem: it is not known, or the file is not whole.

    >>> bf.part("Pynq-Z2").name, bf.part("xc7z020clg400-1").lut
    ('xc7z020', 53200)
    """
    import os

    from ..commands.parts import facts

    return facts(os.fspath(name))
