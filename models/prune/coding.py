"""How many bytes a network's weights take, coded by their entropy."""

from __future__ import annotations

import lzma
from dataclasses import dataclass

import numpy as np

from ..networks.network import Network
from .gradients import values_of


@dataclass(frozen=True, slots=True)
class CodedSize:
    """The weights of one layer.

    Attributes:
        weights: how many.
        zeros: share of 0, 0 to 1.
        plain_bits: as they are stored, weights x weight_bits (2 for masked ones).
        entropy_bits: weights x sum over the values c of -P_c log2 P_c: what an ideal code without context needs, its
            table not counted.
        lzma_bytes: as Python's lzma packs them, one byte a weight, in a raw LZMA2 stream without context bits.
    """

    weights: int
    zeros: float
    plain_bits: int
    entropy_bits: float
    lzma_bytes: int


def coded_sizes(network: Network) -> dict[str, CodedSize]:
    """The size of every layer with weights, by name; batch norms and thresholds are not counted."""
    bits = 2 if network.spec.weight_kind == "masked" else network.spec.weight_bits
    found = {}
    for name, module in network.weight_layers():
        values, index, counts = np.unique(values_of(module).numpy(), return_inverse=True, return_counts=True)
        shares = counts / counts.sum()
        zeros = float(shares[values == 0].sum())
        entropy = float(-(shares * np.log2(shares)).sum())
        packed = _packed(index.astype(np.uint8).tobytes())
        found[name] = CodedSize(index.size, zeros, index.size * bits, max(0.0, entropy) * index.size, len(packed))
    return found


def _packed(content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
    return lzma.compress(content, lzma.FORMAT_RAW, filters=filters)
