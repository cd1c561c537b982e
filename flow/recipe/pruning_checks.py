"""What a recipe asks of pruning that its network cannot give: said before any training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bnnflow import Problem

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

    if recipe.ensemble.members > 1:
        from ...models.training.ensemble import EnsembleSpec

        assert isinstance(spec, NetworkSpec)
        if recipe.train.flip_window:
            raise recipe.problem("train.flip_window", "flips of ensembles are not counted", "set it to 0")
        if recipe.prune.enabled:
            raise recipe.problem("prune.enabled", "ensembles cannot be pruned yet", "set `prune: {enabled: false}`")
        try:
            EnsembleSpec(spec, (1,) * recipe.ensemble.members)
        except Problem as problem:
            raise recipe.problem("ensemble.members", problem.what, problem.hint) from problem
    if not recipe.prune.enabled:
        return
    if recipe.prune.images < spec.classes:
        what = f"scores on {recipe.prune.images} images of {spec.classes} classes"
        raise recipe.problem("prune.images", what, f"give {spec.classes} or more")
    if recipe.prune.method == "filters":
        _check_criterion(recipe)
    elif isinstance(spec, NetworkSpec):
        _check_method(recipe, spec)
    else:
        what = f"classes of your own are pruned by their filters alone yet, not by {recipe.prune.method}"
        raise recipe.problem("prune.method", what, "use method: filters")


def check_latent(recipe: Recipe, network: Trained) -> None:
    """Whether a trained network that is not trained further has the latent weights that its pruning goes by.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.training.latent import HINT, layer_without_latent

    if recipe.prune.enabled and recipe.train.epochs is None:
        place, asks = _latent_use(recipe)
        name = layer_without_latent(network, network.weight_layers()) if place else ""
        if name:
            raise recipe.problem(place, f"{asks}, and {name} of {recipe.model.trained} has none", HINT)


def _latent_use(recipe: Recipe) -> tuple[str, str]:
    """The key of a recipe that asks for latent weights, and how; "" for none."""
    from ...models.relevance.criteria import Criterion

    prune = recipe.prune
    if prune.method == "ecqx":
        return "prune.method", "ecqx assigns latent weights"
    if prune.method == "synapses" and prune.synapses.criterion == "latent":
        return "prune.synapses.criterion", "synapses are ranked by latent weights"
    if prune.method == "filters" and "latent weights" in Criterion.parse(prune.criterion).needs:
        return "prune.criterion", f"{prune.criterion} ranks by latent weights"
    return "", ""


def _check_criterion(recipe: Recipe) -> None:
    from ...models.relevance.criteria import Criterion

    needs = Criterion.parse(recipe.prune.criterion).needs
    if "flips" in needs and not recipe.train.flip_window:
        what = f"{recipe.prune.criterion} ranks by flips that training does not count"
        raise recipe.problem("prune.criterion", what, "set `train: {flip_window: 20}`, the last epochs to count in")
    if "latent weights" in needs and recipe.train.optimizer == "bop":
        what = f"{recipe.prune.criterion} ranks by latent weights, and bop has none"
        raise recipe.problem("prune.criterion", what, "use another criterion, such as deeplift, or another optimizer")


def _check_method(recipe: Recipe, spec: NetworkSpec) -> None:
    prune, filters = recipe.prune, "use method: filters"
    if prune.allocation != "uniform":
        what = f"{prune.allocation!r} decides about whole filters, not about {prune.method}"
        raise recipe.problem("prune.allocation", what, filters)
    if prune.distill:
        raise recipe.problem("prune.distill", f"{prune.method} have no teacher", f"set it to 0, or {filters}")
    if prune.max_loss is not None and prune.method not in ("planes", "blocks"):
        what = f"{prune.method} go on to the end, whatever they lose"
        raise recipe.problem("prune.max_loss", what, "set it to null, or use method: filters, planes or blocks")
    match prune.method:
        case "masks" if not spec.is_chain:
            what = "masks of channels that residual joins share are not trained yet"
            raise recipe.problem("prune.method", what, filters)
        case "synapses":
            _check_synapses(recipe, spec)
        case "ecqx":
            _check_assigned(recipe, spec)
        case "planes":
            _check_planes(recipe, spec)
        case "blocks":
            _check_blocks(recipe, spec)


