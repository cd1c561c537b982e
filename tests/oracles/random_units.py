"""Random units with our estimate of each, for finn-plus to estimate again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log2
from typing import Any

import numpy as np

from bnnflow.build import finn_formulas as finn

Rng = np.random.Generator
Unit = tuple[str, dict[str, Any], finn.FinnCost]
CHANNELS = (1, 2, 3, 6, 16, 24, 64, 100, 128, 256, 784)

_FIGURES = ("cycles", "lut", "bram18", "uram", "dsp")


def random_units(count: int, seed: int) -> list[dict[str, Any]]:
    """`count` units of every kind: `op` and `attributes` for finn-plus, and `ours`, our estimate as five integers."""
    rng = np.random.default_rng(seed)
    rows = []
    for make in _KINDS:
        for _ in range(count):
            op, attributes, ours = make(rng)
            rows.append({"op": op, "attributes": attributes, "ours": [getattr(ours, name) for name in _FIGURES]})
    return rows


def _any(rng: Rng, choices: Any) -> Any:
    value = choices[int(rng.integers(len(choices)))]
    return value


def _divisor(rng: Rng, of: int) -> int:
    return int(_any(rng, [n for n in range(1, of + 1) if of % n == 0]))


def _type(rng: Rng) -> finn.FinnType:
    bits = int(_any(rng, (1, 1, 1, 2, 3, 4, 8)))
    return finn.FinnType(bits, bool(rng.random() < 0.5))


def _mvau(rng: Rng) -> Unit:
    rows, columns = int(_any(rng, CHANNELS)), int(_any(rng, (27, 64, 100, 256, 576, 784, 2304)))
    pe, simd = _divisor(rng, rows), _divisor(rng, columns)
    vectors = [1, *(int(n) for n in rng.integers(1, 33, int(_any(rng, (0, 2)))))]
    weight, x = _type(rng), _type(rng)
    total = finn.FinnType(int(rng.integers(2, 4 + int(log2(columns)) + weight.bits + x.bits)), True)
    style, dsp = _any(rng, ("auto", "block", "distributed", "ultra")), bool(rng.random() < 0.3)
    attributes = {
        "MW": columns,
        "MH": rows,
        "PE": pe,
        "SIMD": simd,
        "numInputVectors": vectors,
        "weightDataType": weight.name,
        "inputDataType": x.name,
        "outputDataType": _type(rng).name,
        "accDataType": total.name,
        "binaryXnorMode": 0,
        "noActivation": int(rng.random() < 0.3),
        "mem_mode": "internal_decoupled",
        "ram_style": style,
        "resType": "dsp" if dsp else "lut",
    }
    count = int(np.prod(vectors))
    ours = finn.mvau_cost(
        rows, columns, pe, simd, count, weight.bits, x.bits, x.signed, total.bits, ram_style=style, dsp=dsp
    )
    return "MVAU_hls", attributes, ours


def _window(rng: Rng) -> Unit:
    channels = int(_any(rng, CHANNELS))
    kernel = [int(rng.integers(1, 6)), int(rng.integers(1, 6))]
    size = [int(rng.integers(k, 40)) for k in kernel]
    if rng.random() < 0.2:
        short = int(rng.integers(2))
        kernel[short] = size[short] = 1
    stride = [int(rng.integers(1, min(5, n) + 1)) for n in size]
    depthwise, parallel = bool(rng.random() < 0.4), bool(rng.random() < 0.3)
    simd = channels if parallel and not depthwise else _divisor(rng, channels)
    x, style = _type(rng), _any(rng, ("auto", "block", "distributed", "ultra"))
    attributes = {
        "ConvKernelDim": kernel,
        "IFMChannels": channels,
        "IFMDim": size,
        "OFMDim": [(n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True)],
        "SIMD": simd,
        "Stride": stride,
        "Dilation": [1, 1],
        "inputDataType": x.name,
        "outputDataType": x.name,
        "depthwise": int(depthwise),
        "parallel_window": int(parallel),
        "ram_style": style,
    }
    shape, window, step = (size[0], size[1], channels), (kernel[0], kernel[1]), (stride[0], stride[1])
    ours = finn.sliding_window_cost(
        shape, window, step, simd, x.bits, depthwise=depthwise, parallel=parallel, ram_style=style
    )
    return "ConvolutionInputGenerator_rtl", attributes, ours


def _thresholding(rng: Rng) -> Unit:
    channels, levels, bound = int(_any(rng, CHANNELS)), int(_any(rng, (1, 3, 7, 15, 255))), int(rng.integers(1, 25))
    pe, out = _divisor(rng, channels), finn.smallest_type(levels)
    vectors = [1, *(int(n) for n in rng.integers(1, 33, int(_any(rng, (0, 2)))))]
    attributes = {
        "NumChannels": channels,
        "PE": pe,
        "numSteps": levels,
        "inputDataType": finn.FinnType(bound, False).name,
        "weightDataType": finn.FinnType(bound, False).name,
        "outputDataType": out.name,
        "numInputVectors": vectors,
    }
    ours = finn.thresholding_cost(channels, pe, int(np.prod(vectors)), bound, out.bits)
    return "Thresholding_rtl", attributes, ours


def _shape(rng: Rng) -> tuple[int, int, int]:
    height, width = (int(n) for n in rng.integers(1, 40, 2))
    return height, width, int(_any(rng, CHANNELS))


def _pool(rng: Rng) -> Unit:
    shape, kernel = _shape(rng), (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    pe = _divisor(rng, shape[2])
    attributes = {
        "Channels": shape[2],
        "PE": pe,
        "KernelSize": list(kernel),
        "Function": _any(rng, ("MaxPool", "AccPool", "QuantAvgPool")),
        "OutImgDims": list(shape[:2]),
        "InputDataType": "UINT4",
        "OutputDataType": "UINT4",
    }
    return "Pool_hls", attributes, finn.pool_cost(shape, kernel, pe)


def _padding(rng: Rng) -> Unit:
    shape, pads = _shape(rng), [int(n) for n in rng.integers(0, 3, 4)]
    simd = _divisor(rng, shape[2])
    attributes = {
        "ImgDim": list(shape[:2]),
        "Padding": pads,
        "NumChannels": shape[2],
        "SIMD": simd,
        "inputDataType": "UINT2",
    }
    larger = (shape[0] + pads[0] + pads[2], shape[1] + pads[1] + pads[3], shape[2])
    return "FMPadding_rtl", attributes, finn.padding_cost(larger, simd)


def _streams(op: str, ours: Callable[[tuple[int, int, int], int], finn.FinnCost], **more: Any) -> Callable[[Rng], Unit]:
    def make(rng: Rng) -> Unit:
        shape = _shape(rng)
        pe = _divisor(rng, shape[2])
        common = {"NumChannels": shape[2], "PE": pe, "inputDataType": "UINT4", "numInputVectors": [1, *shape[:2]]}
        return op, {**common, **more}, ours(shape, pe)

    return make


def _add(rng: Rng) -> Unit:
    shape = _shape(rng)
    pe, sizes = _divisor(rng, shape[2]), [1, *shape]
    types = {"lhs_dtype": "UINT4", "rhs_dtype": "INT4", "out_dtype": "INT6"}
    return (
        "ElementwiseAdd_hls",
        {
            "PE": pe,
            "lhs_shape": sizes,
            "rhs_shape": sizes,
            "out_shape": sizes,
            **types,
        },
        finn.elementwise(shape, pe),
    )


def _scale(rng: Rng) -> Unit:
    shape = _shape(rng)
    pe, sizes = _divisor(rng, shape[2]), [1, *shape]
    types = {"lhs_dtype": "UINT4", "rhs_dtype": "INT7", "out_dtype": "INT11", "rhs_style": "const"}
    attributes = {"PE": pe, "lhs_shape": sizes, "rhs_shape": [shape[2]], "out_shape": sizes}
    return "ElementwiseMul_hls", {**attributes, **types}, finn.elementwise(shape, pe)


def _concat(rng: Rng) -> Unit:
    shape, simd = _shape(rng), int(rng.integers(1, 9))
    streams = [simd * int(rng.integers(1, 9)) for _ in range(int(rng.integers(2, 5)))]
    attributes = {
        "SIMD": simd,
        "ChannelsPerStream": streams,
        "inputDataTypes": ["UINT4"] * len(streams),
        "numInputVectors": [1, *shape[:2]],
    }
    return "StreamingConcat_hls", attributes, finn.concat_cost((*shape[:2], sum(streams)), simd)


def _labels(rng: Rng) -> Unit:
    labels = int(rng.integers(2, 200))
    pe = _divisor(rng, labels)
    attributes = {"Labels": labels, "PE": pe, "K": 1, "inputDataType": "INT12", "numInputVectors": [1]}
    return "LabelSelect_hls", attributes, finn.label_select_cost(labels, pe)


def random_types(count: int, seed: int) -> list[dict[str, Any]]:
    """`count` units of each kind with constants in `values`; `ours` are our types, `last` says that nothing follows."""
    rng = np.random.default_rng(seed)
    return [make(rng) for make in (_sums, _bounds, _joined, _pooled, _concatenated) for _ in range(count)]


def _sums(rng: Rng) -> dict[str, Any]:
    rows, columns, xnor, last = (
        int(n) for n in (*rng.integers(1, 9, 1), *rng.integers(1, 60, 1), *rng.integers(2, size=2))
    )
    low, high = (0, 2) if xnor else sorted(int(n) for n in rng.choice(np.arange(-20, 20), 2, replace=False))
    weight = rng.integers(low, high, (rows, columns))
    if not xnor and rng.random() < 0.3:
        weight = 2 * (weight > low) - 1
    if not weight.any():
        weight[0, 0] = 1  # sums that are always 0 have no type in finn-plus
    x = finn.FinnType(1, False) if xnor else _type(rng)
    ends = x.range
    attributes = {
        "MW": columns,
        "MH": rows,
        "PE": 1,
        "SIMD": 1,
        "inputDataType": x.name,
        "weightDataType": "INT32",
        "outputDataType": "INT32",
        "binaryXnorMode": xnor,
        "noActivation": 1,
    }
    ours = [finn.minimized_weight_type(weight), finn.accumulator_type(weight, *ends, bool(xnor), bool(last))]
    return {"op": "MVAU_hls", "attributes": attributes, "values": weight.T.tolist(), "last": last, "ours": _plain(ours)}


def _joined(rng: Rng) -> dict[str, Any]:
    """A sum or product of two streams; `values` is left out where a unit has no constants."""
    left, right, adds = _type(rng), _type(rng), bool(rng.random() < 0.5)
    sizes = {f"{side}_shape": [1, 4] for side in ("lhs", "rhs", "out")}
    types = {"lhs_dtype": left.name, "rhs_dtype": right.name, "out_dtype": "INT32"}
    ours = (finn.add_type if adds else finn.product_type)(left, right)
    return {"op": f"Elementwise{'Add' if adds else 'Mul'}_hls", "attributes": sizes | types, "ours": _plain([ours])}


def _pooled(rng: Rng) -> dict[str, Any]:
    kind, height, width = _type(rng), *(int(n) for n in rng.integers(1, 9, 2))
    if rng.random() < 0.5:
        attributes = {"NumChannels": 4, "PE": 1, "inputDataType": kind.name, "numInputVectors": [1, height, width]}
        ours = finn.global_total_type(kind, height * width)
        return {"op": "GlobalAccPool_hls", "attributes": attributes, "ours": _plain([ours])}
    types = {"InputDataType": kind.name, "OutputDataType": "INT32", "Function": "AccPool"}
    attributes = {"Channels": 4, "PE": 1, "KernelSize": [height, width], "OutImgDims": [2, 2]}
    ours = finn.window_total_type(kind, height * width)
    return {"op": "Pool_hls", "attributes": attributes | types, "ours": _plain([ours])}


def _concatenated(rng: Rng) -> dict[str, Any]:
    kinds = [_type(rng) for _ in range(int(rng.integers(2, 5)))]
    attributes = {"SIMD": 1, "ChannelsPerStream": [2] * len(kinds), "inputDataTypes": [kind.name for kind in kinds]}
    ours = finn.concat_type(kinds)
    op = "StreamingConcat_hls"
    return {"op": op, "attributes": attributes | {"numInputVectors": [1]}, "ours": _plain([ours])}


def _bounds(rng: Rng) -> dict[str, Any]:
    x = finn.FinnType(int(rng.integers(2, 12)), bool(rng.random() < 0.5))
    low, high = x.range
    levels = int(_any(rng, (1, 3, 7)))
    least, most = sorted(int(n) for n in rng.integers(low, high + 2, 2))
    bounds = np.sort(rng.integers(least, most + 1, (int(rng.integers(1, 9)), levels)), axis=1)
    attributes = {
        "NumChannels": len(bounds),
        "PE": 1,
        "numSteps": levels,
        "inputDataType": x.name,
        "weightDataType": "INT32",
        "outputDataType": "UINT4",
    }
    # finn-plus gives bounds that are all 0 or -1 the type BIPOLAR, and then refuses the 0.
    refused = set(np.unique(bounds)) == {-1, 0}
    ours = [] if refused else [finn.minimized_bound_type(bounds, low, high)]
    return {
        "op": "Thresholding_rtl",
        "attributes": attributes,
        "values": bounds.tolist(),
        "last": 1,
        "ours": _plain(ours),
    }


def _plain(kinds: list[finn.FinnType]) -> list[list[Any]]:
    return [[kind.bits, kind.signed] for kind in kinds]


def differences(rows: list[dict[str, Any]], theirs: list[Any]) -> Iterator[str]:
    """A line for every unit on which the two answers differ."""
    for row, found in zip(rows, theirs, strict=True):
        if row["ours"] != found:
            yield f"{row['op']} {row['attributes']}: ours {row['ours']}, finn-plus {found}"


_KINDS: tuple[Callable[[Rng], Unit], ...] = (
    _mvau,
    _window,
    _thresholding,
    _pool,
    _padding,
    _streams("GlobalAccPool_hls", finn.global_pool_cost),
    _streams("DuplicateStreams_hls", finn.elementwise, NumOutputStreams=2),
    _add,
    _scale,
    _concat,
    _labels,
)
