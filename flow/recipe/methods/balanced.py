"""As many synapses of every neuron: of every M inputs that lie side by side N stay.

Needs what `synapses` needs. Unrolled, all neurons of a layer are then trees of one size and depth, where removal by a
layer's share leaves some whole. Source: Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv:2104.08378 (2 of
4, of float weights).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bnnflow import Problem

from .method import GraphInput, MethodInput, MethodRequest, Pruned, PrunedGraph, RemovalStep
from .synapses import RankedSynapses

if TYPE_CHECKING:
    import numpy as np

    from ....models.prune.recovery import Removal
    from ...results.stages import PruningResult


class Balanced(RankedSynapses):
    """Method balanced: single synapses of binary layers, as many of every neuron: of every M inputs N stay."""

    keep: Annotated[int, Field(ge=1, le=63)] = Field(default=2, description="N, synapses that stay")
    of: Annotated[int, Field(ge=2, le=64)] = Field(
        default=4, description="M, inputs side by side, channels first; at the end of a neuron fewer, and N as a share"
    )

    def check(self, asked: MethodRequest) -> None:
        """Refuse, too, to keep all."""
        super().check(asked)
        if self.keep >= self.of:
            what = f"{self.keep} of every {self.of} synapses stay, so that nothing is removed"
            raise Problem(what, key=self.key("keep"), hint=f"at most {self.of - 1}")

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Remove the lowest of every M of a file's layers, one more a step."""
        import numpy as np

        if self.keep >= self.of:
            what = f"{self.keep} of every {self.of} synapses stay, so that nothing is removed"
            raise Problem(what, key=self.key("keep"), hint=f"at most {self.of - 1}")

        def stays(name: str, scores: np.ndarray, there: np.ndarray, step: int) -> np.ndarray:
            left = self.of - round((self.of - self.keep) * step / self.steps)
            # Channels stand last in a graph, and in front in torch, whose order `highest` takes.
            ranked = np.moveaxis(np.where(there, scores, -np.inf), -1, 1)
            return np.moveaxis(highest(ranked, left, self.of), 1, -1) & there

        return self.rounds_of_graph(given, stays)

    def prune(self, given: MethodInput) -> Pruned:
        """Remove the lowest of every M, one more a step, with recovery after each."""
        import numpy as np

        from ....models.prune.recovery import Removal, rounds
        from ....models.prune.synapses import SynapseSpec, kept_synapses, masked, present, synapse_scores

        assert given.synapse_layers is not None
        images, labels, layers = given.images, given.labels, given.synapse_layers()
        network: Any = given.network
        spec = SynapseSpec(1 - self.keep / self.of, self.steps, self.criterion, seed=given.seed)
        flips = self.counted(given)

        def lowest(best: Any, step: int) -> Removal[Any] | None:
            if step > self.steps:
                return None
            left = self.of - round((self.of - self.keep) * step / self.steps)
            scores, there = synapse_scores(best, spec, images, labels, step, flips), present(best)
            # What is gone stays gone, whatever the criterion says of it.
            ranked = {name: np.where(there[name], found, -np.inf) for name, found in scores.items()}
            keep = {name: highest(ranked[name], left, self.of) for name in layers}
            return Removal(masked(best, keep), f"step{step}")

        made, done = rounds(masked(network, {}), lowest, given.recovery)
        macs = self.macs(given, made)
        return self.told(made, [RemovalStep(kept_synapses(one.network), macs, one.before, one.after) for one in done])

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return f"Synapses ranked by {found.criterion}, as many removed of every neuron, and fine-tuned"


def highest(scores: np.ndarray, keep: int, of: int) -> np.ndarray:
    """Which synapses stay: the `keep` of highest score among every `of` inputs that lie side by side.

    Args:
        scores: (neurons, inputs) or (filters, channels, height, width); of equal ones the first stays.
        keep: at least 1.
        of: inputs of a group, channels first; what is left over at the end is a group that keeps its share, rounded up.

    Returns:
        bool of the same shape.
    """
    import numpy as np

    last = np.moveaxis(scores, 1, -1)
    flat = last.reshape(len(last), -1)
    stays = np.zeros(flat.shape, bool)
    for start in range(0, flat.shape[1], of):
        group = flat[:, start : start + of]
        count = -(-keep * group.shape[1] // of)
        order = np.argsort(-group, axis=1, kind="stable")[:, :count]
        np.put_along_axis(stays[:, start : start + of], order, True, axis=1)
    return np.moveaxis(stays.reshape(last.shape), -1, 1)
