"""The allocator of the stage `prune`: sensitivity on the packed engine against costs of the folded hardware."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ..graphs.folding import decides
from ..recipe.objects import export_properties
from ..recipe.schema import Recipe
from ..results.rankings import SensitivityRow
from ..results.stages import BY_SENSITIVITY
from ..run.typed_json import from_json, to_json
from .hardware_costs import ALL, PARTS_OF_COST, HardwareCosts
from .sensitivity import Candidates, measured_curves, sensitivity_curves, sensitivity_rows
from .structure import layer_graph

if TYPE_CHECKING:
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.allocation.greedy import Objective
    from ...models.prune.spec import Allocation, Situation

Facts = dict[str, Any]


def hardware_costs(recipe: Recipe, graph: Graph) -> HardwareCosts:
    """Costs of narrower networks, on the recipe's target or its budget's part and rate, by the recipe's folding.

    Raises:
        Problem: the network cannot be compiled, or there is no such part.
    """
    from ..recipe.parts import part_at

    target, settings = recipe.target, recipe.prune
    rate = settings.budget.get("fps", target.fps)
    if isinstance(cycles := settings.budget.get("cycles"), float):
        # A budget of cycles is what the network is folded for.
        rate = target.clock_mhz * 1e6 / cycles
    key, name = ("prune.budget", settings.budget["part"]) if "part" in settings.budget else ("target.part", target.part)
    chip = part_at(recipe, key, str(name))
    return HardwareCosts.of(graph, float(rate), target.clock_mhz, chip, settings.folding, by=target.cost_model)


@dataclass(slots=True)
class SensitivityAllocator:
    """Decides widths by accuracy lost and hardware saved; the same in the same situation.

    Attributes:
        recipe: says what is saved, and on how many images accuracy is measured.
        folder: where measured accuracies are kept; None keeps none.
        report: called with cells of the sensitivity table done and in all.
    """

    recipe: Recipe
    folder: Path | None
    report: Callable[[int, int], None] | None = None
    _costs: HardwareCosts | None = field(default=None)

    def __call__(self, situation: Situation) -> Allocation:
        """How many channels each layer keeps after this step.

        Raises:
            Problem: a budget that no network meets (status 1), or images that cannot judge; at its place in the recipe.
        """
        from ...models.prune.allocation.greedy import Space, allocate, equal_shares, explore
        from ...models.prune.allocation.sensitivity import MeasuredAccuracy, separates
        from ...models.prune.spec import Allocation
        from ...models.prune.widths import highest

        settings = self.recipe.prune
        objective = objective_of(self.recipe)
        costs = self._hardware(situation.original)
        widths = situation.widths
        present = {name: len(scores) for name, scores in situation.scores.items()}
        whole = costs(widths)
        now = objective.left(costs(present), whole)
        if objective.budget and now <= 1:
            return Allocation(present, stop="the budget is met")
        candidates = self._candidates(situation)
        curves = self._curves(situation, candidates)
        units, least = costs.units(settings.unit), dict.fromkeys(widths, settings.min_width)
        space = Space(widths, present, units, least, curves)
        first, share = objective.left(whole, whole), (situation.step + 1) / settings.steps
        last = 1.0 if objective.budget else 1.0 - settings.amount
        goal = first + (last - first) * share
        with self.recipe.at("prune.budget"):
            if objective.budget and situation.step == 0:
                # A budget out of reach is said before any fine-tuning.
                allocate(space, costs, objective, 1.0)
            kept = allocate(space, costs, objective, goal)
            equal = equal_shares(space, costs, objective, goal)
        measured = MeasuredAccuracy(candidates, candidates.digest(), self.folder)

        def accuracy(chosen: Mapping[str, int]) -> float:
            left = {name: width for name, width in chosen.items() if width < present[name]}
            return measured({name: highest(situation.scores[name], width) for name, width in left.items()})

        tried: list[dict[str, float | str]] = []
        chosen_by = BY_SENSITIVITY
        if separates(curves, len(candidates.labels)):
            # A table of single groups knows nothing of what all of them cost together.
            if equal is not None and equal != kept and accuracy(equal) > accuracy(kept):
                kept, chosen_by = equal, "equal shares, which measured better"
        elif equal is not None:
            kept, chosen_by = equal, "equal shares: the table tells no group from another"
        if kept != present and settings.explore:
            kept, tried = explore(space, kept, costs, objective, accuracy, settings.explore, self.recipe.seed, goal)
        reached = objective.left(costs(kept), whole)
        stop = f"no group can lose more: {reached:.2%} is left, asked was {goal:.2%}" if reached > goal else ""
        facts: Facts = {
            "cost_before": costs(present),
            "cost": costs(kept),
            "cost_unpruned": whole,
            "left": reached,
            "predicted_loss": space.loss(kept) - space.loss(present),
            "explored": tried,
            "chosen_by": chosen_by,
        }
        if not any("curves" in record["allocation"] for record in situation.records):
            facts["curves"] = to_json(sensitivity_rows(curves, candidates.measure))
        return Allocation(kept, facts, stop)

    def _hardware(self, network: Network | OwnNetwork) -> HardwareCosts:
        if self._costs is None:
            self._costs = hardware_costs(self.recipe, layer_graph(network, export_properties(self.recipe)))
        return self._costs

    def _candidates(self, situation: Situation) -> Candidates:
        from ...models.prune.allocation.sensitivity import check_subset

        settings = self.recipe.prune
        images, labels = situation.images[: settings.validation], situation.labels[: settings.validation]
        with self.recipe.at("prune.validation"):
            check_subset(labels, situation.original.spec.classes)
        graph = layer_graph(situation.network, export_properties(self.recipe))
        return Candidates.of(graph, situation.calibration[: settings.calibration], images, labels).by_likelihood()

    def _curves(self, situation: Situation, candidates: Candidates) -> Any:
        """The unpruned network's curves: measured at the first step, from the record at later ones."""
        for record in situation.records:
            if "curves" in record["allocation"]:
                return sensitivity_curves(from_json(list[SensitivityRow], record["allocation"]["curves"]))
        settings = self.recipe.prune
        return measured_curves(
            candidates,
            situation.scores,
            settings.unit,
            settings.min_width,
            settings.levels,
            self.folder,
            settings.jobs,
            self.report,
        )

    def describe(self) -> str:
        """What the decisions depend on beside the network and the images."""
        from ..recipe.parts import part_content

        settings = self.recipe.prune.model_dump(mode="json", exclude={"jobs"})
        return json.dumps([part_content({"prune": settings})["prune"], decides(self.recipe)], sort_keys=True)


