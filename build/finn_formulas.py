"""FINN's estimates of its units, as functions of plain numbers: cycles per image, LUTs, memories, DSP slices.

These are the formulas behind `estimate_layer_cycles.json` and `estimate_layer_resources.json` of Xilinx/finn dev and of
finn-plus 1.6.1 (the variants that their build takes by default: MVAU in HLS, sliding window and thresholding in RTL).
They describe FINN's hardware, estimated, and repeat what FINN leaves out: padding, pools, joins and class selection
cost nothing, comparators of thresholds cost nothing, and the width of XNOR sums is that of `accumulator_type`.
`make oracles` compares every function with finn-plus on random units.

Widths are bits; shapes are (height, width, channels); `vectors` counts vectors an image: 1, or height * width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log2, prod
from typing import Literal

import numpy as np

from ..transforms.ir.tensor import Array
from ..transforms.memories import slices

RamStyle = Literal["auto", "block", "distributed", "ultra"]
MemMode = Literal["internal_decoupled", "internal_embedded", "external"]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FinnCost:
    """What FINN expects of one unit: cycles per image, 6-input LUTs, 18-kbit block RAMs, UltraRAMs, DSP slices.

    It counts neither LUTs that are memories nor flip-flops, and knows no paths from register to register; other models
    do: `paths` are their sizes by kind.
    """

    cycles: int
    lut: int = 0
    bram18: int = 0
    uram: int = 0
    dsp: int = 0
    lut_ram: int = 0
    ff: int = 0
    paths: Mapping[str, float] = field(default_factory=dict)


def mvau_cost(
    rows: int,
    columns: int,
    pe: int,
    simd: int,
    vectors: int,
    weight_bits: int,
    input_bits: int,
    input_signed: bool,
    sum_bits: int,
    *,
    ram_style: RamStyle = "auto",
    dsp: bool = False,
    mem_mode: MemMode = "internal_decoupled",
    result_bits: int = 0,
) -> FinnCost:
    """Cost of an `MVAU_hls`.

    Weights that are embedded lie in LUTs up to a depth of 128, and beyond it, in FINN's estimate, in block RAMs and
    UltraRAMs both. Thresholds, of any number of levels, cost nothing unless they lie in LUTs.

    Args:
        rows, columns: MH and MW.
        pe, simd: divide rows and columns.
        vectors: matrix-vector products per image.
        weight_bits, input_bits: as FINN types them: see `minimized_weight_type`; BIPOLAR and BINARY have one bit.
        input_signed: true for INT and BIPOLAR inputs.
        sum_bits: of `accumulator_type`.
        ram_style: of the weights.
        dsp: multiply in DSP slices (`resType` "dsp").
        mem_mode: "internal_decoupled": a memory of its own; "internal_embedded": part of the unit; "external": none.
        result_bits: of what the thresholds make, where they lie in LUTs (`ram_style_thresholds` "distributed"); else 0.
    """
    both = weight_bits + input_bits
    depth = rows * columns // (pe * simd)
    multiply = 0 if dsp else simd * (2 * ceil(both / 6) - 1) * both
    tree = both * (2 * simd - 1)
    alpha = log2(columns) + both - 1 - int(input_signed)
    accumulate = min(sum_bits, ceil(alpha + log2(1 + 2**-alpha) + 1))
    thresholds = (2**result_bits - 1) * accumulate
    bounds, compare = thresholds * ceil(rows // pe / 64), thresholds
    embedded = mem_mode == "internal_embedded"
    if mem_mode == "internal_decoupled":
        kinds = {"auto": {"bram"}, "block": {"bram"}, "distributed": {"lut"}, "ultra": {"uram"}}[ram_style]
    else:
        kinds = ({"lut"} if depth <= 128 else {"bram", "uram"}) if embedded else set()
    width = pe * simd * weight_bits
    memory = width * ceil(depth / 64) if "lut" in kinds else 0
    lut = int(300 + 1.1 * (pe * (multiply + tree + accumulate + bounds + compare)) + memory)
    return FinnCost(
        vectors * (rows // pe) * (columns // simd),
        lut,
        block_rams(width, depth) if "bram" in kinds else 0,
        ceil(width / 72) * ceil(depth / 4096) if "uram" in kinds else 0,
        pe * simd * ceil(both / 48) if dsp else 0,
    )


def block_rams(width: int, depth: int) -> int:
    """18-kbit block RAMs of a memory of `depth` words of `width` bits, by FINN's table of aspect ratios."""
    return slices(width, depth).count


