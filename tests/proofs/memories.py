"""What is proved of memories, and of what corrects their errors."""

from __future__ import annotations

import numpy as np

from bnnflow.transforms.codes import odd_columns

from .sby import Parameters, Proof, fault


def _hsiao(limit: int, checks: int) -> Parameters:
    """Hsiao's code as bnnflow_code takes it."""
    columns = (1 << np.arange(checks)) @ odd_columns(checks, limit)
    matrix = f"{checks * limit}'h{sum(int(column) << checks * place for place, column in enumerate(columns)):x}"
    return {"CHECKS": checks, "COLUMNS": matrix, "CORRECTS": 1}


def _secded(data: int, limit: int, checks: int, ways: int = 1, zeros: int = 0) -> Parameters:
    return {"DATA": data, "LIMIT": limit, "WAYS": ways, "ZEROS": zeros, **_hsiao(limit, checks)}


CODES = (
    Proof(
        "bnnflow_code",
        "with columns of Hsiao's code: any one flipped bit of each codeword, also a check bit, is corrected and told, "
        "any two are found; what is encoded and not changed is read",
        (
            _secded(4, 4, 4),
            _secded(32, 32, 7),
            _secded(64, 64, 8, zeros=1),
            _secded(20, 32, 7),
            _secded(128, 32, 7, ways=4),
            _secded(150, 64, 8, ways=2, zeros=1),
            _secded(30, 8, 5, ways=4, zeros=1),
            _secded(37, 8, 5, ways=2),
            _secded(10, 1, 3, ways=4),
        ),
        (
            fault("an error of a check bit stays", "code", "stored[AT] ^ checks[c]", "stored[AT]"),
            fault(
                "a bit of the syndrome is not looked at",
                "code",
                "syndrome == columns[j*CHECKS+:CHECKS]",
                "syndrome[CHECKS-2:0] == columns[j*CHECKS+:CHECKS-1]",
            ),
            fault(
                "what cannot be corrected is read",
                "code",
                "& ~(ZEROS & wrong[g*EACH+w])",
                "",
                _secded(30, 8, 5, ways=4, zeros=1),
            ),
            fault(
                "check bits of a shorter group lie as in others",
                "code",
                "PLACE + MINE + c",
                "PLACE + SHARE + c",
                _secded(37, 8, 5, ways=2),
            ),
            fault(
                "the first bit is always of the last codeword",
                "code",
                "data[FROM+w+j*MANY]",
                "data[FROM+w+j]",
                _secded(30, 8, 5, ways=4, zeros=1),
            ),
        ),
        "abc bmc3",
        2,
        True,
    ),
    Proof(
        "bnnflow_code",
        "parity finds every odd number of flipped bits of a codeword, and no even one; of three copies the "
        "majority of each bit is read, whatever is flipped; without a code rows are read as they are",
        (
            {"DATA": 3, "COPIES": 3, "MOST": 3},
            {"DATA": 8, "LIMIT": 8, "ZEROS": 1, "MOST": 9},
            {"DATA": 7, "LIMIT": 3, "WAYS": 2, "MOST": 4},
            {"DATA": 40, "LIMIT": 10, "WAYS": 2, "ZEROS": 1, "MOST": 11},
            {"DATA": 3, "LIMIT": 3, "CHECKS": 0, "MOST": 3},
        ),
        (
            fault("the first copy counts more", "code", "(a & b) | (a & c) | (b & c)", "(a & b) | (a & c)"),
            fault("parity of the data alone", "code", "^(kept & row) ^ stored[AT]", "^(kept & row)", {"DATA": 8}),
        ),
        "abc bmc3",
        2,
        True,
    ),
)


