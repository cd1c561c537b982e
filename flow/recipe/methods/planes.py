"""Input bit planes: the lowest bits of pixels are not read any more.

Needs `model: {input: planes}`, or a QONNX file whose first operations take bits of the image apart, highest first. The
first layer loses the channels of the planes that go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bnnflow import Problem

from .method import (
    Columns,
    Dropping,
    GraphChange,
    GraphInput,
    Lines,
    Measured,
    MethodInput,
    MethodRequest,
    Pruned,
    PrunedGraph,
    RemovalStep,
)

if TYPE_CHECKING:
    from ...results.stages import PruningResult


class Planes(Dropping):
    """Method planes: the lowest input bit planes of a network of `model.input: planes`."""

    drop: Annotated[int, Field(ge=1, le=7)] | None = Field(
        default=None, description="so many at once; null: one by one while prune.max_loss holds"
    )

    counts: ClassVar[str] = "input planes"
    file_defaults: ClassVar[Mapping[str, Any] | None] = {}
    thing: ClassVar[str] = "plane"
    why_no_classes: ClassVar[str] = "it needs one network of `model: {input: planes}`"

    def check(self, asked: MethodRequest) -> None:
        """Refuse networks without planes, and dropping all of them."""
        spec = asked.shape
        if spec.input != "planes":
            what = f"the network reads {spec.input!r}, not bit planes"
            raise Problem(what, key="prune.method", hint="use `model: {input: planes}`, or another method")
        self.check_goal(asked)
        if self.drop is not None and self.drop >= spec.planes:
            what = f"{self.drop} of {spec.planes} planes cannot be dropped"
            raise Problem(what, key=self.key("drop"), hint=f"at most {spec.planes - 1}")

    def prune(self, given: MethodInput) -> Pruned:
        """Drop `drop` planes at once, or one by one."""
        from ....models.prune.planes import reduce_planes

        most = given.max_loss or 0.0
        made, taken = reduce_planes(
            *given.work,
            given.plan,
            self.drop,
            most,
            progress=given.progress,
            checkpoint=given.checkpoint,
            memories=given.memories,
        )
        steps = [
            RemovalStep(
                {"planes": one.planes},
                replace(made.spec, planes=one.planes).macs(),
                one.before,
                one.after,
                one.planes < made.spec.planes,
            )
            for one in taken
        ]
        first = [network.spec.layers()[0].weights for network in (given.built_in, made)]
        facts = {"first_layer_weights": first}
        return Pruned(made, {"planes": made.spec.planes}, steps, facts, self.stopped(steps, given))

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Drop `drop` planes of what a file's network reads at once, or one by one."""
        from ....transforms.input_planes import columns_left, input_planes, with_planes_at_zero, without_planes
        from ....transforms.synapses import products

        self.check_amount(given.max_loss)
        whole = max((len(one.parts) for one in input_planes(given.graph)), default=0)
        if not whole:
            what = "the network does not begin by taking its image apart into bits"
            raise Problem(what, key="prune.method", hint="use method filters")
        if self.drop is not None and self.drop >= whole:
            what = f"{self.drop} of {whole} planes cannot be dropped"
            raise Problem(what, key=self.key("drop"), hint=f"at most {whole - 1}")
        graph, left, steps = given.graph, whole, list[RemovalStep]()
        floor = given.right(graph) - (given.max_loss or 0.0)
        while left > 1 and (self.drop is None or not steps):
            fewer = left - (self.drop or 1)
            readers = tuple(columns_left(graph, fewer))
            masked = partial(with_planes_at_zero, left=fewer)
            change = GraphChange(partial(without_planes, left=fewer), readers, masked=masked)
            smaller = given.change(graph, change)
            before, tuned = given.right(smaller), given.tune(smaller, change)
            after = given.right(tuned)
            undone = self.drop is None and after < floor
            steps.append(RemovalStep({"planes": fewer}, products(tuned), before, after, undone))
            if undone:
                break
            graph, left = tuned, fewer
        return PrunedGraph(graph, {"planes": whole}, {"planes": left}, steps, "", self.stopped(steps, given))

    def measure(self, given: MethodInput, draws: int) -> Measured:
        """Accuracy with each plane made noise, made constant, and dropped with all lower ones."""
        from ....models.prune.planes import plane_losses
        from ....models.training.evaluate import accuracy

        losses = plane_losses(given.built_in, *given.held, given.images, draws, given.seed)
        whole, images = accuracy(given.built_in, *given.held), len(given.held[1])
        rows = [
            (
                f"{one.plane} (bit of {one.value})",
                f"{one.noise:.2%} +- {one.noise_spread:.2%}",
                f"{one.constant:.2%}",
                "" if one.dropped is None else f"{one.dropped:.2%}",
            )
            for one in losses
        ]
        title = f"accuracy on {images:,} held training images, {whole:.2%} with all planes"
        shown = (
            Columns(title, ("plane", "noise", "constant", "this and lower ones dropped"), tuple(rows)),
            "noise: its bits drawn anew with their own share of +1; constant: its more frequent bit everywhere;",
            "dropped: smaller first layer, batch norms re-estimated, no fine-tuning",
        )
        return Measured({"images": images, "planes": [asdict(one) for one in losses], "accuracy": whole}, shown)

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return "Lowest input bit planes dropped, and fine-tuned"

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """What the first layer saves."""
        weights, fewer = found.more["first_layer_weights"]
        return (f"{found.kept['planes']} planes left: weights of the first layer {weights:,} to {fewer:,}",)