def sliding_window_cost(
    shape: tuple[int, int, int],
    kernel: Pair,
    stride: Pair,
    simd: int,
    bits: int,
    *,
    depthwise: bool = False,
    parallel: bool = False,
    ram_style: RamStyle = "distributed",
) -> FinnCost:
    """Cost of a `ConvolutionInputGenerator_rtl` without dilation.

    Args:
        shape: of the map that it reads, padding included.
        kernel, stride: height and width.
        simd: channels a cycle; divides the channels.
        bits: of one value.
        depthwise: windows channel group by channel group, as a pool reads them.
        parallel: all values of a window at once (`parallel_window`).
        ram_style: of the line buffer.
    """
    height, width, channels = shape
    fold, area = channels // simd, kernel[0] * kernel[1]
    held = (kernel[0] - 1) * width + kernel[1]  # values per channel group that a window spans
    if parallel or area == 1:
        depth, cycles = (held - 1) * fold + 2, height * width * fold + 2
    else:
        depth = held * fold + max(0, (stride[1] - 1 - area) * fold)
        depth += max(0, ((stride[0] - 1) * width - area) * fold)
        cycles = _window_cycles(shape, kernel, stride, fold, depthwise)
    wide, memory, lines = simd * bits, depth, 1
    if parallel or area == 1:  # line buffers alone lie in RAM
        memory, lines = (width - kernel[1], kernel[0] - 1) if min(height, width) > 1 else (0, 0)
    return FinnCost(
        cycles,
        300 + (wide * ceil(depth / 38) if ram_style == "distributed" else 0),
        _buffer_rams(wide, memory) * lines if ram_style in ("auto", "block") else 0,
        ceil(memory / 4096) * ceil(wide / 72) * lines if ram_style == "ultra" else 0,
    )


def _window_cycles(shape: tuple[int, int, int], kernel: Pair, stride: Pair, fold: int, depthwise: bool) -> int:
    height, width, _ = shape
    if min(height, width) == 1:
        taps, step, length = (kernel[1], stride[1], width) if width > 1 else (kernel[0], stride[0], height)
        places = (length - taps) // step + 1
        if not depthwise:
            return places * taps * fold + 2
        writing = places * taps * fold + (fold - 1) * taps
        return max(writing, length * fold + fold * (taps - 1) * (step - 1)) + 2
    rows, columns = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
    row = max(columns * kernel[0] * kernel[1] * fold, stride[1] * width * fold)
    rest = 0
    if depthwise:
        row += columns * (stride[1] - 1) * (fold - 1)
        rest = (stride[0] - 1) * width * fold
    return ((kernel[0] - 1) * width + kernel[1]) * fold + rows * row + rest


_RATIOS = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2))


def _buffer_rams(width: int, depth: int) -> int:
    def across(words: int) -> int:
        return ceil(width / next((bits for limit, bits in _RATIOS if words <= limit), 1))

    saved = across(depth) - across(depth % 16384) if depth > 16384 else 0
    return ceil(depth / 16384) * across(depth) - saved


_PRIMITIVES: tuple[tuple[str, int, int], ...] = (
    ("uram", 72, 4096),
    ("uram", 36, 8192),
    ("uram", 18, 16384),
    ("uram", 9, 32768),
    ("bram18", 36, 512),
    ("bram18", 18, 1024),
    ("bram18", 9, 2048),
    ("lut", 1, 64),
)