def _guarded(words: int, width: int, joined: int = 1, sets: int = 1, checks: int = 0, **others: int) -> Parameters:
    """A memory with Hsiao's code of so many check bits, or without."""
    sizes: Parameters = {"WORDS": words, "WIDTH": width, "JOINED": joined, "SETS": sets}
    code = _hsiao(joined * width, checks) if checks else {}
    return {**sizes, **others, "ROWS": sets * -(-words // joined), **code}


GUARDED = (
    Proof(
        "bnnflow_guarded_memory",
        "words in turn, of the set whose image it is, as the host wrote them last, although in the beginning any one "
        "bit of each row may be flipped; reading a flipped row mends it, each is told once; a write is never undone",
        (
            _guarded(2, 1, COPIES=3),
            _guarded(3, 1, joined=2, checks=4),
            _guarded(2, 1, sets=2, checks=3),
            _guarded(3, 2, joined=2, sets=2, PASSES=2, FLIPS=0),
            _guarded(3, 2, joined=2, sets=2, FLIPS=0, LATE=1),
            _guarded(5, 1, joined=3, COPIES=3),
            _guarded(1, 2, sets=2, checks=4, PASSES=2),
        ),
        (
            fault("what was read before a write is written back", "mender", "write | begins ?", "begins ?"),
            fault(
                "what is mended is written over the host's",
                "guarded_memory",
                "mended ? written : encoded",
                "mend ? written : encoded",
            ),
            fault("a row is mended twice", "mender", "& (old == '0)", ""),
            fault("another row is written", "mender", "mend_row <= from", "mend_row <= row"),
            fault(
                "a set begins within an image",
                "turn",
                "next & image_ends & (following",
                "next & pass_ends & (following",
                _guarded(3, 2, joined=2, sets=2, PASSES=2, FLIPS=0),
            ),
            fault(
                "the first word of a set is of the one before",
                "turn",
                "else if (other) addr <= coming;",
                "",
                _guarded(2, 1, sets=2, checks=3),
            ),
            fault(
                "words of a row are read beyond its last",
                "turn",
                "pass_ends | row_ends ?",
                "pass_ends ?",
                _guarded(4, 1, joined=3, FLIPS=0),
            ),
        ),
        memory="u_part.u_rows.words",
    ),
    Proof(
        "bnnflow_guarded_memory",
        "two flipped bits of a row are told with every word that is read of it, and stay as they are",
        (
            _guarded(2, 1, checks=3, FLIPS=2),
            _guarded(3, 1, joined=2, checks=4, FLIPS=2),
        ),
        (fault("it is told without a word that is read", "mender", "was_used & beyond", "beyond"),),
        memory="u_part.u_rows.words",
    ),
    Proof(
        "bnnflow_guarded_memory",
        "with a scrubber: words are read as without it, whatever the unit and the host do; a flipped row of any set is "
        "mended within a walk of cycles in which the unit reads nothing, told once, and never over what the host wrote",
        (
            _guarded(2, 1, SCRUB=1, COPIES=3),
            _guarded(2, 1, sets=2, checks=3, SCRUB=1),
            _guarded(3, 1, joined=2, checks=4, SCRUB=2),
        ),
        (
            fault("it reads while the unit does", "scrubber", "&since & ~busy", "&since"),
            fault("the last row is left out", "scrubber", "RBITS'(ROWS - 1)", "RBITS'(ROWS - 2)"),
            fault("it looks and mends nothing", "mender", "(was_used | looked)", "was_used"),
            fault("it mends another row", "mender", "from <= row", "from <= looks ? '0 : row"),
            fault("what it read before a write is written back", "mender", "write | begins ?", "begins ?"),
            fault(
                "what it mends is written over the host's",
                "guarded_memory",
                "mended ? written : encoded",
                "mend ? written : encoded",
            ),
            fault("a row is mended twice", "mender", "& (old == '0)", ""),
        ),
        memory="u_part.u_rows.words",
    ),
    Proof(
        "bnnflow_guarded_memory",
        "with a scrubber: two flipped bits of a row are told with every word that is read of it, not with every walk",
        (_guarded(2, 1, checks=3, FLIPS=2, SCRUB=1),),
        (fault("walks tell of them, too", "mender", "was_used & beyond", "(was_used | looked) & beyond"),),
        memory="u_part.u_rows.words",
    ),
)
_ROWS = {"WIDTH": 1, "DEPTH": 11, "JOINED": 3}
OTHERS = (
    Proof(
        "bnnflow_memory",
        "words in turn, one cycle later, or two",
        (*({"DEPTH": depth} for depth in (3, 1, 2, 8, 9, 12)), *({"DEPTH": depth, "LATE": 1} for depth in (3, 9))),
        (
            fault("the last word is left out", "memory", "ABITS'(DEPTH - 1)", "ABITS'(DEPTH - 2)"),
            fault("it is a cycle early", "rom", "all[int'(place)", "all[int'(addr)", {"DEPTH": 8}),
        ),
    ),
    Proof(
        "bnnflow_memory",
        "words of rows that are read ahead, in turn, one cycle later, or two; behind a reset from the second cycle on",
        tuple(
            {"WIDTH": width, "DEPTH": depth, "JOINED": joined, "LATE": late}
            for width, depth, joined, late in (
                *((4, 9, 1, 0), (1, 12, 3, 0), (1, 11, 3, 0), (1, 7, 7, 0), (2, 5, 2, 0)),
                *((1, 10, 4, 1), (3, 3, 1, 1)),
            )
        ),
        (
            fault("the last row has as many words as others", "memory", "is_last ? LEFT - 1 : ", "", _ROWS),
            fault("a row is read when its first word is asked for", "memory", "asked & ends", "asked", _ROWS),
            fault("a row is not there behind a reset", "memory", " | ~there", ""),
        ),
    ),
    Proof(
        "bnnflow_monitor",
        "stalls are the cycles in which a word waited, and stay at the greatest number; peak is the most words that "
        "were in the FIFO in a cycle since both began again",
        ({"PBITS": 2}, {"PBITS": 1}, {"PBITS": 4}),
        (
            fault("stalls begin again behind the greatest number", "monitor", "& ~(&stalls)", ""),
            fault(
                "a word that is being written does not count",
                "monitor",
                "if (held > most) most <= held",
                "if (fill > most) most <= fill",
            ),
            fault(
                "the FIFO is thought empty when figures begin again",
                "monitor",
                "if (rst) fill",
                "if (rst | clear) fill",
            ),
        ),
    ),
    Proof(
        "bnnflow_axi_lite",
        "each transaction is answered once and an answer waits unchanged; a strobe a write, with its address and data; "
        "never two reads under way, and what is read was there READ cycles after its address; nothing waits for ever",
        ({"READ": 2}, {"READ": 1}, {"READ": 3}),
        (
            fault("an answer does not wait", "axi_lite", "(writes | (bvalid & ~bready))", "writes"),
            fault("an address is taken without data", "axi_lite", "awvalid & wvalid & ~bvalid", "awvalid & ~bvalid"),
            fault("two reads are under way", "axi_lite", "~rvalid & ~(|under_way) & ~rst", "~rvalid & ~rst"),
            fault(
                "data are taken a cycle early", "axi_lite", "if (under_way[READ]) rdata", "if (under_way[READ-1]) rdata"
            ),
            fault(
                "a read that waits is answered twice",
                "axi_lite",
                "(under_way[READ] | (rvalid & ~rready))",
                "(under_way[READ] | rvalid)",
            ),
        ),
    ),
)
MEMORIES = CODES + GUARDED + OTHERS
