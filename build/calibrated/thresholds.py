"""What comparisons with bounds are made of: a unit of its own, or the end of a matrix-vector product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...transforms.memories import FEW_WORDS
from ..rtl.modules import Module
from .arithmetic import different
from .memory import address_bits
from .pieces import Pieces


def thresholding(made: Pieces, p: Mapping[str, int], module: Module, depths: Sequence[int]) -> None:
    """bnnflow_thresholding, but for its memory.

    Args:
        made: is added to.
        p: parameters of the module.
        module: with its memory of bounds.
        depths: words of the FIFO behind it.
    """
    made.ff(module.latency)
    held = module.memories["bounds"]
    if made.contents and held.depth == 1 and held.rows is None:
        for lane in _looked_at(p, module):
            made.ff(max(lane, default=0) + len(lane))
            # A bound that looks at one bit is that bit.
            made.term("constant threshold", sum(lane) - len(lane))
            if p["LEVELS"] > 1:
                made.ff(min(p["OBITS"], len(lane).bit_length()))
                made.term("counted", len(lane))
    else:
        made.ff(p["PE"] * p["XBITS"] * p.get("READ", 1))
        for _ in range(p["PE"]):
            levels(made, p, module)
    few_bounds(made, module)
    made.fifo(p["PE"] * p["OBITS"], depths[0], module.latency)


def levels(lane: Pieces, p: Mapping[str, int], module: Module) -> None:
    """A lane of bnnflow_levels, whose bounds may be constants."""
    held = module.memories["bounds"]
    constant = held.depth == 1 and held.rows is None
    lane.term("constant threshold" if constant else "threshold", p["LEVELS"] * p["SBITS"])
    lane.ff(p["LEVELS"])
    if p["LEVELS"] > 1:
        lane.ff(p["OBITS"])
        lane.term("counted", p["LEVELS"])


def few_bounds(made: Pieces, module: Module) -> None:
    """Bounds of few words, which are functions of an address: bits that are equal in all words are one."""
    held = module.memories["bounds"]
    if 1 < held.depth <= FEW_WORDS and held.rows is None:
        # But for constants and bits of the address itself.
        kinds = 2**held.depth - 2 - address_bits(held.depth)
        made.term("few words", different(kinds, made.used(held)))


def _looked_at(p: Mapping[str, int], module: Module) -> Iterator[list[int]]:
    """Of each lane, how many bits of a value each of its constant bounds looks at: none below its lowest 1.

    Bounds that every value or none reaches are left out.
    """
    word, bits = int(module.memories["bounds"].words[0], 16), p["BBITS"]
    least = -(2 ** (p["XBITS"] - 1)) if p["XSIGNED"] else 0
    for lane in range(p["PE"]):
        made = []
        for place in range(lane * p["LEVELS"], (lane + 1) * p["LEVELS"]):
            bound = word >> place * bits & 2**bits - 1
            if p["BSIGNED"] and bound >> bits - 1:
                bound -= 2**bits
            if least < bound < least + 2 ** p["XBITS"]:
                # 0 is the sign of a signed value.
                above = bound - least
                made.append(p["XBITS"] - (above & -above).bit_length() + 1)
        yield made
