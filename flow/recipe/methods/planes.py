"""Input bit planes: the lowest bits of pixels are not read any more.

Needs `model: {input: planes}`. The first layer loses the channels of the planes that go.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bnnflow import Problem

from .method import Columns, Dropping, Lines, Measured, MethodInput, MethodRequest, Pruned, RemovalStep

if TYPE_CHECKING:
    from ...results.stages import PruningResult


class Planes(Dropping):
    """Method planes: the lowest input bit planes of a network of `model.input: planes`."""

    drop: Annotated[int, Field(ge=1, le=7)] | None = Field(
        default=None, description="so many at once; null: one by one while prune.max_loss holds"
    )

    counts: ClassVar[str] = "input planes"
    thing: ClassVar[str] = "plane"

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
