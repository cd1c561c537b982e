"""What a recipe asks of pruning that its network cannot give: said before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnnflow import Problem

from .methods.all import METHODS
from .methods.method import MethodRequest
from .schema import Recipe

if TYPE_CHECKING:
    from ...models.files.saved import Trained
    from ...models.networks.own import OwnSpec
    from ...models.networks.spec import NetworkSpec


def check_pruning(recipe: Recipe, spec: NetworkSpec | OwnSpec) -> None:
    """Whether the recipe's pruning, or its ensemble, fits a network.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.networks.spec import NetworkSpec

    if recipe.ensemble.members > 1 and isinstance(spec, NetworkSpec):
        from ...models.training.ensemble import EnsembleSpec

        if recipe.train.flip_window:
            raise recipe.problem("train.flip_window", "flips of ensembles are not counted", "set it to 0")
        with recipe.at("ensemble.members"):
            EnsembleSpec(spec, (1,) * recipe.ensemble.members)
    if not recipe.prune.enabled:
        return
    check_kind(recipe, spec)
    try:
        recipe.prune.chosen.check(_request(recipe, spec))
    except Problem as problem:
        raise recipe.problem(problem.key, problem.what, problem.hint, problem.status) from problem


def pruning_remarks(recipe: Recipe, spec: NetworkSpec | OwnSpec) -> list[str]:
    """What the recipe's method says of such a network before it runs."""
    return list(recipe.prune.chosen.remarks(_request(recipe, spec)))


def _request(recipe: Recipe, spec: NetworkSpec | OwnSpec) -> MethodRequest:
    train = recipe.train
    tuner = recipe.prune.optimizer or train.optimizer
    built_in = _is_built_in(recipe, spec)
    return MethodRequest(spec, train.optimizer, tuner, train.flip_window, recipe.prune.max_loss, built_in)


def _is_built_in(recipe: Recipe, spec: NetworkSpec | OwnSpec) -> bool:
    """Whether it is one network of `flow models`: an ensemble is pruned as a class of the user's would be."""
    from ...models.networks.spec import NetworkSpec

    return isinstance(spec, NetworkSpec) and recipe.ensemble.members == 1


def check_kind(recipe: Recipe, spec: NetworkSpec | OwnSpec) -> None:
    """Whether the recipe's method is for single built-in networks alone, and this is none.

    Raises:
        Problem: at prune.method.
    """
    method = recipe.prune.chosen
    if not _is_built_in(recipe, spec) and not method.takes_classes:
        whose = "classes of your own" if recipe.model.kind == "own" else "ensembles"
        able = ", ".join(name for name, one in METHODS.items() if one.takes_classes)
        what = f"{whose} are not pruned by {recipe.prune.method} in a run: {method.why_no_classes}"
        repair = f"use one of {able}"
        if method.file_defaults is not None:
            file = f"`flow prune RUN/base/network.onnx --method {recipe.prune.method}`"
            repair += f"; or set `prune: {{enabled: false}}`, build, and {file}"
        raise recipe.problem("prune.method", what, repair)


def check_latent(recipe: Recipe, network: Trained) -> None:
    """Whether a trained network that is not trained further has the latent weights that its pruning goes by.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.training.latent import HINT, layer_without_latent

    use = recipe.prune.chosen.latent_use()
    if recipe.prune.enabled and recipe.train.epochs is None and use is not None:
        name = layer_without_latent(network, network.weight_layers())
        if name:
            raise recipe.problem(use.key, f"{use.asks}, and {name} of {recipe.model.trained} has none", HINT)
