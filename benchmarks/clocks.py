"""Clocks of whole networks, predicted and found: placed and routed by nextpnr on an ECP5, with one or several seeds.

    PYTHONPATH=. python benchmarks/clocks.py [--part lfe5u-85f] [--seeds 1] [WORD ...]

Words choose networks whose names hold one of them. Prints a Markdown row a network: the clock that the cost model
predicts and the unit that bounds it, the clock of every seed, the images a second of the best one, where its slowest
path goes, and the cells it takes. What was placed before is taken from the cache; CNV takes ten minutes a seed.
"""

from __future__ import annotations

import argparse

from rtl import folded

from bnnflow.build.cost import estimate, model_for
from bnnflow.build.parts import part
from bnnflow.flow.graphs.figures import predicted_clock
from bnnflow.flow.graphs.hardware import hardware_of
from bnnflow.flow.graphs.routing import RouteOptions, program_of, routed_hardware
from bnnflow.flow.run.tools import routing_tool, synthesis_tool

NETWORKS = (
    ("tfc-mnist", 64),
    ("tfc-mnist", 1_024),
    ("sfc-mnist", 256),
    ("kws-cnn-speech-commands", 25_000),
    ("cnv-cifar10-gpu", 32_768),
    ("cnv-cifar10-gpu", 250_000),
)


def row(name: str, cycles: int, how: RouteOptions) -> str:
    """A network's row."""
    graph = folded(name, cycles)
    made = hardware_of(graph, 2, {}, how.clock_mhz)
    kind = model_for("bnnflow", how.part.family)
    guess = predicted_clock(estimate(graph, kind, depths=made.depths), kind)
    tools = synthesis_tool(), routing_tool(program_of(how.part))
    found = routed_hardware({name: (made, ())}, how, tools, lambda done, total: None).networks[name]
    whole = found.whole
    assert guess is not None and whole is not None and found.fps is not None
    path = whole.path
    way = f"{path.start or 'harness'} to {path.end or 'harness'}, {path.logic_ns:.1f} + {path.routing_ns:.1f} ns"
    mhz = [seed.fmax_mhz for seed in whole.seeds]
    cells = ", ".join(
        f"{whole.used[kind]:,} {kind}" for kind in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD") if kind in whole.used
    )
    off = guess.fmax_mhz / (sum(mhz) / len(mhz)) - 1
    seeds = ", ".join(f"{one:.1f}" for one in mhz)
    first = f"{name}, {cycles:,} cycles | {guess.fmax_mhz:.1f} ({guess.unit}: {guess.path}) | {seeds} | {off:+.1%}"
    return f"| {first} | {found.fps:,.0f} | {way} | {cells} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--part", default="lfe5u-85f")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    how = RouteOptions(part(given.part), clock_mhz=100.0, seeds=given.seeds, jobs=given.jobs)
    heads = ("network", "predicted, MHz", "found, by seed", "error of their mean", "images/s", "slowest path", "cells")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, cycles in NETWORKS:
        if not given.words or any(word in name for word in given.words):
            print(row(name, cycles, how), flush=True)


if __name__ == "__main__":
    main()
