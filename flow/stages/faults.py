"""The work behind the stage `faults`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...transforms.reading.read import read
from ..graphs.campaign import campaign
from ..graphs.margins import margins
from ..recipe.schema import Recipe
from ..results.faults import FaultCampaign
from ..run.names import FOLDED
from .build import Build

if TYPE_CHECKING:
    from ...sim.faults import Grid, Plan, Workers


# Of the flips whose chance to turn a neuron is given, as of `flow margins`.
CERTIFIED_RATE = 0.01


def fault_settings(recipe: Recipe) -> tuple[Grid, Plan, Workers]:
    """The recipe's campaign.

    Raises:
        Problem: at its place in the recipe, for what is no model, protection, rate table or cluster.
    """
    from ...sim.faults import (
        EQUAL,
        METRICS,
        Chip,
        FaultModel,
        Grid,
        Plan,
        Protections,
        Rates,
        Workers,
        read_board,
        read_placement,
        read_rates,
    )
    from ...sim.faults.injection.layout import chosen

    settings = recipe.faults
    with recipe.at("faults.table"):
        rates = read_rates(settings.table) if settings.table else [Rates.of(rate) for rate in settings.rates]
    with recipe.at("faults.models"):
        for text in settings.models:
            if text != "single":
                model = FaultModel.parse(text)
                for each in rates if not model.shape.measured else ():
                    each.check(model)
    with recipe.at("faults.protections"):
        for text in settings.protections:
            Protections.parse(text)
    with recipe.at("faults.metrics"):
        for name in settings.metrics:
            chosen(name, METRICS, "metric")
    with recipe.at("faults.equal"):
        for name in settings.equal:
            chosen(name, EQUAL, "equal condition")
    with recipe.at("faults.cluster"):
        workers = Workers(settings.jobs, settings.cluster)
    with recipe.at("faults.max_maps"):
        plan = Plan(settings.maps, settings.interval, settings.max_maps)
    with recipe.at("faults.undervolting"):
        board = read_board(settings.undervolting) if settings.undervolting else None
    with recipe.at("faults.placement"):
        chip = Chip(board, read_placement(settings.placement) if settings.placement else None)
    with recipe.at("faults.voltages"):
        for volts in settings.voltages:
            chip.board.place(volts)
    seeds = settings.seeds or (recipe.seed,)
    grid = Grid(
        rates,
        settings.targets,
        settings.layers,
        settings.models,
        settings.protections,
        seeds,
        settings.fifo_depth,
        settings.voltages,
        chip,
    )
    return grid, plan, workers


def run_campaign(build: Build) -> FaultCampaign:
    """Run the recipe's campaign on every network of a run; results are added to `work/faults.sqlite`.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...sim.inputs import image_inputs

    settings, recipe = build.recipe.faults, build.recipe
    grid, plan, workers = fault_settings(recipe)
    store = build.run.path("work/faults.sqlite")
    store.parent.mkdir(exist_ok=True)
    images = build.dataset.test_images[: settings.images]
    labels = build.dataset.test_labels[: settings.images]
    report = build.progress("faults")
    graphs = {network: read(build.file(network, FOLDED)) for network in build.networks}
    fed = {network: image_inputs(graph, images) for network, graph in graphs.items()}
    with recipe.at("faults", named=True):
        found = campaign(
            graphs,
            fed,
            labels,
            grid,
            plan,
            workers,
            store,
            lambda done, total: report(done, total, {}),
            metrics=settings.metrics,
            equal=settings.equal if len(graphs) > 1 else (),
        )
    if not settings.certify:
        return found
    few = build.dataset.test_images[: settings.certify]
    with recipe.at("faults.certify"):
        certified = {
            network: margins(graph, image_inputs(graph, few), None, CERTIFIED_RATE, 0, jobs=settings.jobs)[0]
            for network, graph in graphs.items()
        }
    return replace(found, certified=certified)