def objective_of(recipe: Recipe) -> Objective:
    """What the recipe wants to save; "all" is LUT, BRAM18, cycles and energy, each with its weight.

    Raises:
        Problem: a part of the cost that is not known, or a number that is not positive.
    """
    from ...build.cost import blocks_of
    from ...build.schedule import cycles_for
    from ...models.prune.allocation.greedy import Objective
    from ..recipe.parts import part_at

    settings = recipe.prune
    shorthands = (("objective", settings.objective, ("all",)), ("budget", settings.budget, ("part", "fps")))
    for where, named, more in shorthands:
        for name in named:
            if name not in (*PARTS_OF_COST, *more):
                hint = f"parts are: {', '.join((*PARTS_OF_COST, *more))}"
                raise recipe.problem(f"prune.{where}", f"there is no part {name!r} of the cost", hint)
    for short, parts in (("part", ("lut", "bram18")), ("fps", ("cycles",))):
        if short in settings.budget and (twice := [name for name in parts if name in settings.budget]):
            raise recipe.problem("prune.budget", f"{short} says {twice[0]} already", "give one of them")
    budget: dict[str, float] = {}
    if "part" in settings.budget:
        chip = part_at(recipe, "prune.budget", str(settings.budget["part"]))
        budget |= {"lut": chip.lut, "bram18": blocks_of(chip, recipe.target.cost_model)}
    with recipe.at("prune.budget"):
        for name, value in settings.budget.items():
            if name == "part":
                continue
            if isinstance(value, str):
                raise Problem(f"{name} of {value!r}", hint="give a number")
            elif name == "fps":
                budget["cycles"] = cycles_for(value, recipe.target.clock_mhz)
            else:
                budget[name] = value
    with recipe.at("prune.objective"):
        weights = {name: value for name, value in settings.objective.items() if name != "all"}
        for name in ALL if "all" in settings.objective else ():
            weights[name] = weights.get(name, 0.0) + settings.objective["all"]
        return Objective(weights, budget)
