"""Hardware of the networks that come with bnnflow: generated, built by Verilator, simulated, compared.

    python benchmarks/rtl.py [NAME=CYCLES ...] [--images 10000]

NAME is one of `flow models`, CYCLES the interval that it is folded for; with 32768 CNV has the folding of BNN-PYNQ.
Images are drawn. Prints a Markdown row a network: CPU seconds of generating, of finding FIFO depths, of Verilator and
compiler, images a CPU second of the simulation, and whether all is equal, with three runs of stalls.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bnnflow.build.cosim.verilator import Tools, build
from bnnflow.build.parts import part
from bnnflow.build.rtl.design import design
from bnnflow.build.schedule import fold
from bnnflow.flow.graphs.cosimulation import Checks, cosimulated
from bnnflow.flow.graphs.hardware import hardware_of
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.flow.run.tools import simulation_tools
from bnnflow.models.files.pack import unpack_network
from bnnflow.models.files.packed_file import read_packed
from bnnflow.models.files.trained_names import trained_files
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.passes.compile import stages

NETWORKS = ("tfc-mnist=64", "sfc-mnist=256", "lfc-mnist=512", "cnv-cifar10-gpu=32768")
# PE and SIMD of BNN-PYNQ's cnvW1A1; its last layer has 4, which does not divide ten classes.
PYNQ = ((16, 3), (32, 32), (16, 32), (16, 32), (4, 32), (1, 32), (1, 4), (1, 8), (5, 1))


def children() -> float:
    """CPU seconds of all programs that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def folded(name: str, cycles: int) -> Graph:
    """The dataflow graph of a network, folded."""
    graph = stages(graph_of(unpack_network(read_packed(trained_files()[name])).eval()))[-1].graph
    graph = replace(graph, name=name)
    if not name.startswith("cnv") or cycles != 32_768:
        made = fold(graph, cycles, part("xczu9eg"))
        assert made is not None, f"{name} cannot be folded for {cycles} cycles"
        return made
    layers = dict(zip([node.name for node in graph.nodes if isinstance(node.op, Mvau)], PYNQ, strict=True))
    nodes = []
    for node in graph.nodes:
        if node.name in layers:
            node = replace(node, op=replace(node.op, pe=layers[node.name][0], simd=layers[node.name][1]))
        elif node.name.endswith("_window"):
            simd = min(graph.types[node.input].channels, layers[node.name.removesuffix("_window")][1])
            node = replace(node, op=replace(node.op, simd=simd))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def row(name: str, cycles: int, images: int, tools: Tools) -> str:
    """One network."""
    graph = folded(name, cycles)
    kind = graph.input_type
    low, high = kind.range
    began = time.process_time()
    made = hardware_of(graph, 2, {}, 100.0)
    depths = time.process_time() - began
    began = time.process_time()
    design(graph, 2, made.depths, 100.0)
    generated = time.process_time() - began
    sent = np.random.default_rng(0).integers(low, high + 1, (images, *kind.shape))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made.design.write(folder)
        began = children()
        program = build(made.design, folder, tools, fast=True)
        built = children() - began
        began = children()
        program.run(sent)
        speed = images / (children() - began)
        found = cosimulated(made, sent, Checks(), folder, tools)
    said = "all equal" if found.equal else found.unexpected[0]
    cells = (f"{generated:.2f}", f"{depths:.1f}", f"{built:.1f}", f"{speed:,.0f}")
    timing = f"{found.interval_cycles:,} | {found.latency_cycles:,}"
    return f"| {name} | {timing} | {' | '.join(cells)} | {images:,} x 4 | {said} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", type=int, default=10_000)
    asked = parser.parse_args()
    tools = replace(simulation_tools(), cache=Path(tempfile.mkdtemp()))
    # Verilator's own objects are compiled once a version; they are no network's.
    row("tfc-mnist", 784, 2, tools)
    print("| network | interval | first image | generation s | depths s | build s | images/s | images | compared |")
    print("|---|" + "---|" * 8)
    for text in asked.networks:
        name, _, cycles = text.partition("=")
        images = min(asked.images, 100) if name.startswith("cnv") else asked.images
        print(row(name, int(cycles), images, tools), flush=True)


if __name__ == "__main__":
    main()
