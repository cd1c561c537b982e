"""What a matrix-vector product with its thresholds is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log2

from ...transforms.memories import FEW_WORDS
from ..rtl.modules import Module
from .arithmetic import constant_dot, dot, luts, popcount
from .memory import address_bits
from .pieces import OF_FOUR_INPUTS, TERNARY, Pieces
from .thresholds import few_bounds, levels
from .weights import matrix


def mvau(made: Pieces, p: Mapping[str, int], module: Module, depths: Sequence[int]) -> None:
    """bnnflow_mvau, but for its memories; arguments as of `thresholding`."""
    steps, groups = p["MW"] // p["SIMD"], p["MH"] // p["PE"]
    inputs = p["SIMD"] * p["XBITS"]
    read = p.get("READ", 1)
    made.counter(steps)
    made.counter(groups)
    # Whether a step ends a row, and whether it reads.
    made.ff((steps > 1) + (groups > 1))
    _vector(made, steps, groups, inputs, read, str(module.parameters.get("STYLE", "auto")).strip('"'))
    latency = module.latency
    delay = latency - (2 if p["LEVELS"] > 1 else 0) - 1
    # The first register of a step's flags and that by which a memory of weights hears of it late are one.
    made.ff(3 * delay + 1 - (read - 1 if module.memories["weights"].rows is None else 0))
    if p["LEVELS"] == 1 and groups > 1:
        # That a row begins, two cycles before its bounds are read.
        made.ff((read - 1) * (delay - read))
    words = steps * groups
    # What a host writes is no function of its address.
    constant = module.memories["weights"].rows is None
    few = words <= FEW_WORDS and constant
    once, bound = steps == 1, p["LEVELS"] == 1
    bits = p["XNOR"] or p["TERNARY"]
    total = p["SBITS"] + (1 if bound and p["BSIGNED"] else 0) if p["LEVELS"] or groups > 1 else p["OBITS"]
    lane = Pieces(made.family)
    if not bits and words == 1 and constant:
        constant_dot(made, matrix(made, p, module), p["XBITS"], bool(p["XSIGNED"]), p["WBITS"])
    elif not bits:
        dot(lane, p["SIMD"], p["XBITS"], bool(p["XSIGNED"]), p["WBITS"], few)
    elif words <= FEW_WORDS:
        # Three inputs, and the address of their weights; or, where a host writes these, they themselves: of two bits
        # each, whose functions are made of four LUTs in place of the eight that nine inputs may take.
        inputs = 3 + (ceil(log2(words)) if constant else 3 if p["WBITS"] == 1 else 5)
        _leaves(made, p["PE"], p["SIMD"], inputs, ternary=bool(p["TERNARY"]))
        if p["TERNARY"]:
            made.path(TERNARY, log2(p["SIMD"]))
        for _ in range(2 if p["TERNARY"] else 1):
            popcount(lane, p["SIMD"], p["SBITS"])
    else:
        lane.term("leaf", p["SIMD"] // 3)
        # One synapse is a LUT, two are two.
        lane.term("part of a leaf", p["SIMD"] % 3)
        lane.ff(2 * ceil(p["SIMD"] / 3))
        popcount(lane, p["SIMD"], p["SBITS"])
    # Of a difference of counts that is made at once only the sign is kept.
    lane.ff(1 if bound and once and (bits or (words == 1 and p["WBITS"] > 1)) else total)
    if bits or words > 1:
        lane.term("few sums" if few else "sums", total)
    if bound and not once:
        lane.term("bound", total)
    if p["LEVELS"] > 1:
        levels(lane, p, module)
    for key, size in lane.paths.items():
        made.path(key, size)
    for key, registers in lane.exact.items():
        made.exact[key] += p["PE"] * registers
    for key, amount in lane.terms.items():
        made.term(key, p["PE"] * amount)
    if p["LEVELS"] > 1:
        made.ff(2)
    few_bounds(made, module)
    made.fifo(p["PE"] * p["OBITS"], depths[0], latency)


def _vector(made: Pieces, steps: int, groups: int, inputs: int, read: int, style: str) -> None:
    """Inputs of a step `read` cycles later, of a vector that is kept where there are several groups of rows."""
    if groups == 1:
        made.ff(inputs * read)
    elif read == 1:
        made.ff(inputs)
        made.term("kept" if steps > 1 else "kept whole", inputs)
        if steps > 1:
            made.pointed(steps, inputs, style)
        else:
            made.ff(inputs)
    else:
        # Read behind a register of the step's place, from where the step wrote it.
        made.ff(inputs * (read - 2))
        if steps > 1:
            mapped = made.ring(steps, inputs, style)
            if mapped.takes != "block_ram" or made.family not in OF_FOUR_INPUTS:
                # Else that of the place is among what a word goes around the memory by.
                made.ff(address_bits(steps))
        else:
            made.ff(2 * inputs)


def _leaves(made: Pieces, pe: int, simd: int, inputs: int, *, ternary: bool) -> None:
    """Leaves of popcounts of weights of few words, each a function of so many bits."""
    leaves = ceil(simd / 3)
    # A leaf of one synapse has no second bit.
    twos = leaves - (simd % 3 == 1)
    number = (leaves + twos) * pe
    if ternary:
        # The weights of -1 are counted, too.
        number *= 2
    made.ff(number)
    made.term("constant leaf", number * luts(made.family, inputs))