def _check_synapses(recipe: Recipe, spec: NetworkSpec) -> None:
    wanted, names = recipe.prune.synapses, [layer.name for layer in spec.layers()]
    if not (spec.weight_bits == 1 and spec.has_unit_weights):
        what = "only synapses of weights -1 and +1 can be removed"
        raise recipe.problem("prune.method", what, "train with weight_bits: 1 and weight_scale: none")
    if recipe.train.optimizer == "bop" and wanted.criterion == "latent":
        what = "synapses are ranked by latent weights, and bop has none"
        raise recipe.problem("prune.synapses.criterion", what, "use taylor, or another optimizer")
    if wanted.criterion.startswith("flips") and not recipe.train.flip_window:
        what = "flips are not counted in training"
        raise recipe.problem("prune.synapses.criterion", what, "set `train: {flip_window: 20}`")
    for name in wanted.layers:
        if name not in names:
            raise recipe.problem("prune.synapses.layers", f"there is no layer {name!r}", f"one of {', '.join(names)}")


def _check_assigned(recipe: Recipe, spec: NetworkSpec) -> None:
    optimizer = recipe.prune.optimizer or recipe.train.optimizer
    if "bop" in (optimizer, recipe.train.optimizer):
        raise recipe.problem("prune.method", "ecqx assigns latent weights, and bop has none", "use another optimizer")
    try:
        replace(spec, weight_kind="steps", weight_bits=recipe.prune.ecqx.bits, weight_scale="none")
    except Problem as problem:
        raise recipe.problem("prune.method", problem.what, problem.hint) from problem


def _check_planes(recipe: Recipe, spec: NetworkSpec) -> None:
    drop = recipe.prune.planes.drop
    if spec.input != "planes":
        what = f"the network reads {spec.input!r}, not bit planes"
        raise recipe.problem("prune.method", what, "use `model: {input: planes}`, or another method")
    _check_goal(recipe, "planes", drop)
    if drop is not None and drop >= spec.planes:
        what = f"{drop} of {spec.planes} planes cannot be dropped"
        raise recipe.problem("prune.planes.drop", what, f"at most {spec.planes - 1}")


def _check_blocks(recipe: Recipe, spec: NetworkSpec) -> None:
    from ...models.prune.surgery import most_droppable

    drop = recipe.prune.blocks.drop
    if spec.is_chain:
        what = f"{spec.arch} has no residual joins, and no units to drop"
        raise recipe.problem("prune.method", what, "use `model: {arch: resnet}`, or another method")
    can = most_droppable(spec)
    if not can:
        what = "no residual unit can go: the first of every later stage shrinks the map, and the first stage keeps one"
        raise recipe.problem("prune.method", what, "give the first stage two blocks, or use `join: integer`")
    _check_goal(recipe, "blocks", drop)
    if drop is not None and drop > can:
        what = f"{drop} residual units, of which {can} can go"
        raise recipe.problem("prune.blocks.drop", what, f"at most {can}")


def _check_goal(recipe: Recipe, things: str, drop: int | None) -> None:
    """Either a number says how many go, or the loss that is allowed."""
    most = recipe.prune.max_loss
    if drop is None and most is None:
        what = f"nothing says how many {things} are dropped"
        raise recipe.problem(f"prune.{things}.drop", what, "set it, or prune.max_loss, to 1 point for example")
    if drop is not None and most is not None:
        raise recipe.problem(f"prune.{things}.drop", "prune.max_loss says it, too", "give one of them")
