"""Filters and neurons by masks that are trained with the weights (Main/Subsidiary, RA-Growth), cut and fine-tuned.

A mask stands in front of every layer that reads a channel, so channels that joins, concatenations or flattenings tie
together have one. Widths are what the masks leave, no multiples of `prune.unit`; PE and SIMD divide them, and `flow
explore --widths` names the nearest that divide well. Takes classes of yours, ensembles and QONNX files, too. `grow` is
for networks of `flow models` without joins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bnnflow import Problem

from ..section import Rate
from .method import GraphChange, GraphInput, Lines, Method, MethodInput, MethodRequest, Pruned, PrunedGraph, RemovalStep

if TYPE_CHECKING:
    from ...results.stages import PruningResult


class Masks(Method):
    """Method masks: filters and neurons chosen by masks that are trained with the weights."""

    strength: Annotated[float, Field(ge=0)] = Field(default=1.0, description="of the penalty on channels that are on")
    order: Literal["joint", "layers"] = Field(default="joint", description="all layers at once, or from the input on")
    grow: Annotated[float, Field(ge=1, le=8)] = Field(
        default=1.0, description="begin so many times wider, with Gumbel noise; 1: neither"
    )
    mask_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=3, description="of masks and weights (of each layer); prune.epochs follow"
    )
    mask_rate: Rate = Field(default=0.003, description="learning rate of masks and weights")

    counts: ClassVar[str] = "filters and neurons"
    why_nothing: ClassVar[str] = "prune.masks.strength is too low for prune.masks.mask_epochs"
    takes_classes: ClassVar[bool] = True
    removes_channels: ClassVar[bool] = True
    file_defaults: ClassVar[Mapping[str, Any] | None] = {}
    learns: ClassVar[bool] = True

    def check(self, asked: MethodRequest) -> None:
        """Refuse growth of what cannot be made wider."""
        if self.grow > 1 and not (asked.is_built_in and asked.shape.is_chain):
            what = "only networks of `flow models` without residual joins are made wider"
            raise Problem(what, key=self.key("grow"), hint="leave it at 1")

    def prune(self, given: MethodInput) -> Pruned:
        """Train masks, cut what they leave out, and fine-tune."""
        from ....models.prune.masks import MaskSpec, learn_masks

        assert given.structure is not None
        structure = given.structure()
        spec = MaskSpec(self.strength, self.order, self.grow > 1.0, self.grow, given.seed)
        how = replace(given.plan, epochs=self.mask_epochs, learning_rate=self.mask_rate)
        images = (given.network, given.images, given.labels, given.held)
        chosen = learn_masks(*images, spec, how, given.progress, given.checkpoint, structure)
        made, recovery = chosen.network, given.recovery
        recovery.tune(made, "tuned")
        kept = {name: now for name, (_, now) in chosen.widths.items()}
        facts = {}
        if self.grow == 1.0:
            facts["filters"] = {name: indices.tolist() for name, indices in chosen.keep.items()}
        step = RemovalStep(kept, structure.macs(made), chosen.accuracy, recovery.judge(made), facts=facts)
        whole = {name: was for name, (was, _) in chosen.widths.items()}
        return Pruned(made.eval(), kept, [step], {"whole": whole})

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Train masks and weights of a file's network, cut what the masks leave out, and fine-tune."""
        from ....models.prune.masks import MaskSpec
        from ....transforms.channels import channel_groups, cut
        from ....transforms.synapses import products

        if self.grow > 1:
            what = "a file's network is not made wider: new channels would have weights that nothing trained"
            raise Problem(what, key=self.key("grow"), hint="leave it at 1, or train a wider network")
        groups = {group.name: group for group in channel_groups(given.graph) if not group.reason and group.columns}
        if not groups:
            what, hint = "no layer can be made narrower", "its hidden layers would have to be read by others"
            raise Problem(what, key="prune.method", hint=hint)
        spec = MaskSpec(self.strength, self.order, seed=given.seed)
        trained, keep = given.masks(given.graph, spec, self.mask_epochs, self.mask_rate)
        keep = {name: kept for name, kept in keep.items() if len(kept) < groups[name].width}
        if not keep:
            what = "the masks leave nothing out"
            raise Problem(what, key=self.key("strength"), hint="raise it, mask_epochs or mask_rate")
        smaller = cut(trained, keep)
        change = GraphChange(partial(cut, keep=keep), {layer for name in keep for layer in groups[name].readers})
        before, graph = given.right(smaller), given.tune(smaller, change)
        whole = {name: group.width for name, group in groups.items()}
        kept = {name: len(keep[name]) if name in keep else width for name, width in whole.items()}
        return PrunedGraph(graph, whole, kept, [RemovalStep(kept, products(graph), before, given.right(graph))])

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return "Filters and neurons chosen by masks trained with the weights, cut and fine-tuned"

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """The widths that masks chose."""
        return (", ".join(f"{name} {found.more['whole'][name]} to {now}" for name, now in found.kept.items()),)
