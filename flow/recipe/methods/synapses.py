"""Single synapses of binary layers become weights of 0.

Needs weights -1 and +1 without a scale (`weight_bits: 1`, `weight_scale: none`) and, by latent weights, another
optimizer than bop. A layer with zeros is no XNOR layer: folded it has 2-bit weights (its sums are exact, its memory
twice as large); unrolled hardware alone leaves the zeros out, and the report adds its LUTs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bnnflow import Problem

from .method import FLIP_HINT, OFF, LatentUse, Lines, Method, MethodInput, MethodRequest, Pruned, RemovalStep

if TYPE_CHECKING:
    from ....models.networks.network import Network
    from ....models.training.flips import FlipCounts
    from ...results.stages import PruningResult


class RankedSynapses(Method):
    """What methods that remove single synapses share: by what, in how many steps, and of which weights."""

    criterion: Literal["latent", "taylor", "flips", "flips-step", "random"] = Field(
        default="latent", description="|w|, |w dL/dw|, sign changes counted in training, or drawn"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="in which the share is reached")

    counts: ClassVar[str] = "synapses"
    leaves_zeros: ClassVar[bool] = True

    def remarks(self, asked: MethodRequest) -> Iterable[str]:
        """That zeros cost memory in folded hardware."""
        yield (
            f"{self.name()} leaves weights of -1, 0 and +1: folded hardware stores 2 bits for each, twice as many as "
            "before; what the zeros save is in unrolled layers alone (`flow estimate --unrolled`)"
        )

    def check(self, asked: MethodRequest) -> None:
        """Refuse other weights than -1 and +1, and criteria that have nothing to go by."""
        if not (asked.shape.weight_bits == 1 and asked.shape.has_unit_weights):
            what = "only synapses of weights -1 and +1 can be removed"
            raise Problem(what, key="prune.method", hint="train with weight_bits: 1 and weight_scale: none")
        if (use := self.latent_use()) is not None:
            use.refuse(asked.optimizer)
        if self.criterion.startswith("flips") and not asked.flip_window:
            raise Problem("flips are not counted in training", key=self.key("criterion"), hint=FLIP_HINT)

    def latent_use(self) -> LatentUse | None:
        """Of criterion latent."""
        if self.criterion != "latent":
            return None
        asks = "synapses are ranked by latent weights"
        return LatentUse(self.key("criterion"), asks, "use taylor, or another optimizer")

    def counted(self, given: MethodInput) -> FlipCounts | None:
        """What training counted, where the criterion asks for it."""
        return given.flips() if self.criterion.startswith("flips") else None

    def told(self, made: Network, steps: Sequence[RemovalStep]) -> Pruned:
        """What came of it."""
        from ....models.prune.synapses import synapses

        found = synapses(made)
        whole = {name: total for name, (_, total) in found.items()}
        kept = {name: left for name, (left, _) in found.items()}
        return Pruned(made, kept, steps, {"whole": whole, "criterion": self.criterion})

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """What is left of all, and where that pays."""
        share = sum(found.kept.values()) / sum(found.more["whole"].values())
        return (f"{share:.1%} of synapses left; unrolled hardware leaves them out: flow estimate GRAPH --unrolled",)


class Synapses(RankedSynapses):
    """Method synapses: single synapses of binary layers, which become weights of 0."""

    share: Annotated[float, Field(ge=0, le=0.99)] = Field(default=0.5, description="of the synapses to remove")
    layers: Annotated[tuple[str, ...], Field(strict=False, max_length=1000)] = Field(
        default=(), description="only in these; empty: in all"
    )

    def check(self, asked: MethodRequest) -> None:
        """Refuse, too, layers that are not there, and a share of 0."""
        super().check(asked)
        names = [layer.name for layer in asked.shape.layers()]
        for name in self.layers:
            if name not in names:
                raise Problem(f"there is no layer {name!r}", key=self.key("layers"), hint=f"one of {', '.join(names)}")
        if self.share == 0:
            raise Problem("a share of 0 removes nothing", key=self.key("share"), hint=f"give more, or {OFF}")

    def prune(self, given: MethodInput) -> Pruned:
        """Remove the share, step by step."""
        from ....models.prune.synapses import SynapseSpec, prune_synapses

        wanted = dict.fromkeys(self.layers, self.share) if self.layers else self.share
        spec = SynapseSpec(wanted, self.steps, self.criterion, seed=given.seed)
        how = (given.plan, self.counted(given), given.progress, given.checkpoint)
        made, taken = prune_synapses(*given.work, spec, *how, memories=given.memories)
        return self.told(made, [RemovalStep(one.kept, made.spec.macs(), one.before, one.after) for one in taken])

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return f"Synapses ranked by {found.criterion}, removed and fine-tuned"
