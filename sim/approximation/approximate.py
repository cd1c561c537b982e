"""A network whose sums are approximate, ready to run, and how often it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array, TensorType
from ..engine.simulator import Simulator, classes_of
from ..faults.injection.streams import split
from ..walk import Change, Walk
from .capmin import CapMin, Confusion
from .layers import BinaryLayer, binary_layers, fused
from .lta import LocalThresholds
from .xnor_errors import XnorErrors

SumModel = CapMin | Confusion | LocalThresholds | XnorErrors


@dataclass(frozen=True, slots=True)
class Judged:
    """A network's classes with approximate sums, beside the exact ones.

    Attributes:
        classes, exact: (N,) with approximate and with exact sums.
    """

    classes: Array
    exact: Array

    @property
    def changed(self) -> int:
        """Images whose class is another."""
        return int((self.classes != self.exact).sum())


def approximated(graph: Graph, layers: Mapping[str, SumModel], seed: int = 0, trial: int = 0) -> Walk:
    """The network with approximate sums in these layers, ready to run.

    Args:
        graph: at the dataflow level.
        layers: what each does in place of exact sums, by name, as `mapped` allows it; others are exact.
        seed, trial: of what is drawn, which also depends on the layer and the image alone.
    """
    binary = binary_layers(graph)
    instead: dict[str, Change] = {}
    wide: dict[str, TensorType] = {}
    bits: list[BinaryLayer] = []
    sums: list[str] = []
    for name, how in layers.items():
        layer = binary[name]
        change = how.replacing(layer, seed, trial)
        if how.on_bits:
            bits.append(layer)
            instead[layer.unit] = change
        else:
            sums.append(name)
            tensor = f"{name}__sums" if layer.op.has_bounds else name
            instead[tensor] = change
            wide[tensor] = _range(graph, layer, how)
    return Walk.of(fused(split(graph, sums), bits), {}, wide, instead)


def _range(graph: Graph, layer: BinaryLayer, how: SumModel) -> TensorType:
    """Type of sums that may be read as more than the fan-in: a tail's popcount as that of a whole segment."""
    divided = how.segments(layer)
    most = divided.count * divided.size
    shape = (*graph.types[graph.node(layer.name).input].shape[:-1], len(layer.op.weight))
    if layer.op.xnor:
        return TensorType(shape, 0, most)
    return TensorType(shape, -layer.fan_in, 2 * most - layer.fan_in, 2)


def judge(graph: Graph, layers: Mapping[str, SumModel], images: Array, seed: int = 0, trial: int = 0) -> Judged:
    """Classes of images, as the graph takes them, with these layers approximated, and exactly."""
    walk = approximated(graph, layers, seed, trial)
    exact = Simulator.of(graph).classes(images)
    return Judged(np.asarray(classes_of(graph, walk.scores(images))), exact)
