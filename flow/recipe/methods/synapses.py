"""Single synapses of binary layers become weights of 0.

Needs weights -1 and +1 without a scale (`weight_bits: 1`, `weight_scale: none`) and, by latent weights, another
optimizer than bop. Takes classes of yours and ensembles, whose layers of one bit that run once lose synapses, and QONNX
files. A layer with zeros is no XNOR layer: folded it has 2-bit weights (its sums are exact, its memory
twice as large); unrolled hardware alone leaves the zeros out, and the report adds its LUTs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bnnflow import Problem

from .method import (
    FLIP_HINT,
    OFF,
    GraphChange,
    GraphInput,
    LatentUse,
    Lines,
    Method,
    MethodInput,
    MethodRequest,
    Pruned,
    PrunedGraph,
    RemovalStep,
)

if TYPE_CHECKING:
    from ....models.networks.network import Network
    from ....models.networks.own import OwnNetwork
    from ....models.training.flips import FlipCounts
    from ....transforms.ir.tensor import Array
    from ...results.stages import PruningResult


class RankedSynapses(Method):
    """What methods that remove single synapses share: by what, in how many steps, and of which weights."""

    criterion: Literal["latent", "taylor", "flips", "flips-step", "random"] = Field(
        default="latent", description="|w|, |w dL/dw|, sign changes counted in training, or drawn"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="in which the share is reached")

    counts: ClassVar[str] = "synapses"
    leaves_zeros: ClassVar[bool] = True
    takes_classes: ClassVar[bool] = True
    file_defaults: ClassVar[Mapping[str, Any] | None] = {"criterion": "taylor"}

    def remarks(self, asked: MethodRequest) -> Iterable[str]:
        """That zeros cost memory in folded hardware."""
        yield (
            f"{self.name()} leaves weights of -1, 0 and +1: folded hardware stores 2 bits for each, twice as many as "
            "before; what the zeros save is in unrolled layers alone (`flow estimate --unrolled`)"
        )

    def check(self, asked: MethodRequest) -> None:
        """Refuse other weights than -1 and +1, and criteria that have nothing to go by."""
        # Which layers of a class have such weights is seen in its graph.
        if asked.is_built_in and not (asked.shape.weight_bits == 1 and asked.shape.has_unit_weights):
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

    def check_layers(self, names: Collection[str]) -> None:
        """Refuse layers that are not there, where the settings name some."""

    def macs(self, given: MethodInput, made: Network | OwnNetwork) -> int:
        """Products of an image, removed synapses included."""
        assert given.structure is not None
        return given.structure().macs(made)

    def rounds_of_graph(self, given: GraphInput, stays: Callable[[str, Array, Array, int], Array]) -> PrunedGraph:
        """Remove synapses of a graph in `steps`, with recovery after each.

        Args:
            given: the graph.
            stays: by layer name, scores, what is there and the step from 1: what stays; arrays have a layer's shape.
        """
        from ....transforms.synapses import products, synapses, without_synapses

        if self.criterion not in ("taylor", "random"):
            what = f"{self.criterion} ranks by what training leaves, and no file holds"
            raise Problem(what, key=self.key("criterion"), hint="taylor or random")
        there = synapses(given.graph)
        if not there:
            what = "no layer has weights of -1 and +1 alone"
            raise Problem(what, key="prune.method", hint="use method filters: it takes any weights")
        without_synapses(given.graph, there)
        graph, steps = given.graph, list[RemovalStep]()
        for step in range(1, self.steps + 1):
            drawn = given.seed + step if self.criterion == "random" else None
            scores, held = given.scores(graph, drawn), synapses(graph)
            keep = {name: stays(name, found, held[name], step) for name, found in scores.items()}
            keep = {name: kept for name, kept in keep.items() if not kept.all()}
            if not keep:
                what = "the share is less than one synapse of every layer"
                raise Problem(what, key=self.key("share"), hint="give a larger one")
            change = GraphChange(partial(without_synapses, keep=keep), tuple(keep), tuple(keep))
            smaller = given.change(graph, change)
            before = given.right(smaller)
            graph = given.tune(smaller, change)
            kept = {name: int(found.sum()) for name, found in synapses(graph).items()}
            steps.append(RemovalStep(kept, products(graph), before, given.right(graph)))
        whole = {name: int(found.sum()) for name, found in there.items()}
        return PrunedGraph(graph, whole, steps[-1].kept, steps, self.criterion)

    def told(self, made: Network | OwnNetwork, steps: Sequence[RemovalStep]) -> Pruned:
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
        if asked.is_built_in:
            self.check_layers([layer.name for layer in asked.shape.layers()])
        if self.share == 0:
            raise Problem("a share of 0 removes nothing", key=self.key("share"), hint=f"give more, or {OFF}")

    def check_layers(self, names: Collection[str]) -> None:
        """Refuse layers that are not there."""
        for name in self.layers:
            if name not in names:
                what = f"there is no layer {name!r} whose synapses can be removed"
                raise Problem(what, key=self.key("layers"), hint=f"one of {', '.join(names)}")

    def prune(self, given: MethodInput) -> Pruned:
        """Remove the share, step by step."""
        from ....models.prune.synapses import SynapseSpec, prune_synapses

        assert given.synapse_layers is not None
        spec = SynapseSpec(
            dict.fromkeys(self.layers or given.synapse_layers(), self.share),
            self.steps,
            self.criterion,
            seed=given.seed,
        )
        network: Any = given.network
        made, taken = prune_synapses(
            network,
            given.images,
            given.labels,
            given.held,
            spec,
            given.plan,
            self.counted(given),
            given.progress,
            given.checkpoint,
            memories=given.memories,
        )
        macs = self.macs(given, made)
        return self.told(made, [RemovalStep(one.kept, macs, one.before, one.after) for one in taken])

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Remove the share of each layer, step by step."""
        from ....models.prune.synapses import highest_share
        from ....transforms.synapses import synapses

        names = list(synapses(given.graph))
        for name in self.layers:
            if names and name not in names:
                what = f"{name!r} is no layer of weights -1 and +1"
                raise Problem(what, key=self.key("layers"), hint=f"one of {', '.join(names)}")
        if self.share == 0:
            raise Problem("a share of 0 removes nothing", key=self.key("share"), hint="give more")

        def stays(name: str, scores: Array, there: Array, step: int) -> Array:
            share = self.share * (1.0 - (1.0 - step / self.steps) ** 3) if name in (self.layers or names) else 0.0
            return highest_share(scores, there, share)

        return self.rounds_of_graph(given, stays)

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return f"Synapses ranked by {found.criterion}, removed and fine-tuned"
