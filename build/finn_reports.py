"""The JSON files that FINN users know, under FINN's names and with FINN's keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..transforms.ir.choices import stated
from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import FMPadding, Mvau, SlidingWindow, StreamingConcat, Thresholding
from .cost import estimate, finn_op


def unit_names(graph: Graph, finn_plus: bool = False) -> dict[str, str]:
    """Node name to FINN's positional name (`MVAU_hls_0`, ...) for every dataflow unit.

    Args:
        graph: dataflow level.
        finn_plus: by the names of finn-plus, as of the file that `write` makes for it.
    """
    counts: dict[str, int] = {}
    names = {}
    for node in graph.nodes:
        try:
            kind = finn_op(node.op, finn_plus)
        except KeyError:
            continue
        names[node.name] = f"{kind}_{counts.get(kind, 0)}"
        counts[kind] = counts.get(kind, 0) + 1
    return names


def reports(graph: Graph, counts: Mapping[str, int], clock_mhz: float, finn_plus: bool = False) -> dict[str, str]:
    """File name to JSON text of FINN's estimate reports.

    Args:
        graph: dataflow level, folded.
        counts: the fields of `Operations` of the network.
        clock_mhz: clock.
        finn_plus: finn-plus' names, and FINN's own figures digit for digit, which hold for its file alone.
    """
    names, cost = unit_names(graph, finn_plus), estimate(graph, "finn" if finn_plus else "exact")
    resources: dict[str, Any] = {
        names[u.name]: {"BRAM_18K": u.bram18, "LUT": u.lut, "URAM": u.uram, "DSP": u.dsp} for u in cost.units
    }
    resources["total"] = {
        "BRAM_18K": cost.bram18,
        "LUT": cost.lut,
        "URAM": cost.uram,
        "DSP": cost.dsp,
    }
    performance = {
        "critical_path_cycles": cost.latency_cycles,
        "max_cycles": cost.cycles,
        "max_cycles_node_name": names[cost.bottleneck.name],
        "estimated_throughput_fps": cost.fps(clock_mhz),
        "estimated_latency_ns": cost.latency_us(clock_mhz) * 1000,
    }
    operations = {
        "op_mac_BINARY_BINARY": counts["binary_macs"],
        "op_mac_UINT8_BIPOLAR": counts["int8_macs"],
        "param_weight_BINARY": counts["weights"],
        "param_threshold": counts["neurons"],
    }
    files = {
        "report/estimate_layer_cycles.json": {names[u.name]: u.cycles for u in cost.units},
        "report/estimate_layer_resources.json": resources,
        "report/estimate_network_performance.json": performance,
        "report/op_and_param_counts.json": operations,
    }
    return {name: json.dumps(content, indent=2) + "\n" for name, content in files.items()}


def folding(graph: Graph, finn_plus: bool = False) -> dict[str, dict[str, Any]]:
    """FINN's folding configuration of a dataflow graph, or finn-plus'."""
    names = unit_names(graph, finn_plus)
    config: dict[str, dict[str, Any]] = {"Defaults": {}}
    for node in graph.nodes:
        if isinstance(node.op, Mvau):
            config[names[node.name]] = {"PE": node.op.pe, "SIMD": node.op.simd, **stated(node.op)}
        elif isinstance(node.op, SlidingWindow):
            config[names[node.name]] = {"SIMD": node.op.simd, **stated(node.op)}
        elif isinstance(node.op, Thresholding):
            config[names[node.name]] = {"PE": node.op.pe, **stated(node.op)}
        elif isinstance(node.op, FMPadding | StreamingConcat):
            config[names[node.name]] = {"SIMD": node.op.simd}
        elif hasattr(node.op, "pe"):
            config[names[node.name]] = {"PE": node.op.pe}
    return config
