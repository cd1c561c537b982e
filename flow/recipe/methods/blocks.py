"""Whole residual units: each time the one whose loss is least.

Needs `model.arch: resnet`, or joins in a class of yours or a QONNX file. With `join: integer` a unit is one
convolution, with `thresholded` a block of two; the first of every later stage shrinks the map and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

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
    from ....transforms.ir.graph import Graph
    from ...results.stages import PruningResult


class Blocks(Dropping):
    """Method blocks: whole residual units (what one join adds), each time the one whose loss is least."""

    drop: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="so many; null: as many as prune.max_loss allows"
    )

    counts: ClassVar[str] = "residual units"
    file_defaults: ClassVar[Mapping[str, Any] | None] = {}
    thing: ClassVar[str] = "unit"
    takes_classes: ClassVar[bool] = True

    def check(self, asked: MethodRequest) -> None:
        """Refuse networks without units that can go, or with fewer."""
        from ....models.prune.surgery import most_removable

        if not asked.is_built_in:
            self.check_goal(asked)
            return  # which units a class has is seen in its graph
        spec = asked.shape
        if spec.is_chain:
            what = f"{spec.arch} has no residual joins, and no units to drop"
            raise Problem(what, key="prune.method", hint="use `model: {arch: resnet}`, or another method")
        can = most_removable(spec)
        if not can:
            what = (
                "no residual unit can go: the first of every later stage shrinks the map, and the first stage keeps one"
            )
            raise Problem(what, key="prune.method", hint="give the first stage two blocks, or use `join: integer`")
        self.check_goal(asked)
        self.check_count(can)

    def check_count(self, can: int) -> None:
        """Refuse to drop more than can go."""
        if self.drop is not None and self.drop > can:
            what = f"{self.drop} residual units, of which {can} can go"
            raise Problem(what, key=self.key("drop"), hint=f"at most {can}")

    def prune(self, given: MethodInput) -> Pruned:
        """Drop `drop` units, or as many as the loss allows."""
        from ....models.prune.blocks import reduce_blocks

        assert given.units is not None
        units, network = given.units(), cast("Any", given.network)
        made, taken = reduce_blocks(
            network,
            given.images,
            given.labels,
            given.held,
            given.plan,
            self.drop,
            given.max_loss or 0.0,
            given.progress,
            given.checkpoint,
            memories=given.memories,
            units=units,
        )
        steps = [
            RemovalStep({"blocks": one.left}, one.macs, one.before, one.after, one.undone, {"dropped": one.dropped})
            for one in taken
        ]
        facts = {"dropped": [one.dropped for one in taken if not one.undone]}
        kept = {"blocks": len(units.names(made))}
        return Pruned(made, kept, steps, facts, self.stopped(steps, given))

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Drop `drop` units of a file's network, or as many as the loss allows, each time the one whose loss is least.

        What each costs is measured with norms and thresholds re-estimated, without training.
        """
        from ....transforms.residual_units import ResidualUnit, readers_of, residual_units
        from ....transforms.synapses import products

        self.check_amount(given.max_loss)
        graph, steps, units = given.graph, list[RemovalStep](), residual_units(given.graph)
        if not units:
            what = "the network has no residual join whose one side goes around layers without weights of its own"
            raise Problem(what, key="prune.method", hint="use method filters")
        if self.drop is not None and self.drop > len(units):
            what = f"{self.drop} residual units, of which {len(units)} can go"
            raise Problem(what, key=self.key("drop"), hint=f"at most {len(units)}")
        whole = {unit.name: 1 for unit in units}

        def change_of(unit: ResidualUnit) -> GraphChange:
            return GraphChange(partial(_dropped, name=unit.name), {*readers_of(graph, unit), unit.shortcut})

        floor = given.right(graph) - (given.max_loss or 0.0)
        while units and (self.drop is None or len(steps) < self.drop):
            tried = [(given.change(graph, change_of(unit)), unit) for unit in units]
            losses = [given.right(smaller) for smaller, _ in tried]
            best = max(range(len(tried)), key=losses.__getitem__)
            smaller, unit = tried[best]
            tuned = given.tune(smaller, change_of(unit))
            after = given.right(tuned)
            undone = self.drop is None and after < floor
            left = dict.fromkeys((each.name for each in residual_units(tuned)), 1)
            record = {"dropped": unit.name}
            steps.append(RemovalStep(left, products(tuned), losses[best], after, undone, record))
            if undone:
                break
            graph, units = tuned, residual_units(tuned)
        kept = {name: int(name in {unit.name for unit in residual_units(graph)}) for name in whole}
        return PrunedGraph(graph, whole, kept, steps, "", self.stopped(steps, given))

    def measure(self, given: MethodInput, draws: int) -> Measured:
        """What goes with each unit, and accuracy without it; nothing is drawn."""
        from ....models.prune.blocks import block_losses
        from ....models.training.evaluate import accuracy

        assert given.units is not None
        progress, network, units = given.progress, cast("Any", given.network), given.units()
        shown = None if progress is None else lambda done, total: progress(done, total, {})
        losses = block_losses(network, *given.held, given.images, given.plan.augment, given.seed, shown, units)
        whole, weights, macs = accuracy(network, *given.held), units.weights(network), units.macs(network)
        images = len(given.held[1])
        rows = [
            (one.name, f"{one.macs / macs:.1%}", f"{one.weights / weights:.1%}", f"{one.without:.2%}") for one in losses
        ]
        facts = {"images": images, "weights": weights, "blocks": [asdict(one) for one in losses]}
        return Measured(
            facts | {"accuracy": whole, "macs": [macs]},
            (
                f"accuracy on {images:,} held training images, {whole:.2%} with all units",
                Columns("", ("unit", "operations", "weights", "accuracy without it"), tuple(rows)),
                "operations, weights: share of the network's that goes with the unit; accuracy: batch norms "
                "re-estimated,",
                "no fine-tuning. Units that must stay are not listed: the first of every later stage shrinks the map.",
            ),
        )

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return "Residual units dropped, least important first, and fine-tuned"

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """Which are gone."""
        return (f"dropped {', '.join(found.more['dropped']) or 'none'}",)


def _dropped(graph: Graph, name: str) -> Graph:
    """The graph without the unit of this name; norms may have been added to it."""
    from ....transforms.residual_units import residual_units, without_unit

    return without_unit(graph, next(unit for unit in residual_units(graph) if unit.name == name))
