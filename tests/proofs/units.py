"""What is proved of units that compute: thresholds, matrices, pools, sums, the best classes."""

from __future__ import annotations

from .sby import Parameters, Proof, fault

_STREAM = "in order; data wait unchanged; no overflow; nothing waits for ever"
THRESHOLDS = (
    Proof(
        "bnnflow_levels",
        "ACT_VAL and the number of bounds that a value reaches, whatever both are",
        (
            *(
                {"PE": pe, "SBITS": sbits, "BBITS": bbits, "BSIGNED": signed, "LEVELS": levels, "OBITS": obits}
                for pe, sbits, bbits, signed, levels, obits in (
                    *((1, 4, 4, 1, 1, 2), (1, 5, 3, 1, 3, 2), (2, 4, 3, 0, 2, 2), (2, 6, 6, 1, 7, 4)),
                    *((1, 8, 7, 0, 15, 5), (1, 3, 3, 1, 4, 3), (3, 12, 10, 1, 1, 1)),
                )
            ),
            {"SBITS": 4, "BBITS": 3, "LEVELS": 3, "OBITS": 3, "ACT_VAL": -1},
        ),
        (
            fault("a bound is not reached by itself", "levels", "value >= bound", "value > bound"),
            fault("a bound has no sign", "levels", "BSIGNED & stored", "1'b0 & stored", {"LEVELS": 2, "BBITS": 3}),
        ),
        "abc bmc3",
        8,
        True,
    ),
    Proof(
        "bnnflow_thresholding",
        f"of every word the results by the bounds whose turn it is, whatever these are, {_STREAM}",
        (
            {"LEVELS": 1},
            {"LEVELS": 1, "XBITS": 1, "SBITS": 2, "BBITS": 1, "BSIGNED": 0, "OBITS": 1, "READ": 2},
            {"LEVELS": 2, "XBITS": 1, "SBITS": 2, "BBITS": 1, "BSIGNED": 0, "WORDS": 1, "DEPTH": 1},
        ),
        (
            fault("bounds are those of the next word", "thresholding", ".CYCLES(READ)", ".CYCLES(READ + 1)"),
            fault("a sign is lost", "thresholding", "{XSIGNED & s_data", "{1'b0 & s_data", {"XSIGNED": 1}),
        ),
    ),
    Proof(
        "bnnflow_thresholding",
        "the same, with more bounds and bits",
        (
            {"LEVELS": 2, "XSIGNED": 1, "READ": 2},
            {"LEVELS": 3, "PE": 2, "OBITS": 3, "DEPTH": 1, "ACT_VAL": -1},
            {"LEVELS": 1, "WORDS": 3, "BSIGNED": 0, "BBITS": 2, "OBITS": 1, "READ": 2},
            {"LEVELS": 3, "WORDS": 3, "XBITS": 4, "SBITS": 5, "BBITS": 5, "READ": 2},
        ),
        (fault("results are pushed a cycle early", "thresholding", "LEVELS == 1 ? 1 : 2", "1"),),
        "abc bmc3",
        18,
    ),
)
_BITS: Parameters = {"XNOR": 1, "MW": 4, "SBITS": 4, "BBITS": 3}
_SIGNS: Parameters = {"XNOR": 0, "XBITS": 2, "XSIGNED": 1, "SBITS": 4, "BBITS": 4, "BSIGNED": 1}
MATRICES = (
    Proof(
        "bnnflow_mvau",
        "of each vector the results of all rows, as matrix, vector and bounds say, whatever these are: by one bound, "
        f"by several, or sums; {_STREAM}",
        (
            {"LEVELS": 1},
            {"LEVELS": 0, "OBITS": 3, "READ": 2},
            {"LEVELS": 2, "OBITS": 2},
            {**_BITS, "LEVELS": 1, "READ": 2, "SIMD": 2, "PE": 2},
            {**_BITS, "LEVELS": 1, "READ": 2, "SIMD": 2, "PE": 2, "MH": 4},
            {**_BITS, "LEVELS": 1, "SIMD": 4, "MH": 1},
            {**_SIGNS, "LEVELS": 1, "READ": 2, "SIMD": 2},
            {**_SIGNS, "LEVELS": 1},
            {**_SIGNS, "LEVELS": 3, "READ": 2, "MH": 3, "OBITS": 3, "ACT_VAL": -2, "DEPTH": 1},
            {**_SIGNS, "LEVELS": 0, "WBITS": 2, "SBITS": 5, "OBITS": 5, "MW": 3, "SIMD": 3},
            {**_SIGNS, "LEVELS": 1, "XBITS": 1, "XSIGNED": 0, "WBITS": 2, "TERNARY": 1, "MW": 3, "SIMD": 3},
        ),
        (
            fault("later rows read the next vector", "vector", "read <= reads ? s_data : now", "read <= s_data"),
            fault("a result has no place", "vector", "(s_valid | ~reads) & (free | ~last)", "s_valid | ~reads"),
            fault("a bound comes a cycle late", "flags", "READ == 1 ? ahead & ahead_first : early", "is_sum & is_last"),
            fault(
                "a bound is asked for with the last sum, and read without",
                "flags",
                "READ == 1 ? ahead & ahead_first : early",
                "READ == 1 ? ahead & ahead_last : early",
            ),
            fault(
                "inputs do not wait for weights",
                "vector",
                ".CYCLES(READ - FOUND)",
                ".CYCLES(0)",
                {**_BITS, "LEVELS": 1, "READ": 2, "SIMD": 2, "PE": 2},
            ),
            fault("an input is that of the next step", "vector", "vector[place]", "vector[sf]", {"READ": 2}),
            fault("a sum goes on with the row before", "row", "first ? start : total", "total"),
            fault("a bound is one higher", "row", "lacking : BOUND & first", "lacking : 1'b0"),
            fault(
                "a sum that lacks one reaches no bound",
                "row",
                "| (LACKS & (&total))",
                "",
                {**_SIGNS, "SIMD": 1},
            ),
            fault("results are pushed a cycle early", "rows", ".CYCLES(2)", ".CYCLES(1)", {"LEVELS": 2, "OBITS": 2}),
        ),
        "abc bmc3",
        18,
    ),
)
OTHERS = (
    Proof(
        "bnnflow_label_select",
        f"of each image the indices of the K best scores, the lower index first among equals, {_STREAM}",
        (
            {"K": 2, "SIGNED": 1},
            {"K": 1},
            {"K": 3, "XBITS": 1, "PE": 3},
            {"LABELS": 4, "PE": 2, "K": 3, "DEPTH": 1},
        ),
        (
            fault("the last among equals is the best", "label_select", "score > other", "score >= other"),
            fault("one that moves down comes behind its equals", "label_select", "moved || score", "score"),
            fault("all indices are the first", "label_select", "{IBITS'(0), labels_now} >> IBITS", "labels_now"),
            fault("scores are those of two images", "label_select", "first ? '0 : scores", "scores"),
        ),
    ),
    Proof(
        "bnnflow_label_select",
        f"the same where the winner of each word is found first, {_STREAM}",
        (
            {"LABELS": 6, "PE": 3, "IBITS": 3},
            {"LABELS": 4, "PE": 2, "DEPTH": 1},
            {"LABELS": 5, "PE": 5, "IBITS": 3, "SIGNED": 1},
        ),
        (
            fault("the last among equals wins", "winner", "high > low", "high >= low"),
            fault("a winner has its neighbour's index", "winner", "PBITS'(LOW) + high_place", "high_place"),
            fault("a winner is late", "label_select", ".CYCLES(LATENCY)", ".CYCLES(LATENCY - 1)"),
            fault("an image is never new", "label_select", "fresh <= last", "fresh <= 1'b0"),
        ),
        "abc bmc3",
        16,
    ),
    Proof(
        "bnnflow_global_acc_pool",
        f"of each image the sums of its channels, {_STREAM}",
        (
            {"PIXELS": 2},
            {"PIXELS": 3, "CF": 2, "PE": 2, "XBITS": 2, "SIGNED": 1, "OBITS": 4, "DEPTH": 1},
            {"PIXELS": 1, "CF": 3, "XBITS": 2},
        ),
        (
            fault("a sum goes on with the image before", "global_acc_pool", "begins ? a : a", "a"),
            fault("a sum leaves without a place", "global_acc_pool", "leaves ? free : s_valid", "leaves | s_valid"),
        ),
    ),
    Proof(
        "bnnflow_pool",
        f"the maximum, or the sum, of every window, {_STREAM}",
        (
            {"AREA": 2},
            {"AREA": 3, "SIGNED": 1, "OBITS": 4, "TOTAL": 1},
            {"AREA": 4, "PE": 2, "SIGNED": 1, "DEPTH": 1},
        ),
        (
            fault("a window begins with the maximum of another", "pool", "begins || (a", "(a"),
            fault(
                "a sum has no sign",
                "pool",
                "{SIGNED & s_data",
                "{1'b0 & s_data",
                {"SIGNED": 1, "OBITS": 3, "TOTAL": 1},
            ),
            fault("a last word is taken without a place", "pool", "s_ready = free | ~whole", "s_ready = 1'b1"),
        ),
    ),
    Proof(
        "bnnflow_channelwise",
        f"each value times, or plus, the constant of its place, {_STREAM}",
        (
            {"CF": 3, "ENTRIES": 3},
            {"CF": 1, "H": 2, "W": 3, "ROWS": (0, 2), "COLUMNS": (1, 0, 1), "ENTRIES": 4, "ADD": 1, "SIGNED": 1},
            {"CF": 2, "H": 1, "W": 2, "COLUMNS": (6, 0), "ENTRIES": 8, "SIGNED": 1, "DEPTH": 1},
        ),
        (
            fault("a value has no sign", "channelwise", "{SIGNED & held", "{1'b0 & held", {"SIGNED": 1}),
            fault(
                "a row has no constants of its own",
                "channelwise",
                "ROWS[32*y+:32]",
                "ROWS[31:0]",
                {"CF": 1, "H": 2, "W": 1, "ROWS": (0, 1), "ENTRIES": 2},
            ),
        ),
    ),
)
UNITS = THRESHOLDS + MATRICES + OTHERS
