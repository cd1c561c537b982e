"""What is proved of which module, with which parameters, and the faults that each proof must find."""

from __future__ import annotations

from .memories import MEMORIES
from .sby import Proof, fault
from .units import UNITS

_STREAM = "every word once, in order, with its value; data wait unchanged; no overflow; nothing waits for ever"


STREAMS = (
    Proof(
        "bnnflow_fifo",
        f"{_STREAM}; free exactly while a place is, offered the cycle after the push",
        tuple(
            {"WIDTH": width, "DEPTH": depth, "LATENCY": latency}
            for width, depth, latency in ((1, 2, 1), (2, 2, 0), (1, 1, 0), (1, 1, 2), (1, 3, 2), (1, 4, 1), (1, 5, 1))
        ),
        (
            fault(
                "a place more is given than there is",
                "fifo",
                "free <= read | taken != CBITS'(PLACES - 1)",
                "free <= read | taken != CBITS'(PLACES)",
            ),
            fault("the youngest word is offered", "fifo", "m_data = words[head]", "m_data = words[tail]"),
            fault("a read beside a push is not counted", "fifo", "if (push != read)", "if (push)"),
        ),
    ),
    Proof(
        "bnnflow_narrow",
        _STREAM,
        tuple(
            {"WIDTH": width, "N": n, "DEPTH": depth} for width, n, depth in ((1, 2, 2), (1, 3, 1), (2, 4, 2), (1, 5, 3))
        ),
        (
            fault("the first part is repeated", "narrow", "{WIDTH'(0), held} >> WIDTH", "held", {"N": 3}),
            fault("a word is taken while another leaves", "narrow", "s_ready = free & first", "s_ready = free"),
        ),
    ),
    Proof(
        "bnnflow_widen",
        _STREAM,
        tuple(
            {"WIDTH": width, "N": n, "DEPTH": depth} for width, n, depth in ((1, 2, 2), (1, 3, 1), (2, 4, 2), (1, 5, 3))
        ),
        (
            fault("a last part is taken without a place", "widen", "s_ready = free | ~last", "s_ready = 1'b1"),
            fault("the last part is lowest", "widen", "{s_data, held}", "{held, s_data}"),
        ),
    ),
    Proof(
        "bnnflow_unrolled",
        f"{_STREAM}, of the rows beside it",
        tuple({"IN": width, "LATENCY": latency, "DEPTH": depth} for width, latency, depth in ((1, 2, 2), (2, 3, 1))),
        (
            fault("a word is taken without a place", "unrolled", "step = s_valid & free", "step = s_valid"),
            fault("results are taken a cycle late", "unrolled", ".CYCLES(LATENCY)", ".CYCLES(LATENCY + 1)"),
        ),
    ),
    Proof(
        "bnnflow_duplicate_streams",
        f"{_STREAM}; to every reader, whatever the others do",
        (
            {"WIDTH": 1, "N": 2, "DEPTHS": (2, 2)},
            {"WIDTH": 1, "N": 2, "DEPTHS": (1, 3)},
            {"WIDTH": 2, "N": 3, "DEPTHS": (2, 1, 2)},
            {"WIDTH": 1, "N": 1, "DEPTHS": (2,)},
        ),
        (fault("a word is taken when one reader has a place", "duplicate_streams", "&free", "|free"),),
    ),
    Proof(
        "bnnflow_add_streams",
        f"{_STREAM}: the sum of one word of each, read together",
        (
            {"PE": 2, "ABITS": 1, "ASIGNED": 0, "BBITS": 2, "BSIGNED": 1, "OBITS": 3},
            {"PE": 1, "ABITS": 3, "ASIGNED": 1, "BBITS": 2, "BSIGNED": 1, "OBITS": 4, "DEPTH": 1},
            {"PE": 1, "ABITS": 2, "ASIGNED": 0, "BBITS": 4, "BSIGNED": 0, "OBITS": 5, "DEPTH": 3},
        ),
        (
            fault("a word is taken of one side alone", "add_streams", "a_ready = b_valid & free", "a_ready = free"),
            fault("a sign is lost", "add_streams", "{BSIGNED & ", "{1'b0 & "),
        ),
    ),
    Proof(
        "bnnflow_concat",
        f"{_STREAM}: of each pixel the words of the first input, then of the second, ...",
        (
            {"WORDS": (2, 1), "XBITS": (1, 2), "SIGNED": "2'b10", "OBITS": 3},
            {"WORDS": (1, 1), "XBITS": (2, 2), "SIGNED": "2'b00", "OBITS": 2, "SIMD": 2, "DEPTH": 1},
            {"N": 3, "WORDS": (1, 3, 2), "XBITS": (2, 1, 1), "SIGNED": "3'b101", "OBITS": 2, "XMAX": 2},
        ),
        (
            fault("a word of the wrong input is taken", "concat", "free & (turn == NB'(n))", "free"),
            fault("a pixel has a word more", "concat", "WORDS[32*turn+:32] - 1", "WORDS[32*turn+:32]"),
        ),
    ),
    Proof(
        "bnnflow_max_pool",
        f"{_STREAM}: the maximum of every window",
        (
            {"H": 2, "W": 4, "KH": 2, "KW": 2, "XBITS": 2, "SIGNED": 0},
            {"H": 4, "W": 2, "KH": 2, "KW": 1, "XBITS": 2, "SIGNED": 1, "DEPTH": 1},
            {"H": 3, "W": 6, "KH": 3, "KW": 3, "C": 2, "XBITS": 1, "SIGNED": 0},
        ),
        (
            fault("a window begins with the maximum of another", "max_pool", "begins | greater", "greater"),
            fault("windows begin anew in each row", "max_pool", "top <= ky_ends", "top <= 1'b1"),
            fault("a last pixel is taken without a place", "max_pool", "s_ready = free | ~whole", "s_ready = 1'b1"),
        ),
    ),
)
PADDING = (
    Proof(
        "bnnflow_padding",
        f"{_STREAM}; around them those of the border",
        (
            {"H": 1, "W": 2, "TOP": 1, "LEFT": 1, "BOTTOM": 0, "RIGHT": 1},
            {"H": 2, "W": 1, "TOP": 0, "LEFT": 1, "BOTTOM": 1, "RIGHT": 0, "CF": 2, "DEPTH": 1},
            {"H": 1, "W": 1, "TOP": 1, "LEFT": 0, "BOTTOM": 1, "RIGHT": 0, "SIGNED": 1, "XBITS": 2, "OBITS": 4},
        ),
        (
            fault("a word is taken on the border", "padding", "s_ready = free & on_map", "s_ready = free"),
            fault("the map has a row more", "padding", "YB'(TOP + H - 1)", "YB'(TOP + H)"),
            fault("the border is a word of the map", "padding", "on_map ? values : {SIMD{BORDER}}", "values"),
        ),
    ),
)
# Small enough for a proof: 5 words are a window and the buffer.
_WINDOW = {"H": 2, "W": 3, "KH": 2, "KW": 2, "BUFFER": 5, "DEPTH": 1}
WINDOWS = (
    Proof(
        "bnnflow_sliding_window",
        "no word leaves that was not read, each image comes out whole; data wait unchanged; nothing waits for ever",
        ({**_WINDOW, "VALUES": 0},),
        (
            fault("a window begins before all its words are there", "sliding_window", "HELD = (", "HELD = -1 + ("),
            fault("a window has a row less", "walk", "KBITS'(ROWS - 2)", "KBITS'(ROWS - 3)"),
        ),
    ),
    Proof(
        "bnnflow_sliding_window",
        "each word comes out in all windows that hold it, in the header's order",
        (
            _WINDOW,
            {**_WINDOW, "BUFFER": 7, "DEPTH": 2},
            {"H": 3, "W": 2, "KH": 2, "KW": 1, "BUFFER": 3, "DEPTH": 1},
            {"H": 1, "W": 3, "KH": 1, "KW": 2, "CF": 2, "BUFFER": 4, "DEPTHWISE": 1, "DEPTH": 1},
            {"H": 1, "W": 5, "KH": 1, "KW": 2, "SW": 3, "BUFFER": 3, "DEPTH": 1},
        ),
        (
            fault(
                "a word is written over another", "sliding_window", "s_ready = fill != FBITS'(BUFFER)", "s_ready = 1"
            ),
            fault("columns of a window are those of another", "sliding_window", "MOVE = SW * CF", "MOVE = 2 * SW * CF"),
        ),
        "abc bmc3",
        22,
    ),
)
# Pipelines without a loop: registers begin with any values, so that what holds behind the latency holds ever after.
_ARITHMETIC = "abc bmc3"
ARITHMETIC = (
    Proof(
        "bnnflow_popcount",
        "$countones of ~(x ^ w), LATENCY cycles later; with DIRECT 0 of three bits each, added",
        (
            *({"N": n} for n in (3, 1, 2, 4, 5, 6, 7, 9, 12, 16, 18, 19, 20)),
            *({"N": n, "FEW": 1} for n in (3, 8, 16)),
            *({"N": n, "DIRECT": 0} for n in (24, 36, 37, 64, 100, 144)),
        ),
        (
            fault("a leaf counts a bit twice", "leaf", "s[0] ^ s[1] ^ s[2]", "s[0] ^ s[1] ^ s[1]"),
            fault("missing bits are equal", "tree", "wide_w = '1;", "wide_w = '0;", {"N": 4}),
            fault("twos count as ones", "tree", "{high, 1'b0}", "high", {"N": 6}),
            fault("it is a cycle late", "tree", "LEVELS % 2 == 0", "LEVELS % 2 == 1", {"N": 19}),
        ),
        _ARITHMETIC,
        8,
        True,
    ),
    Proof(
        "bnnflow_popcount",
        "the form that is simulated: $countones of ~(x ^ w), as late",
        tuple({"N": n} for n in (3, 4, 9, 16, 19, 37)),
        (fault("it is a cycle early", "popcount", "1 + LEVELS / 2 : 0", "LEVELS / 2 : 0", {"N": 37}),),
        _ARITHMETIC,
        8,
        True,
        ("BNNFLOW_COUNTONES",),
    ),
    Proof(
        "bnnflow_ones",
        "$countones, LATENCY cycles later",
        tuple({"N": n} for n in (7, 2, 5, 6, 8, 12, 13, 18, 19)),
        (fault("a carry is lost", "ones", "low[1] ^ high[1] ^ carry", "low[1] ^ high[1]"),),
        _ARITHMETIC,
        8,
        True,
    ),
    Proof(
        "bnnflow_neuron",
        "the bounds that the signed sum of its products reaches, or that sum, LATENCY cycles later",
        (
            *(
                {"N": n, "PLUS": f"{n}'b{plus}", "BOUNDS": f"32'd{bound}", "MINUS": plus.count("0"), "LATENCY": latency}
                for n, plus, bound, latency in (
                    *((1, "1", 1, 1), (1, "0", 1, 2), (3, "010", 2, 1), (6, "110100", 4, 1), (6, "111111", 1, 3)),
                    *((7, "0110100", 4, 2), (12, "000000000000", 6, 2), (13, "1011010110100", 7, 2)),
                    *((18, "110101011010011010", 9, 3), (5, "00000", 9, 1)),
                )
            ),
            {"N": 4, "PLUS": "4'b0110", "BOUNDS": "32'hffffffff", "MINUS": 2},
            {"N": 7, "PLUS": "7'b1101001", "LEVELS": 0, "MINUS": 3, "OBITS": 4, "LATENCY": 2},
            {"N": 3, "PLUS": "3'b000", "LEVELS": 0, "MINUS": 3, "OBITS": 6},
            {
                "N": 8,
                "PLUS": "8'b00110101",
                "LEVELS": 3,
                "BOUNDS": "96'h00000009_00000005_fffffffe",
                "MINUS": 4,
                "OBITS": 3,
                "ACT_VAL": -2,
                "LATENCY": 3,
            },
        ),
        (
            fault("a bound is not reached by itself", "neuron", "count >= CBITS", "count > CBITS", {"BOUNDS": "32'd1"}),
            fault("a weight has another sign", "neuron", "x ~^ PLUS", "x ^ PLUS", {"BOUNDS": "32'd1"}),
            fault(
                "it is a cycle early",
                "neuron",
                ".CYCLES(LATENCY - COUNTED - 1)",
                ".CYCLES(0)",
                {"BOUNDS": "32'd1", "LATENCY": 2},
            ),
        ),
        _ARITHMETIC,
        8,
        True,
    ),
    Proof(
        "bnnflow_sum",
        "the sum of its terms and carries, without overflow, (LEVELS + ODD) / 2 cycles later",
        tuple(
            {"N": n, "WIDTH": width, "LEVELS": levels, "SIGNED": signed, "CARRY": carry, "ODD": odd}
            for n, width, levels, signed, carry, odd in (
                *((2, 2, 1, 1, 0, 0), (2, 3, 1, 0, 0, 1), (3, 2, 2, 1, 1, 0), (5, 2, 3, 0, 0, 0), (5, 2, 3, 1, 1, 0)),
                *((6, 3, 3, 1, 1, 0), (7, 2, 3, 1, 1, 1), (4, 2, 4, 0, 0, 0), (9, 1, 4, 0, 0, 1), (9, 2, 4, 1, 1, 0)),
            )
        ),
        (
            fault("a sign is lost", "sum", "{SIGNED & high[OUT-2], high}", "{1'b0, high}"),
            fault("a carry comes early", "sum", "line[BELOW-1]", "carries[N-2]", {"N": 5, "LEVELS": 3, "CARRY": 1}),
        ),
        _ARITHMETIC,
        8,
        True,
    ),
    Proof(
        "bnnflow_dot",
        "sum + lacking is the sum of products of inputs and weights, LATENCY cycles later",
        tuple(
            {"N": n, "XBITS": xbits, "XSIGNED": signed, "WBITS": wbits}
            for n, xbits, signed, wbits in (
                *((2, 2, 1, 2), (1, 4, 0, 4), (1, 4, 1, 4), (3, 3, 1, 1), (3, 4, 0, 1), (2, 3, 0, 3), (4, 2, 1, 2)),
                *((4, 1, 0, 2), (5, 2, 0, 1), (5, 2, 1, 1), (7, 2, 1, 1), (8, 1, 0, 1)),
            )
        ),
        (
            fault("-1 counts as +1", "dot", "^ {PBITS{~w[i]}}", "", {"N": 3, "WBITS": 1}),
            fault("a weight has no sign", "dot", "{w[(i+1)*WBITS-1]}", "{1'b0}"),
            fault("the last lane lacks nothing", "dot", "(~w[N-1])", "(1'b0)", {"N": 3, "WBITS": 1}),
        ),
        _ARITHMETIC,
        8,
        True,
    ),
    Proof(
        "bnnflow_dot",
        "the form that is simulated: the same, as late",
        tuple(
            {"N": n, "XBITS": xbits, "XSIGNED": signed, "WBITS": 1}
            for n, xbits, signed in ((3, 3, 1), (1, 3, 1), (2, 3, 0), (3, 4, 0), (4, 2, 1), (5, 2, 0), (7, 2, 1))
        ),
        (fault("the last lane is whole", "dot", "i == N - 1 ? ~wide : -wide", "-wide"),),
        _ARITHMETIC,
        8,
        True,
        ("BNNFLOW_COUNTONES",),
    ),
)
_DEFAULTS = {"engine": _ARITHMETIC, "depth": 8, "pipeline": True, "primitives": "xc7"}
PRIMITIVES = (
    Proof(
        "bnnflow_seven",
        "$countones; and the models of LUT6_2 and CARRY4 that are simulated are those of yosys",
        ({"INIT": "64'h0"}, {"INIT": "64'h96696996F99F9009"}, {"INIT": "64'h1234567890ABCDEF"}),
        (
            fault("a third twos is lost", "seven", "64'h177E_7EE8_E880_8000", "64'h177E_7EE8_6880_8000"),
            fault("the carry into the chain is lost", "seven", ".CYINIT(d[6])", ".CYINIT(1'b0)"),
        ),
        **_DEFAULTS,
    ),
    Proof(
        "bnnflow_ternary",
        "the sum of three numbers and two bits, where SLOTS hold it",
        (
            {"WIDTH": 3, "SLOTS": 4},
            {"WIDTH": 1, "SLOTS": 2},
            {"WIDTH": 4, "SLOTS": 4},
            {"WIDTH": 4, "SLOTS": 5},
            {"WIDTH": 6, "SLOTS": 7},
            {"WIDTH": 7, "SLOTS": 8},
        ),
        (
            fault("a carry is of another place", "ternary", "below = g_slot[i-1].above", "below = g_slot[0].above"),
            fault("a chain begins anew", "ternary", "{1'b0, carries[4*i-1]}", "2'b00", {"WIDTH": 6, "SLOTS": 7}),
        ),
        **_DEFAULTS,
    ),
    Proof(
        "bnnflow_equal",
        "$countones of ~(x ^ w), LATENCY cycles later; with DIRECT 0 of parts of 32 bits, proved apart, added",
        (
            *({"N": n} for n in (7, 3, 4, 5, 6, 12, 16, 18, 19, 20)),
            *({"N": n, "DIRECT": 0} for n in (33, 37, 64, 72, 96, 97, 128, 150)),
        ),
        (
            fault("missing bits are equal", "equal_part", "wide_w = '1;", "wide_w = '0;"),
            fault("a sum goes into the wrong leaf", "equal_part", "i % 3 == 0", "i % 4 == 0"),
            fault("it is a cycle late", "equal", "> 2 + LEVELS / 2", "> 3 + LEVELS / 2", {"N": 33, "DIRECT": 0}),
            fault("a third part is lost", "threes", "N > 2 * THIRD", "N > 3 * THIRD", {"N": 72, "DIRECT": 0}),
        ),
        **_DEFAULTS,
    ),
    Proof(
        "bnnflow_equal_part",
        "$countones of ~(x ^ w), LATENCY cycles later, for every N there is",
        (*({"N": n} for n in range(1, 33)), *({"N": n, "MERGED": 1} for n in (1, 6, 18, 32))),
        (
            fault("a pair is counted twice", "equal_part", ".d(twos[13:7])", ".d(twos[12:6])", {"N": 28}),
            fault("a bit of four is one of two", "equal_part", "held[8:6]", "{1'b0, held[7:6]}", {"N": 28}),
        ),
        **_DEFAULTS,
    ),
    Proof(
        "bnnflow_popcount",
        "the same with the leaves of FEW, which are generic",
        (*({"N": n} for n in (4, 3, 16, 19)), {"N": 8, "FEW": 1}),
        (fault("it is a cycle early", "equal", "2 + THREES > 2", "3 + THREES > 2"),),
        **_DEFAULTS,
    ),
)
PROOFS = STREAMS + PADDING + WINDOWS + ARITHMETIC + PRIMITIVES + MEMORIES + UNITS
