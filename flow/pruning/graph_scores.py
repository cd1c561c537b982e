"""How much the channels of a graph count, by the criteria of `models.relevance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bnnflow import Problem

from ...models.prune.structure import channel_scores
from ...models.relevance.criteria import Criterion
from ...models.relevance.sample import Relevance, Sample, paired
from ...models.relevance.scores import score
from ...sim.images import admitted
from ...sim.reconstruction import removal_order
from ...transforms.channels import ChannelGroup
from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from .plain_graph import PlainGraph, plain_graph
from .sets import layer_places


@dataclass(frozen=True)
class Scored:
    """A graph, and the images by which its filters are scored.

    Attributes:
        graph: of the network or integer level, on integers.
        images: (images, *input shape), as the graph takes them.
        labels: (images,) classes; None takes the network's own answers.
        order: of the images: those in front are scored.
        count: how many; each is compared with one of those behind, or, where all are scored, with the one before.

    Raises:
        Problem: fewer than two images, or such as the graph does not take.
    """

    graph: Graph
    images: Array
    labels: Array | None
    order: Array
    count: int

    def __post_init__(self) -> None:
        if len(self.order) < 2:
            what = f"{len(self.order)} image to choose by, where each is compared with another"
            raise Problem(what, "--input", "give some hundred")
        admitted(self.graph, self.images)

    @cached_property
    def network(self) -> PlainGraph:
        """The graph in plain modules.

        Raises:
            Problem: as `plain_graph`.
        """
        return plain_graph(self.graph, self.images[self.order[: self.count]])

    @cached_property
    def sample(self) -> Sample:
        """Images, their labels or answers, and what they are compared with."""
        chosen, others = paired(self.order, self.count)
        images = self.images[chosen]
        labels = self.network.body.classes(images) if self.labels is None else self.labels[chosen]
        return Sample(images, labels, self.images[others])

    def by(self, criterion: str | Criterion, seed: int) -> Relevance:
        """Scores of the filters of every layer but the last.

        Args:
            criterion: one that does not need what training leaves.
            seed: of what is drawn.

        Raises:
            Problem: as `models.relevance.scores.score` and `plain_graph`.
        """

        def sets(_network: object, sample: Sample, drawn: int) -> dict[str, np.ndarray]:
            return layer_places(self.graph, removal_order(self.graph, sample.images, sample.labels, drawn))

        return score(self.network, criterion, self.sample, seed, sets=sets)


def group_scores(groups: Sequence[ChannelGroup], scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of the channels of each group from those of its layers' filters, added.

    Raises:
        Problem: a layer's scores are missing or not finite.
    """
    return {group.name: channel_scores(group.width, group.rows, scores) for group in groups}
