"""Weights that are constants, as the word of a memory holds them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from ...transforms.ir.tensor import Array
from ..rtl.modules import Module
from .pieces import Pieces


def matrix(made: Pieces, sizes: Mapping[str, int], module: Module) -> Array:
    """The weights, int64 (rows, columns), of an MVAU whose memory holds a single word.

    Args:
        made: says whether contents count; where they do not, weights of as many bits are drawn, always the same.
        sizes: parameters PE (rows), SIMD (columns) and WBITS (bits of a weight; 1 is -1 and +1) of bnnflow_mvau.
        module: whose memory "weights" it is.
    """
    shape, bits = (sizes["PE"], sizes["SIMD"]), sizes["WBITS"]
    if not made.contents:
        most = 2 ** (bits - 1) - 1
        drawn = np.random.default_rng(0)
        return drawn.integers(-most, most + 1, shape) if most else 2 * drawn.integers(0, 2, shape) - 1
    word = module.memories["weights"].words[0]
    stored = np.frombuffer(bytes.fromhex(word.rjust(len(word) + len(word) % 2, "0"))[::-1], np.uint8)
    spread = np.unpackbits(stored, bitorder="little")[: prod(shape) * bits].reshape(*shape, bits).astype(np.int64)
    if bits == 1:
        return 2 * spread[..., 0] - 1
    values = (spread << np.arange(bits)).sum(axis=2)
    return values - (spread[..., -1] << bits)
