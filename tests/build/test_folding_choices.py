"""Foldings with every attribute and value on random graphs: taken as they stand and costed by FINN's formulas, or
refused. The formulas here are written again from the text of FINN-R and FINN's sources; none is the project's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import ceil, log2, prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.build.cost import estimate
from bnnflow.build.finn_reports import folding, unit_names
from bnnflow.build.finn_types import finn_types, last_unit
from bnnflow.build.folding_file import apply_folding
from bnnflow.build.schedule import divisors
from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import LabelSelect, Mvau, Pool, SlidingWindow, StreamingConcat, Thresholding
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.passes.ranked import ranked
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.build.test_folding import pooled
from tests.random_qonnx import random_network

Draw = Callable[[st.SearchStrategy[Any]], Any]
STYLES = ("auto", "block", "distributed", "ultra")
MODES = ("internal_decoupled", "internal_embedded", "external")
CHOICES: dict[str, dict[str, tuple[Any, ...]]] = {
    "MVAU": {
        "mem_mode": MODES,
        "ram_style": STYLES,
        "ram_style_thresholds": STYLES[:3],
        "resType": ("auto", "lut", "dsp"),
        "runtime_writeable_weights": (0, 1),
    },
    "Thresholding_rtl": {
        "depth_trigger_bram": (0, 1, 4, 100),
        "depth_trigger_uram": (0, 2, 64),
        "uniform_thres": (0, 1),
        "runtime_writeable_weights": (0, 1),
    },
    "Thresholding_hls": {
        "mem_mode": MODES[:2],
        "ram_style": ("distributed", "block"),
        "runtime_writeable_weights": (0, 1),
    },
    "ConvolutionInputGenerator": {"ram_style": STYLES},
}
BAD: tuple[Any, ...] = ("foo", "", "AUTO", "LUT", -1, 2, 1.0, True, None, [], {}, "1", "internal")
NAMES = {"MVAU": ("MVAU_hls", "MVAU", "MatrixVectorActivation", "StreamingFCLayer_Batch")}


@cache
def graphs() -> tuple[Graph, ...]:
    nets = [random_network(seed, 1 + seed % 2, 1, pool, image) for seed, pool, image in _SHAPES]
    made = [stages(read(net), keep_shape=bool(seed % 2))[-1].graph for seed, net in enumerate(nets)]
    return (*made, pooled(), stages(ranked(read(nets[0]), 1))[-1].graph)


_SHAPES = ((1, "none", "bits8"), (2, "before-norm", "binary"), (3, "after-sign", "raw"), (4, "none", "binary"))


def whole_of(graph: Graph, node: Node, key: str) -> int:
    x, made = graph.types[node.input], graph.types[node.name]
    if isinstance(node.op, Mvau):
        return int(node.op.weight.shape[0 if key == "PE" else 1])
    if isinstance(node.op, StreamingConcat):
        return int(np.gcd.reduce([graph.types[name].channels for name in node.inputs]))
    return made.channels if isinstance(node.op, Pool) else x.channels


@st.composite
def foldings(draw: Draw) -> tuple[Graph, dict[str, Any], str]:
    """A graph, a complete folding file of it, and what was spoilt in it (nothing: it must be taken)."""
    graph = draw(st.sampled_from(graphs()))
    config: dict[str, Any] = {"Defaults": {}}
    hls = draw(st.booleans())
    simd_of: dict[str, int] = {}
    for ours, finn in unit_names(graph).items():
        node, (kind, _, number) = graph.node(ours), finn.rpartition("_")
        stated: dict[str, Any] = {}
        for key in ("PE", "SIMD"):
            if hasattr(node.op, key.lower()):
                stated[key] = draw(st.sampled_from(divisors(whole_of(graph, node, key))))
        if isinstance(node.op, SlidingWindow):
            parallel = draw(st.sampled_from((None, 0, 1)))
            if parallel is not None:
                stated["parallel_window"] = parallel
            if parallel and not node.op.depthwise:
                stated["SIMD"] = graph.types[node.input].channels
            simd_of[ours] = stated["SIMD"]
        if isinstance(node.op, Pool):
            stated["PE"] = simd_of[node.input]
        short = kind.removesuffix("_hls").removesuffix("_rtl")
        if isinstance(node.op, Thresholding):
            kind = f"Thresholding_{'hls' if hls else 'rtl'}"
        for key, values in (CHOICES.get(kind) or CHOICES.get(short) or {}).items():
            if draw(st.booleans()):
                stated[key] = draw(st.sampled_from(values))
        if draw(st.integers(0, 4)) == 0:
            stated |= {"inFIFODepths": [2] * len(node.inputs), "slr": 0}
        config[f"{draw(st.sampled_from(NAMES.get(short, (kind,))))}_{number}"] = stated
    spoilt = draw(st.sampled_from(("", "", "", "value", "divisor", "attribute", "unit", "left out", "not a mapping")))
    _spoil(draw, config, spoilt)
    return graph, config, spoilt


def _spoil(draw: Draw, config: dict[str, Any], how: str) -> None:
    name = draw(st.sampled_from([key for key in config if any(part in config[key] for part in ("PE", "SIMD"))]))
    stated = config[name]
    key = draw(st.sampled_from([part for part in ("PE", "SIMD") if part in stated]))
    match how:
        case "value":
            mvau = draw(
                st.sampled_from([unit for unit in config if unit.startswith(("MVAU", "Matrix", "StreamingFC"))])
            )
            attribute = draw(st.sampled_from(list(CHOICES["MVAU"])))
            config[mvau][attribute] = draw(st.sampled_from(BAD))
        case "divisor":
            stated[key] = draw(st.sampled_from((0, -1, 10**9 + 7, "2", 1.0, True, None, [1])))
        case "attribute":
            stated[draw(st.sampled_from(("pe", "ramstyle", "Simd", "res_type", "", "unroll")))] = 1
        case "unit":
            kind = draw(
                st.sampled_from(("MVAU_hls", "VVAU_hls", "Thresholding_Batches", "mvau_hls", "", "LabelSelect"))
            )
            config[f"{kind}_{draw(st.sampled_from(('9', '01', '-1', '')))}"] = {"PE": 1}
        case "left out":
            # Beside empty Defaults, FINN's own 1 is meant.
            del stated[key], config["Defaults"]
        case "not a mapping":
            config[name] = draw(st.sampled_from((4, None, "PE", [])))


@settings(max_examples=80, deadline=None)
@given(foldings())
def test_every_folding_is_taken_as_it_stands_or_refused(drawn: tuple[Graph, dict[str, Any], str]) -> None:
    graph, config, spoilt = drawn
    if spoilt:
        with pytest.raises(Problem) as caught:
            apply_folding(graph, config)
        assert caught.value.hint
        return
    made = apply_folding(graph, config)
    names = unit_names(made)
    written = folding(made)
    for finn in names.values():
        entry = written.get(finn, {})
        kind, _, number = finn.rpartition("_")
        short = kind.removesuffix("_hls").removesuffix("_rtl")
        stated = next(config[f"{n}_{number}"] for n in (*NAMES.get(short, ()), kind) if f"{n}_{number}" in config)
        for key, value in stated.items():
            if key not in ("inFIFODepths", "slr"):
                assert entry[key] == value, (finn, key)
    assert apply_folding(made, written) == made == parse_graph(str(made))
    again = read(write(made))
    assert folding(again) == written
    _costs(graph, made)


@settings(max_examples=12, deadline=None)
@given(foldings().filter(lambda drawn: not drawn[2]))
def test_no_choice_changes_a_result(drawn: tuple[Graph, dict[str, Any], str]) -> None:
    graph, config, _ = drawn
    images = np.random.default_rng(0).integers(*graph.input_type.range, (2, *graph.input_type.shape))
    made = apply_folding(graph, config)
    assert np.array_equal(reference.run(made, images)[made.output], reference.run(graph, images)[graph.output])


def _costs(graph: Graph, made: Graph) -> None:
    """Every unit with choices by the formulas below, with FINN's types; the rest as without choices."""
    types, last = finn_types(made), last_unit(made)
    for cost in estimate(made, "finn").units:
        node = made.node(cost.name)
        x, found = types[node.input], (cost.cycles, cost.lut, cost.bram18, cost.uram, cost.dsp)
        match node.op:
            case Mvau():
                assert found == _mvau(node.op, x, node.name == last)
            case Thresholding() if node.op.form == "hls":
                assert found == _thresholding_hls(node.op, x)
            case SlidingWindow() if node.op.parallel_window:
                height, width, channels = x.shape
                assert cost.cycles == height * width * (channels // node.op.simd) + 2
                assert not (cost.bram18 and node.op.ram_style in ("distributed", "ultra"))
                assert not (cost.uram and node.op.ram_style != "ultra")
            case _:
                pass


def _mvau(op: Mvau, x: TensorType, ends: bool) -> tuple[int, ...]:
    """FINN-R (Blott et al. 2018) as `MVAU_hls` has it."""
    (mh, mw), p, q = op.weight.shape, op.pe, op.simd
    if op.xnor:
        w, table = 1, 2 * op.weight.astype(int) - 1
    else:
        table = op.weight.astype(int)
        least, most = int(table.min()), int(table.max())
        w = max((-least - 1).bit_length() + 1 if least < 0 else 0, most.bit_length() + int(least < 0), 1)
        w = 1 if (least, most) == (-1, -1) else w
    a, signed = (1, 0) if op.xnor else (x.bits, int(x.range[0] < 0))
    low, high = (0, 1) if op.xnor else x.range
    sums = [(r[r > 0].sum() * low + r[r < 0].sum() * high, r[r > 0].sum() * high + r[r < 0].sum() * low) for r in table]
    least, most = int(min(s[0] for s in sums)), int(max(s[1] for s in sums))
    bits = most.bit_length() if least >= 0 else max((-least - 1).bit_length(), most.bit_length()) + 1
    if ends and not op.has_bounds and (bits > 1 or least < 0):
        bits = ceil(bits / 8) * 8
    bits = max(bits, 1)
    alpha = log2(mw) + w + a - 1 - signed
    acc = min(bits, ceil(alpha + log2(1 + 2**-alpha) + 1))
    omega, width = mh * mw // (p * q), p * q * w
    decoupled, embedded = op.mem_mode == "internal_decoupled", op.mem_mode == "internal_embedded"
    in_lut = (decoupled and op.ram_style == "distributed") or (embedded and omega <= 128)
    c2 = width * ceil(omega / 64) if in_lut else 0
    mult = 0 if op.res_type == "dsp" else q * (2 * ceil((w + a) / 6) - 1) * (w + a)
    thresholds = 0
    if op.has_bounds and op.ram_style_thresholds == "distributed":
        made = TensorType((), op.act_val, op.act_val + op.bounds.shape[1]).bits
        thresholds = (2**made - 1) * acc * ceil(mh // p / 64) + (2**made - 1) * acc
    lut = int(300 + 1.1 * (p * (mult + (w + a) * (2 * q - 1) + acc + thresholds)) + c2)
    bram = uram = 0
    if (decoupled and op.ram_style in ("auto", "block")) or (embedded and omega > 128):
        rows, columns = next(
            shape
            for most_wide, shape in (
                (1, (16384, 1)),
                (2, (8192, 2)),
                (4, (4096, 4)),
                (9, (2048, 9)),
                (10**9 if omega > 512 else 18, (1024, 18)),
                (10**9, (512, 36)),
            )
            if width <= most_wide
        )
        bram = ceil(omega / rows) * ceil(width / columns)
    if (decoupled and op.ram_style == "ultra") or (embedded and omega > 128):
        uram = ceil(width / 72) * ceil(omega / 4096)
    dsp = p * q * ceil((w + a) / 48) if op.res_type == "dsp" else 0
    return (prod(x.shape[:-1]) * mh * mw // (p * q), lut, bram, uram, dsp)


def _thresholding_hls(op: Thresholding, x: TensorType) -> tuple[int, ...]:
    depth = x.channels // op.pe
    lutram = op.pe * x.bits * ceil(depth / 64) if op.ram_style == "distributed" and depth > 1 else 0
    bram = ceil(x.bits * op.pe / 16) * ceil(depth / 1024) if op.ram_style == "block" and depth > 1 else 0
    return (prod(x.shape[:-1]) * depth, x.bits * op.pe + lutram, bram, 0, 0)


def dense_network(sizes: tuple[int, ...], select: bool = True) -> Graph:
    """Pixels above the middle, layers of random bits, and the choice of the best class."""
    rng = np.random.default_rng(0)
    nodes = [Node("image", Thresholding(np.full((sizes[0], 1), 128)), ("x",))]
    for index, (columns, rows) in enumerate(pairwise(sizes)):
        ends = index == len(sizes) - 2
        bounds = np.zeros((0, 0), np.int64) if ends else np.full((rows, 1), columns // 2)
        weight = rng.integers(0, 2, (rows, columns)).astype(np.uint8)
        nodes.append(Node(f"dense{index}", Mvau(weight, bounds, True), (nodes[-1].name,)))
    if select:
        nodes.append(Node("best", LabelSelect(), (nodes[-1].name,)))
    return Graph("dense", "x", TensorType((sizes[0],), 0, 255), tuple(nodes), nodes[-1].name)


def official(*layers: tuple[int, int, str]) -> dict[str, Any]:
    """A folding as finn-examples writes it."""
    config: dict[str, Any] = {"Defaults": {}, "Thresholding_rtl_0": {"PE": 49}, "LabelSelect_hls_0": {"PE": 1}}
    for index, (pe, simd, style) in enumerate(layers):
        config[f"MVAU_hls_{index}"] = {"PE": pe, "SIMD": simd, "ram_style": style, "resType": "lut"}
    return config


def test_lfc_as_finn_folds_it_costs_what_finn_printed() -> None:
    """FINN's own figures: 40,992 LUT and 158 BRAM18."""
    graph = dense_network((784, 1024, 1024, 1024, 10))
    config = official((32, 49, "block"), (64, 32, "auto"), (32, 64, "auto"), (10, 8, "distributed"))
    cost = estimate(apply_folding(graph, config), "finn")
    assert (cost.lut, cost.bram18) == (40_992, 158)


def test_tfc_as_finn_folds_it_costs_what_finn_printed() -> None:
    """FINN's own figures of every unit; they depend on the sizes and folding, and on weights that are not all alike."""
    graph = dense_network((784, 64, 64, 64, 10))
    config = official((16, 49, "block"), (8, 8, "auto"), (8, 8, "auto"), (10, 8, "distributed"))
    cost = estimate(apply_folding(graph, config), "finn")
    assert [(u.cycles, u.lut, u.bram18) for u in cost.units] == [
        (16, 392, 0),
        (64, 5615, 22),
        (64, 766, 2),
        (64, 766, 2),
        (8, 963, 0),
        (10, 0, 0),
    ]
    assert (cost.lut, cost.bram18, cost.uram, cost.dsp, cost.latency_cycles) == (8502, 26, 0, 0, 226)


def test_memories_of_thresholds_by_depth() -> None:
    """FINN takes a depth_trigger_uram of 0 for "all", our exact model for "none"."""
    graph = dense_network((784, 64, 10))
    config = official((16, 49, "auto"), (10, 8, "auto"))

    def thresholds(**stated: int) -> list[tuple[int, int, int]]:
        folded = apply_folding(graph, config | {"Thresholding_rtl_0": {"PE": 49, **stated}})
        units = [estimate(folded, model).units[0] for model in ("finn", "exact")]
        return [(unit.lut, unit.bram18, unit.uram) for unit in units]

    assert thresholds() == [(392, 0, 0), (392, 0, 0)]
    assert thresholds(depth_trigger_bram=16) == [(0, 0, 49), (0, 49, 0)]
    assert thresholds(depth_trigger_uram=16) == [(0, 0, 49), (0, 0, 49)]
    assert thresholds(depth_trigger_bram=16, depth_trigger_uram=17) == [(0, 49, 0), (0, 49, 0)]
    assert thresholds(depth_trigger_bram=100, depth_trigger_uram=200) == [(392, 0, 0), (392, 0, 0)]
    assert thresholds(uniform_thres=1) == [(0, 0, 0), (392, 0, 0)]


def test_deep_embedded_weights_are_counted_once_by_the_exact_model() -> None:
    graph = dense_network((784, 64, 10))
    config = official((1, 1, "auto"), (10, 8, "auto"))
    config["MVAU_hls_0"]["mem_mode"] = "internal_embedded"
    folded = apply_folding(graph, config)
    exact, finn = estimate(folded).units[1], estimate(folded, "finn").units[1]
    assert exact.bram18 == finn.bram18 == 4 and (exact.uram, finn.uram) == (0, 13)
