"""What a network costs in hardware once channels are cut out: compiled, folded and estimated again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ...build.cost import estimate, operations
from ...build.cost_models import CostModel
from ...build.cost_models.bnnflow import Bnnflow
from ...build.energy import energy, energy_nj
from ...build.explore import Counted, Space
from ...build.kept_folding import keep_folding, legal_unit
from ...build.parts import Part
from ...build.rate_folding import cheapest, rate_model
from ...build.schedule import cycles_for, fastest_cycles, fold
from ...transforms.channels import ChannelGroup, channel_groups, cut
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Affine, Bias, Conv, Dense, MaxPool, SumPool, Unit
from ...transforms.passes.compile import stages
from ..recipe.prune import PARTS_OF_COST

__all__ = ["ALL", "PARTS_OF_COST", "HardwareCosts", "slim"]

ALL = ("lut", "bram18", "cycles", "energy")
Folding = Literal["refold", "kept"]


@dataclass(slots=True)
class HardwareCosts:
    """Costs of a network by what stays of its groups of channels, by the cost model that folds it for the rate.

    Batch norms are replaced by one threshold per layer, which is much faster to compile: what is costed is the
    network's shape, with no channel found constant and, of our own hardware, no bit of a threshold left out.

    Attributes:
        graph: the network, as `slim` makes it.
        groups: of its channels.
        fps, clock_mhz, part: what it is folded for.
        folding: "refold" at the rate, or "kept": the whole network's PE and SIMD where they still divide.
        base: the whole network, folded.
        model: that counts.
        known: costs by widths.
    """

    graph: Graph
    groups: tuple[ChannelGroup, ...]
    fps: float
    clock_mhz: float
    part: Part
    folding: Folding
    base: Graph
    model: CostModel
    known: dict[tuple[int, ...], dict[str, float]] = field(default_factory=dict)
    _folds: _Folds = field(default_factory=lambda: _Folds())

    @staticmethod
    def of(
        graph: Graph,
        fps: float,
        clock_mhz: float,
        part: Part,
        folding: Folding = "refold",
        base: Graph | None = None,
        by: str = Bnnflow.name,
    ) -> HardwareCosts:
        """Prepare a network of the network level.

        Args:
            graph: the network.
            fps, clock_mhz, part, folding: as of the class.
            base: the whole network folded otherwise than for the rate; None: for the rate.
            by: name of the cost model that folds and counts; our own hardware's is FINN's formulas where it does not
                know the part or a unit.

        Raises:
            Problem: it cannot be compiled.
        """
        small = slim(graph)
        whole = stages(small)[-1].graph
        model, _ = rate_model(whole if base is None else base, part, by)
        if isinstance(model, Bnnflow):
            model = model.of_sizes()
        known = _Folds()
        if base is None:
            base = _folded_or_fastest(whole, cycles_for(fps, clock_mhz), part, model, known)
        groups = channel_groups(small)
        return HardwareCosts(small, groups, fps, clock_mhz, part, folding, base, model, _folds=known)

    @property
    def prunable(self) -> dict[str, ChannelGroup]:
        """The groups that can be cut, by name."""
        return {group.name: group for group in self.groups if not group.reason}

    def units(self, unit: int = 8) -> dict[str, int]:
        """Channels that must go at a time: `unit` with refolding, lcm of PE and SIMD around with the folding kept."""
        if self.folding == "refold":
            return dict.fromkeys(self.prunable, unit)
        return {n: legal_unit(self.base, group.producers, group.readers) for n, group in self.prunable.items()}

    def __call__(self, kept: Mapping[str, int]) -> dict[str, float]:
        """LUT, BRAM18, cycles and nJ per image, latency, operations and weight bits with so many channels."""
        widths = {name: kept.get(name, group.width) for name, group in self.prunable.items()}
        key = tuple(widths.values())
        if key not in self.known:
            self.known[key] = self._cost(widths)
        return self.known[key]

    def folded(self, kept: Mapping[str, int]) -> Graph:
        """The dataflow graph of so many channels, folded."""
        return self._fold(self._compiled(kept)[-1].graph)

    def _compiled(self, kept: Mapping[str, int]) -> Any:
        smaller = {name: np.arange(width) for name, width in kept.items() if width < self.prunable[name].width}
        return stages(cut(self.graph, smaller))

    def _fold(self, graph: Graph) -> Graph:
        if self.folding == "kept":
            return keep_folding(graph, self.base)
        return _folded_or_fastest(graph, cycles_for(self.fps, self.clock_mhz), self.part, self.model, self._folds)

    def _cost(self, kept: Mapping[str, int]) -> dict[str, float]:
        made = self._compiled(kept)
        folded = self._fold(made[-1].graph)
        cost = estimate(folded, self.model)
        xnor = next(stage.graph for stage in made if stage.level == "xnor")
        counted = operations(xnor)
        return {
            "lut": cost.lut + cost.lut_ram,
            "bram18": cost.bram18,
            "cycles": cost.cycles,
            "energy": energy_nj(energy(folded))["energy_nj"],
            "latency_cycles": cost.latency_cycles,
            "ops": counted.binary_macs,
            "int8_ops": counted.int8_macs,
            "weight_bits": cost.weight_bits,
        }


@dataclass(slots=True)
class _Folds:
    """What was found before, of the same network or narrower ones, for one number of cycles: foldings by FINN's
    formulas, and choices by the cost of our own hardware."""

    finns: dict[Any, Unit] = field(default_factory=dict)
    own: Counted = field(default_factory=Counted)


def _folded_or_fastest(graph: Graph, cycles: int, part: Part, model: CostModel, known: _Folds) -> Graph:
    """Folded for so many cycles per image, or as fast as can be where that is out of reach."""
    folded = fold(graph, cycles, part, known.finns)
    if isinstance(model, Bnnflow):
        space = Space(graph, model, cycles, known.own)
        found = cheapest(space, cycles, part, folded)
        if found is not None:
            return found.graph(graph)
    folded = folded or fold(graph, fastest_cycles(graph).cycles, part)
    assert folded is not None
    return folded


def slim(graph: Graph) -> Graph:
    """A network with the same layers, each batch norm and bias behind one replaced by a single shift."""
    one = np.ones(1)
    nodes = []
    for node in graph.nodes:
        if _a_channel(node.op) and _behind_layer(graph, node.input):
            node = replace(node, op=Affine(one, np.array([0.5])))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _a_channel(op: object) -> bool:
    """Whether an operation has numbers of its own for each channel."""
    if isinstance(op, Bias):
        return max(op.integers.size, op.scale.size) > 1
    return isinstance(op, Affine) and not op.is_in_common


def _behind_layer(graph: Graph, tensor: str) -> bool:
    while isinstance(graph.maker(tensor), MaxPool | SumPool | Affine | Bias):
        tensor = graph.node(tensor).input
    return isinstance(graph.maker(tensor), Conv | Dense)
