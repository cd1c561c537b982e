"""What memories are made of that a host writes or that correct errors, and the registers that a host talks to."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

from ...transforms.streams import Streams
from ..rtl.memory import Memory
from ..rtl.modules import Module
from ..rtl.top_control import PAUSE, place_bits, set_bits
from ..synth.families import FAMILIES
from .memory import address_bits
from .pieces import CORRECTED, CORRECTED_BLOCK, VOTED, Pieces


def guarded(made: Pieces, held: Memory, late: int, image_bits: int, *, scrub: bool) -> None:
    """bnnflow_guarded_memory.

    Args:
        made: is added to.
        held: with its rows.
        late: cycles that a row without a code is read later than it can be.
        image_bits: of the numbers of images.
        scrub: whether a memory whose code corrects is walked through.
    """
    rows = held.rows
    assert rows is not None
    coding, number = rows.coding, len(rows.words) * held.sets
    address, part = address_bits(number) if number > 1 else 0, address_bits(rows.joined) if rows.joined > 1 else 0
    data = rows.joined * held.width
    # Whose turn it is (bnnflow_turn).
    word = address_bits(held.depth) if held.depth > 1 else 0
    made.ff(word + address + max(1, part))
    made.term("turn", 1)
    made.term("turn counter", word + address + part)
    if held.sets > 1:
        made.ff(address + image_bits + (held.passes == 1))
        made.counter(held.passes)
        made.term("image", image_bits)
        made.term("set", address)
    made.ff(late * (address + part) + part)
    if scrub and coding.mends:
        made.ff(PAUSE)
        made.counter(number)
        made.term("walk", 1)
    mapped = made.ring(number, rows.bits, held.style)
    if rows.joined > 1:
        made.term("chosen word", (rows.joined - 1) * held.width)
    if not coding.coded:
        return
    made.ff(held.width)
    words = coding.codewords(data)
    if coding.mends:
        corrected = CORRECTED_BLOCK if mapped.takes == "block_ram" else CORRECTED
        made.path(VOTED if coding.copies > 1 else corrected, log2(rows.bits))
    if coding.copies > 1:
        made.term("vote", data)
        made.term("votes differ", rows.bits)
    else:
        ones = [column.bit_count() for column in coding.columns]
        for bits in words:
            made.term("check bit", 2 * sum(ones[:bits]))
            if coding.corrects:
                made.term("turned bit", bits * coding.checks)
        # That one is beyond correction, of a word that is read.
        made.ff(1)
        made.term("beyond", len(words))
    # Whether a row was read.
    made.ff(1)
    if coding.mends:
        # Whether it was looked at; its address, twice; for how long what is read is old; whether it is written.
        made.ff((1 if scrub else 0) + 2 * address + 2 + 1)
        # What is written, and what is read: of a row of a word one register is both.
        shared = rows.joined == 1 and not coding.zeros
        made.ff((0 if coding.copies > 1 else coding.checks * len(words)) + (0 if shared else data))
        made.term("row written", rows.bits)


def registers(streams: Streams, modules: Mapping[str, Module], depths: Mapping[str, int], family: str) -> Pieces:
    """bnnflow_axi_lite, bnnflow_control and a bnnflow_monitor a stream.

    Args:
        streams: of the graph.
        modules: of its units, by name.
        depths: words of every FIFO.
        family: name of the FPGA family.
    """
    made = Pieces(family, "bnnflow_control")
    held = [each for module in modules.values() for each in module.memories.values() if each.rows is not None]
    rows = [each.rows.joined * each.width for each in held if each.rows is not None]
    sets = max((each.sets for each in held), default=1)
    made.term("registers", 1)
    # What the host writes and reads (64 and 32 bits under way, 28 of addresses), what it is told of images (256), the
    # first image of a set, a row's number and its memory's; the rest are flags.
    made.ff(551 + 2 * set_bits(sets))
    for words in (streams.entries[0].words, streams.leave.words):
        made.ff(address_bits(words))
    made.ff(max(rows, default=1))
    made.term("row given", max(rows, default=1))
    if held:
        # Rows that were corrected, and words that were beyond it.
        made.ff(64)
        made.term("memories told", 1)
        made.term("memory told", len(held))
    for each in streams.streams:
        bits = place_bits(each, depths, modules)
        made.ff(32 + 2 * bits)
        made.term("stream watched", 1)
        made.term("places watched", bits)
    if FAMILIES[family].packed:
        made.term("register", made.exact["ff"])
    return made
