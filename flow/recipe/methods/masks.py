"""Filters and neurons by masks that are trained with the weights (Main/Subsidiary, RA-Growth), cut and fine-tuned.

Needs a network without residual joins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bnnflow import Problem

from ..section import Rate
from .method import Lines, Method, MethodInput, MethodRequest, Pruned, RemovalStep

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

    def check(self, asked: MethodRequest) -> None:
        """Refuse residual networks."""
        if not asked.shape.is_chain:
            what = "masks of channels that residual joins share are not trained yet"
            raise Problem(what, key="prune.method", hint="use method: filters")

    def prune(self, given: MethodInput) -> Pruned:
        """Train masks, cut what they leave out, and fine-tune."""
        from dataclasses import replace

        from ....models.prune.masks import MaskSpec, learn_masks

        spec = MaskSpec(self.strength, self.order, self.grow > 1.0, self.grow, given.seed)
        how = replace(given.plan, epochs=self.mask_epochs, learning_rate=self.mask_rate)
        chosen = learn_masks(*given.work, spec, how, given.progress, given.checkpoint)
        made, recovery = chosen.network, given.recovery
        recovery.tune(made, "tuned")
        kept = {name: now for name, (_, now) in chosen.widths.items()}
        facts = {}
        if self.grow == 1.0:
            facts["filters"] = {name: indices.tolist() for name, indices in chosen.keep.items()}
        step = RemovalStep(kept, made.spec.macs(), chosen.accuracy, recovery.judge(made), facts=facts)
        whole = {name: was for name, (was, _) in chosen.widths.items()}
        return Pruned(made.eval(), kept, [step], {"whole": whole})

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return "Filters and neurons chosen by masks trained with the weights, cut and fine-tuned"

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """The widths that masks chose."""
        return (", ".join(f"{name} {found.more['whole'][name]} to {now}" for name, now in found.kept.items()),)
