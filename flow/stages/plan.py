"""What a recipe's pruning would leave, as far as it is known before training: what removes nothing is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.ir.graph import Graph
from ..pruning.allocator import hardware_costs, objective_of
from ..pruning.hardware_costs import PARTS_OF_COST
from ..pruning.held_out import HeldOut
from ..pruning.prune import recovery
from ..recipe.schema import Recipe

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.prune.allocation.greedy import Objective
    from ..pruning.hardware_costs import HardwareCosts

_OFF = "or set `prune: {enabled: false}`"


def check_plan(recipe: Recipe, whole: Mapping[str, int]) -> tuple[str, ...]:
    """Refuse a plan that by its numbers removes nothing; returns notes on parts that stay whole.

    Args:
        recipe: its pruning.
        whole: channels of the unpruned network, by group.

    Raises:
        Problem: at its place in the recipe.
    """
    settings = recipe.prune
    if settings.method != "filters" or settings.allocation != "uniform":
        return ()
    from ...models.prune.schedule import widths_after
    from ...models.prune.spec import PruneSpec

    rounds = (settings.amount, settings.steps, settings.unit, settings.images, recovery(recipe), recipe.seed)
    left = widths_after(whole, PruneSpec(*rounds, least=settings.min_width))
    stay = [name for name, width in whole.items() if left[name] == width]
    if len(stay) < len(whole):
        few = f"{', '.join(f'{name} {whole[name]:,}' for name in stay[:6])}{', ...' if len(stay) > 6 else ''}"
        return (f"pruning leaves {few} whole: {_too_little(recipe)}",) if stay else ()
    widths = ", ".join(f"{name} {width:,}" for name, width in list(whole.items())[:6])
    if not whole:
        raise recipe.problem("prune.enabled", "the network has no hidden layer to prune", _OFF.removeprefix("or "))
    what = f"nothing would be removed of {widths}{', ...' if len(whole) > 6 else ''}: {_too_little(recipe)}"
    if not recipe.says("prune.enabled", "prune.method", "prune.amount", "prune.unit", "prune.min_width"):
        # Nobody asked for it: pruning is on where nothing is said about it.
        return (f"the pruned network will be the unpruned one, fine-tuned: {what}",)
    repair = f"set prune.unit: {_helpful_unit(whole, settings.amount)}" if settings.amount else "give a share that goes"
    raise recipe.problem("prune.amount", what, f"{repair}, {_OFF}")


def _too_little(recipe: Recipe) -> str:
    settings = recipe.prune
    if settings.amount == 0:
        return "prune.amount is 0"
    kept = f", and prune.min_width {settings.min_width} stay" if settings.min_width > 1 else ""
    return f"{settings.amount:.0%} rounds to less than prune.unit {settings.unit}{kept}"


def _helpful_unit(whole: Mapping[str, int], amount: float) -> int:
    """The largest power of two that lets the widest group lose `amount`, at least 1."""
    unit = 1
    while 2 * unit <= max(whole.values()) * amount:
        unit *= 2
    return unit


def check_costs(recipe: Recipe, widths: Mapping[str, int], graph: Graph) -> None:
    """Refuse a budget that is met already or never, and an objective that nothing can be saved of.

    Args:
        recipe: with or without allocation sensitivity.
        widths: channels of the unpruned network, by group.
        graph: the network, at the network level.

    Raises:
        Problem: at its place in the recipe; status 1 for a budget that no network meets.
    """
    from ...models.prune.allocation.greedy import Space, allocate
    from ...models.prune.allocation.sensitivity import SensitivityCurve, levels

    settings = recipe.prune
    if settings.method != "filters" or settings.allocation != "sensitivity":
        return
    objective, costs = objective_of(recipe), hardware_costs(recipe, graph)
    removed = {
        name: levels(width, settings.unit, settings.min_width, settings.levels) for name, width in widths.items()
    }
    least = {name: width - (removed[name] or (0,))[-1] for name, width in widths.items()}
    if least == widths:
        what = f"no layer can lose prune.unit {settings.unit} at any of prune.levels"
        raise recipe.problem("prune.unit", what, f"use a smaller unit, {_OFF}")
    _check_worth(recipe, objective, costs, least)
    if not objective.budget or objective.left(costs(least), costs({})) <= 1:
        return
    # Nearly always the narrowest network is the cheapest; where it is too dear, the others are asked, too.
    curves = {
        name: SensitivityCurve(name, width, (0, *removed[name]), (1.0,) * (len(removed[name]) + 1))
        for name, width in widths.items()
        if removed[name]
    }
    space = Space(widths, widths, costs.units(settings.unit), dict.fromkeys(widths, settings.min_width), curves)
    with recipe.at("prune.budget"):
        allocate(space, costs, objective, 1.0)


def _check_worth(recipe: Recipe, objective: Objective, costs: HardwareCosts, least: Mapping[str, int]) -> None:
    whole = costs({})
    if objective.budget:
        if objective.left(whole, whole) <= 1:
            parts = ", ".join(f"{name} {whole[name]:,.0f} of {limit:,.0f}" for name, limit in objective.budget.items())
            what = f"the unpruned network meets the budget ({parts}), so nothing would be removed"
            raise recipe.problem("prune.budget", what, f"give less, {_OFF}")
        return
    if recipe.prune.amount == 0:
        raise recipe.problem("prune.amount", "an amount of 0 removes nothing", f"give more, {_OFF}")
    if objective.left(whole, whole) <= 1 - recipe.prune.amount or objective.left(costs(least), whole) >= 1:
        said = ", ".join(f"{name} {whole[name]:,.0f}" for name in objective.weights)
        what = f"there is nothing to save: the network has {said}, and no smaller one has less"
        narrow = costs(least)
        able = [name for name in PARTS_OF_COST if narrow[name] < whole[name]]
        hint = f"name a part of the cost that gets less, such as {able[0]}" if able else f"prune otherwise, {_OFF}"
        raise recipe.problem("prune.objective", what, hint)


def check_labels(recipe: Recipe, images: Dataset, real: bool) -> None:
    """Whether the images that allocation by sensitivity measures on can judge.

    Args:
        recipe, images: what they say.
        real: whether the labels are the data set's.

    Raises:
        Problem: at prune.validation.
    """
    from ...models.prune.allocation.sensitivity import check_subset
    from ...models.prune.spec import apart

    settings = recipe.prune
    if settings.method != "filters" or settings.allocation != "sensitivity":
        return
    count, classes = len(images.train_images), len(images.classes)
    out, _ = apart(count, recipe.seed, HeldOut.of(recipe, images.train_labels).if_any)
    labels = images.train_labels[out][: settings.validation]
    with recipe.at("prune.validation"):
        check_subset(labels if real else np.arange(len(labels)) % classes, classes)
