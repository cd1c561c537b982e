"""What is proved of memories, and of what corrects their errors."""

from __future__ import annotations

import numpy as np

from bnnflow.sim.faults.protections.secded import odd_columns

from .sby import Parameters, Proof, fault


def _secded(data: int, limit: int, checks: int, ways: int = 1, zeros: int = 0) -> Parameters:
    """Hsiao's code as bnnflow_code takes it."""
    columns = (1 << np.arange(checks)) @ odd_columns(checks, limit)
    matrix = f"{checks * limit}'h{sum(int(column) << checks * place for place, column in enumerate(columns)):x}"
    sizes: Parameters = {"DATA": data, "LIMIT": limit, "CHECKS": checks, "WAYS": ways, "COLUMNS": matrix}
    return {**sizes, "CORRECTS": 1, "ZEROS": zeros}


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
MEMORIES = CODES