def thresholding_cost(
    channels: int,
    pe: int,
    vectors: int,
    bound_bits: int,
    output_bits: int,
    *,
    block_from: int = 0,
    ultra_from: int = 0,
    uniform: bool = False,
    literal: bool = True,
) -> FinnCost:
    """Cost of a `Thresholding_rtl`: one memory for each bit of its output, none for its comparators.

    Memory x = 0 .. output_bits - 1 of each of the `pe` lanes holds (channels / pe) * 2^x bounds, in the primitive that
    wastes the least bits, or in what `block_from` and `ultra_from` say.

    Args:
        channels, pe: pe divides the channels.
        vectors: pixels an image.
        bound_bits: of `minimized_bound_type`.
        output_bits: of the result's type.
        block_from, ultra_from: `depth_trigger_bram` and `depth_trigger_uram`: least depths of what must lie in block
            RAM and in UltraRAM.
        uniform: `uniform_thres`: memories of shrinking width, none for the first bit.
        literal: as FINN's estimate has it, which takes an `ultra_from` of 0 beside a `block_from` for "all in
            UltraRAM", and UltraRAM unasked whether or not a part has any; else as FINN's hardware has it: 0 is never,
            `uniform` changes nothing, and UltraRAM is taken only above `ultra_from`.
    """
    counts = {"lut": 0, "bram18": 0, "uram": 0}
    for stage in range(output_bits):
        depth, width = (channels // pe) << stage, bound_bits
        if uniform and literal:
            width = output_bits - stage
            if stage == 0:
                continue
        kinds = _kinds(depth, block_from, ultra_from, literal)
        primitives = [item for item in _PRIMITIVES if item[0] in kinds]
        options = [(kind, ceil(width / w) * ceil(depth / d), w * d) for kind, w, d in primitives]
        kind, count, _ = min(options, key=lambda option: option[1] * option[2])
        counts[kind] += pe * count
    return FinnCost(vectors * (channels // pe), lut=counts["lut"], bram18=counts["bram18"], uram=counts["uram"])


def _kinds(depth: int, block_from: int, ultra_from: int, literal: bool) -> tuple[str, ...]:
    """Primitives that a memory of a `Thresholding_rtl` may lie in."""
    if literal:
        if (block_from or ultra_from) and depth >= ultra_from:
            return ("uram",)
        return ("bram18",) if ultra_from and depth >= block_from else ("uram", "bram18", "lut")
    if ultra_from and depth >= ultra_from:
        return ("uram",)
    return ("bram18",) if block_from and depth >= block_from else ("bram18", "lut")


def thresholding_hls(
    channels: int, pe: int, vectors: int, input_bits: int, ram_style: Literal["distributed", "block"] = "distributed"
) -> FinnCost:
    """Cost of a `Thresholding_hls`, the same for any number of levels and any `mem_mode`.

    Args:
        channels, pe: pe divides the channels.
        vectors: pixels an image.
        input_bits: of a value that is compared.
        ram_style: of the thresholds.
    """
    depth, width = channels // pe, pe * input_bits
    stored = width * ceil(depth / 64) if ram_style == "distributed" and depth > 1 else 0
    rams = ceil(width / 16) * ceil(depth / 1024) if ram_style == "block" and depth > 1 else 0
    return FinnCost(vectors * depth, width + stored, rams)


def pool_cost(shape: tuple[int, int, int], kernel: Pair, pe: int) -> FinnCost:
    """Cost of a `Pool_hls` that makes a map of `shape` of windows of `kernel`, pe channels a cycle."""
    return FinnCost(shape[2] * prod(kernel) * shape[0] * shape[1] // pe)


def padding_cost(shape: tuple[int, int, int], simd: int) -> FinnCost:
    """Cost of an `FMPadding_rtl` that makes a map of `shape`, simd channels a cycle."""
    return FinnCost(prod(shape) // simd)


def global_pool_cost(shape: tuple[int, int, int], pe: int) -> FinnCost:
    """Cost of a `GlobalAccPool_hls` that reads a map of `shape`, pe channels a cycle."""
    return FinnCost(prod(shape) // pe + shape[2] // pe)


def elementwise(shape: tuple[int, ...], pe: int) -> FinnCost:
    """Cost of an `ElementwiseAdd_hls`, `ElementwiseMul_hls` or `DuplicateStreams_hls` on a tensor of `shape`.

    pe channels a cycle. A constant operand costs nothing either while it is embedded (`mem_mode`), as is the default.
    """
    return FinnCost(prod(shape) // pe)


def concat_cost(shape: tuple[int, ...], simd: int) -> FinnCost:
    """Cost of a `StreamingConcat_hls` that makes a tensor of `shape`, simd channels a cycle."""
    return FinnCost(prod(shape) // simd)


def label_select_cost(labels: int, pe: int) -> FinnCost:
    """Cost of a `LabelSelect_hls` among `labels` scores, pe of them a cycle."""
    return FinnCost(labels // pe)


@dataclass(frozen=True, slots=True)
class FinnType:
    """A data type as FINN's bit-width minimization chooses it: bits, and whether its values may be negative."""

    bits: int
    signed: bool

    @property
    def name(self) -> str:
        """FINN's name: BINARY, BIPOLAR, UINT8, INT13, ..."""
        if self.bits == 1:
            return "BIPOLAR" if self.signed else "BINARY"
        return f"{'INT' if self.signed else 'UINT'}{self.bits}"

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest value that the type holds."""
        if self.name == "BIPOLAR":
            return -1, 1
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)


def smallest_type(value: int) -> FinnType:
    """The narrowest type that holds `value`: BINARY for 0 and 1, BIPOLAR for -1, else UINT or INT."""
    if value >= 0:
        return FinnType(max(1, value.bit_length()), False)
    return FinnType(1 if value == -1 else (-value - 1).bit_length() + 1, True)


def minimized_weight_type(weight: Array) -> FinnType:
    """Type of an MVAU's weights after minimization: {-1, +1} becomes INT2, {0, 1} of XNOR layers stays BINARY."""
    low, high = int(weight.min()), int(weight.max())
    if low >= 0:
        return smallest_type(high)
    return smallest_type(low if -low > high else -high - 1)


def accumulator_type(weight: Array, low: int, high: int, xnor: bool, last: bool) -> FinnType:
    """Type of an MVAU's sums after minimization.

    For XNOR layers FINN sums weights -1 and +1 over inputs 0 and 1, where its hardware counts equal bits: the type
    that results cannot hold every popcount in [0, MW]. It is repeated here because FINN's costs follow from it; the
    sums of our graph have the right type.

    Args:
        weight: (rows, columns); {0, 1} for XNOR layers.
        low, high: least and greatest value of the input's type, not of the values that occur.
        xnor: whether the layer counts equal bits.
        last: the sums leave the unit, and nothing follows: all but BINARY is rounded up to whole bytes.
    """
    values = 2 * weight.astype(np.int64) - 1 if xnor else weight.astype(np.int64)
    if xnor:
        low, high = 0, 1
    positive, negative = np.maximum(values, 0).sum(axis=1), np.minimum(values, 0).sum(axis=1)
    least, greatest = int((positive * low + negative * high).min()), int((positive * high + negative * low).max())
    bits = greatest.bit_length() if least >= 0 else max(-least - 1, greatest).bit_length() + 1
    return FinnType(-(-bits // 8) * 8 if last and (bits > 1 or least < 0) else bits, least < 0)


def minimized_bound_type(bounds: Array, low: int, high: int) -> FinnType:
    """Type of the bounds of a `Thresholding_rtl` after minimization.

    Where it would be narrower than the input it must also hold one less than the least bound, since the hardware
    saturates the input to it.

    Args:
        bounds: integers; clipped to [low, high + 1] as FINN does.
        low, high: least and greatest value of the input's type.
    """
    signed = low < 0
    least, greatest = int(np.clip(bounds, low, high + 1).min()), int(np.clip(bounds, low, high + 1).max())
    kind = FinnType(2 if signed else 1, signed) if least == greatest == 0 else _spanning(least, greatest, signed)
    if kind.bits < (smallest_type(low if -low > high else -high - 1) if signed else smallest_type(high)).bits:
        wider = _spanning(least - 1, greatest, signed)
        if wider.bits > kind.bits:
            return wider
    return kind


def constant_type(values: Array) -> FinnType:
    """Type of the constant operand of an `ElementwiseAdd` or `ElementwiseMul` after minimization."""
    least, greatest = int(values.min()), int(values.max())
    if least > 0:
        return smallest_type(greatest)
    return smallest_type(least if -least > greatest else -greatest - 1)


def add_type(left: FinnType, right: FinnType) -> FinnType:
    """Type of what an `ElementwiseAdd` makes; BIPOLAR counts as a signed bit, so that two make an INT2."""
    narrow, wide = sorted((right, left), key=lambda kind: kind.bits)
    extra = 2 if narrow.signed and not wide.signed else 1
    return FinnType(wide.bits + extra, narrow.signed or wide.signed)


def product_type(left: FinnType, right: FinnType) -> FinnType:
    """Type of what an `ElementwiseMul` makes."""
    return FinnType(left.bits + right.bits, left.signed or right.signed)


def global_total_type(kind: FinnType, count: int) -> FinnType:
    """Type of a `GlobalAccPool`'s sum of `count` values."""
    low, high = kind.range
    return smallest_type(count * (low if kind.signed else high))


def window_total_type(kind: FinnType, count: int) -> FinnType:
    """Type of the sum of `count` values in a `Pool` (function AccPool); of BIPOLAR, that of `count` alone."""
    low, high = kind.range
    return smallest_type(count * (low if -low > high else high))


def concat_type(kinds: Sequence[FinnType]) -> FinnType:
    """Type of what a `StreamingConcat` makes."""
    low, high = min(0, *(kind.range[0] for kind in kinds)), max(0, *(kind.range[1] for kind in kinds))
    return FinnType(max((-low - 1).bit_length(), high.bit_length()) + 1 if low < 0 else high.bit_length(), low < 0)


def _spanning(least: int, greatest: int, signed: bool) -> FinnType:
    if least < 0:
        return smallest_type(least if -least > greatest else -greatest - 1)
    return smallest_type(-greatest - 1 if signed else greatest)
