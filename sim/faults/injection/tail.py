"""What becomes of an image when one unit's output changes: the rest of the network, until nothing differs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....transforms.ir.graph import Graph, Node
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, classes_of
from ...walk import Walk


@dataclass(frozen=True, slots=True)
class Tail:
    """The nodes behind a unit, with all tensors of a block of images without faults.

    Attributes:
        walk: the whole network, node by node.
        layer: the unit whose output changes.
        clean: every tensor without faults, (images, *shape).
        scores: class scores without faults, (images, classes).
    """

    walk: Walk
    layer: str
    clean: dict[str, Array]
    scores: Array

    @staticmethod
    def of(simulator: Simulator, walk: Walk, layer: str, images: Array) -> Tail:
        """Run a block of images; `walk` goes over the simulator's graph, and has room for what faults bring."""
        clean = simulator.tensors(images)
        return Tail(walk, layer, clean, clean[walk.graph.output].astype(np.float64))

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.walk.graph

    @property
    def classes(self) -> Array:
        """Classes of the block without faults."""
        return classes_of(self.graph, self.scores)

    def scores_with(self, which: Array, output: Array) -> Array:
        """Class scores when image `which[i]` has `output[i]` in place of the unit's output.

        An image is dropped as soon as none of its tensors that are still read differs.
        """
        found = self.scores[which]
        places, values = np.arange(len(which)), {self.layer: output}
        behind = False
        for step, node in enumerate(self.graph.nodes):
            if node.name == self.layer:
                behind = True
            elif behind and any(name in values for name in node.inputs):
                kernel = self.walk.kernels[step]
                inputs = [values[n] if n in values else self.clean[n][which[places]] for n in node.inputs]
                values[node.name] = kernel(*inputs)
                values = {name: made for name, made in values.items() if self._is_read(name, step)}
                differs = np.zeros(len(places), bool)
                for name, made in values.items():
                    gap = made != self.clean[name][which[places]]
                    differs |= gap.reshape(len(gap), -1).any(axis=1)
                if not differs.all():
                    places = places[differs]
                    values = {name: made[differs] for name, made in values.items()}
            if not len(places):
                return found
        if self.graph.output in values:
            found[places] = values[self.graph.output]
        return found

    def _is_read(self, name: str, step: int) -> bool:
        later: tuple[Node, ...] = self.graph.nodes[step + 1 :]
        return name == self.graph.output or any(name in node.inputs for node in later)
