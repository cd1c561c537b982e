"""What a recipe names, as objects: images, networks and their shapes, graphs of ONNX files, training settings."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ..run.places import cache_folder, data_places
from .pruning_checks import check_latent, check_pruning
from .schema import Recipe

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.files.saved import Trained
    from ...models.networks.own import OwnSpec
    from ...models.networks.spec import NetworkSpec
    from ...models.training.ensemble import EnsembleSpec
    from ...models.training.train_spec import TrainSpec


def dataset(recipe: Recipe) -> Dataset:
    """The recipe's images, cut to the numbers that it allows.

    Raises:
        Problem: files are missing, damaged or not what their names say.
    """
    from ...models.data.load import load_dataset as load_data

    folder = recipe.data.dir
    if ":" in recipe.data.name and folder is None:
        folder = recipe.folder
    with recipe.at("data.name", named=True):
        return cut_to(load_data(recipe.data.name, folder, data_places(), cache_folder()), recipe)


def cut_to(images: Dataset, recipe: Recipe) -> Dataset:
    """The first images of each part, as many as the recipe allows."""
    from dataclasses import replace

    train_images, test_images = recipe.data.train_images, recipe.data.test_images
    return replace(
        images,
        train_images=images.train_images[:train_images],
        train_labels=images.train_labels[:train_images],
        test_images=images.test_images[:test_images],
        test_labels=images.test_labels[:test_images],
    )


def network_spec(recipe: Recipe, images: Dataset) -> NetworkSpec | OwnSpec | EnsembleSpec:
    """The network's shape for these images; the recipe must not name an ONNX file.

    Raises:
        Problem: sizes that are impossible, at their place in the recipe, or a network that cannot be pruned though
            the recipe wants it to be.
    """
    from ...models.networks.spec import NetworkSpec
    from ...models.networks.zoo import zoo_spec

    model = recipe.model
    if model.kind == "trained":
        return start_network(recipe, images).spec
    channels, height, width = images.train_images.shape[1:]
    shape, classes = (channels, height, width), len(images.classes)
    assert model.arch is not None
    if model.kind == "own":
        return _own_spec(recipe, shape, classes)
    try:
        if model.kind == "zoo":
            spec = zoo_spec(model.arch, shape, classes, model.width, **model.options())
        else:
            fields: dict[str, Any] = {key: getattr(model, key) for key in ("channels", "kernels", "pools", "hidden")}
            if model.arch == "resnet":
                fields |= {"padding": 0, "head": "average"}
            spec = NetworkSpec(arch=model.arch, input_shape=shape, classes=classes, **fields | model.options())  # type: ignore[arg-type]
    except Problem as problem:
        key = f"model.{problem.key}" if problem.key in type(model).model_fields else "model"
        raise recipe.problem(key, problem.in_place, problem.hint, problem.status) from problem
    check_pruning(recipe, spec)
    return spec


def start_network(recipe: Recipe, images: Dataset) -> Trained:
    """The trained network that a recipe starts from.

    Raises:
        Problem: at model.trained, where there is no such file, it is damaged, or not for these images; where the
            recipe asks for what cannot be done with it.
    """
    from ...models.files.saved import load_network
    from ...models.training.ensemble import joined

    path = trained_file(recipe)
    with recipe.at("model.trained", named=True):
        network = load_network(path, str(recipe.folder))
    spec = network.spec
    given = (*images.train_images.shape[1:], len(images.classes))
    if (*spec.input_shape, spec.classes) != given:
        wants, has = (
            f"images of {list(one[:3])} and {one[3]} classes" for one in ((*spec.input_shape, spec.classes), given)
        )
        what = f"{path.name} is for {wants}, {recipe.data.name} has {has}"
        raise recipe.problem("model.trained", what, "use the data set that it was trained on")
    if recipe.ensemble.members > 1:
        raise recipe.problem("ensemble.members", "members of an ensemble are trained from the start", "use members: 1")
    if recipe.prune.enabled:
        single = joined(network)
        check_pruning(recipe, single.spec)
        check_latent(recipe, single)
    return network


def trained_file(recipe: Recipe) -> Path:
    """The file that model.trained means: one that comes with bnnflow, or a path.

    Raises:
        Problem: there is neither; the hint names the closest.
    """
    from ...models.files.trained_names import trained_files

    name, known = str(recipe.model.trained), trained_files()
    path = known.get(name, Path(name))
    if not path.is_file():
        close = difflib.get_close_matches(name, known, 1, 0.5)
        listed = f"trained networks are: {', '.join(known)}, or a file of `flow pack` or weights.pt of a run"
        what = f"there is no trained network '{name}'"
        raise recipe.problem("model.trained", what, f"did you mean '{close[0]}'?" if close else listed)
    return path


def export_properties(recipe: Recipe) -> dict[str, str]:
    """What an exported file says of its input beside its annotation.

    A class of the user's that is trained here is trained on just these pixels, however much of its first quantizer
    they use; with weights from elsewhere, whether they fit is looked at, unless model.input says `partial`.
    """
    from ...transforms.ir.contract import CONTRACT_KEY, InputContract

    said = recipe.model.contract()
    if recipe.model.kind != "own" or (recipe.epochs == 0 and not (said is not None and said.partial)):
        return {}
    return {CONTRACT_KEY: InputContract("UINT8", partial=True).to_json()}


def onnx_graph(recipe: Recipe, images: Dataset) -> Graph:
    """The graph of the ONNX file that a recipe names, its input meaning what model.input or the file says.

    Raises:
        Problem: at model.onnx, where the file is absent, damaged, no network that other programs can judge, or not for
            these images and classes; at model.input, where it is not known how pixels become its inputs, or the file
            says otherwise.
    """
    from ...sim.engine.simulator import class_count
    from ...sim.inputs import image_inputs
    from ...transforms.passes.accept import AcceptInput, with_contract
    from ...transforms.passes.compile import level_of
    from ...transforms.reading.read import load, read
    from ...transforms.writing.standard import to_standard

    path = recipe.model.onnx
    assert path is not None
    with recipe.at("model.onnx", named=True):
        graph = read(path)
        if level_of(graph) != "network":
            what = f"{path.name} is of the level {level_of(graph)}, and a build starts with a network in QONNX"
            raise Problem(what, hint="name that file; commands on graphs, such as flow estimate, take any level")
        # What has no standard form no other program could judge.
        to_standard(load(path))
    with recipe.at("model.input", named=True):
        contract = recipe.model.contract()
        graph = graph if contract is None else with_contract(graph, contract)
        accepted = AcceptInput()(graph).graph
        known = accepted.input_contract
        if known is not None and not known.knows_data:
            what = "it is not known how pixels become the floats that this network takes"
            raise Problem(what, hint="say it, for example `input: pixels/255` or `input: uint8`")
        made = image_inputs(accepted, images.test_images[:1])
    wanted, given = accepted.input_type.shape, images.test_images.shape[1:]
    if made.shape[1:] != wanted:
        what = f"{path.name} takes images of {list(wanted)}, {recipe.data.name} has {list(given)}"
        raise recipe.problem("model.onnx", what, "use the data set that the network was trained on")
    classes = class_count(graph)
    if classes == 1:
        what = f"{path.name} gives one number per image, of which no accuracy can be told"
        raise recipe.problem("model.onnx", what, "flow compile and flow estimate take it")
    if classes != len(images.classes):
        what = f"{path.name} tells {classes} classes apart, {recipe.data.name} has {len(images.classes)}"
        raise recipe.problem("model.onnx", what, "use the data set that the network was trained on")
    return graph


def _own_spec(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> OwnSpec:
    from ...models.networks.own import OwnSpec

    if recipe.ensemble.members > 1:
        what = "only the networks of `flow models`, mlp, cnn and resnet, can be members of an ensemble"
        raise recipe.problem("ensemble.members", what, "use members: 1")
    assert recipe.model.arch is not None
    contract = recipe.model.contract()
    ops = contract.steps if contract is not None else ()
    for op in ops:
        size = max(op.scale.size, op.shift.size, op.divisor.size)
        if size not in (1, shape[0]):
            what = f"{size} numbers per channel for images of {shape[0]} channels"
            raise recipe.problem("model.input", what, "give one number, or one per channel")
    steps = tuple(tuple(tuple(part.tolist()) for part in (op.scale, op.shift, op.divisor)) for op in ops)
    spec = OwnSpec(recipe.model.arch, recipe.model.args, shape, classes, str(recipe.folder), steps)
    check_pruning(recipe, spec)
    return spec


def make_network(recipe: Recipe, images: Dataset) -> Trained:
    """The network of a recipe before training here.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.files.saved import network_of

    if recipe.model.kind == "trained":
        return start_network(recipe, images)
    spec = network_spec(recipe, images)
    from ...models.networks.spec import NetworkSpec
    from ...models.training.ensemble import EnsembleNetwork, EnsembleSpec

    assert not isinstance(spec, EnsembleSpec)
    if recipe.ensemble.members > 1:
        assert isinstance(spec, NetworkSpec)
        return EnsembleNetwork(EnsembleSpec(spec, (1,) * recipe.ensemble.members), recipe.seed)
    try:
        network = network_of(spec, seed=recipe.seed)
    except Problem as problem:
        raise recipe.problem(problem.key or "model.arch", problem.what, problem.hint, problem.status) from problem
    if recipe.model.weights is not None:
        from ...models.files.checkpoint import load_weights
        from ...models.networks.own import OwnNetwork

        assert isinstance(network, OwnNetwork)
        with recipe.at("model.weights", named=True):
            load_weights(network.body, recipe.model.weights)
    return network


_HELD_OUT = 0.1
# Multiply-accumulate operations: of 340 million a step (FashCNN) two threads gain nothing on a busy machine.
_SMALL_STEP = 100_000_000


def train_settings(recipe: Recipe) -> TrainSpec:
    """How the recipe trains; 0 epochs where weights are given and it does not say how many."""
    from ...models.training.train_spec import TrainSpec

    settings = recipe.train.model_dump(exclude={"threads", "norm_images", "flip_window", "epochs", "validation"})
    share = held_out_share(recipe)
    return TrainSpec(
        recipe.epochs,
        seed=recipe.seed,
        validation=share,
        bit_errors=recipe.fault_training.bit_errors(),
        approximation=recipe.approximation.approximation(),
        **settings,
    )


def held_out_share(recipe: Recipe) -> float:
    """Share of the training images that training never sees: where pruning measures, a tenth if nothing is said.

    What a network knows by heart does not say what removing a channel costs.
    """
    if recipe.train.validation is not None:
        return recipe.train.validation
    pruning = recipe.prune
    by_sensitivity = pruning.method == "filters" and pruning.allocation == "sensitivity"
    measures = by_sensitivity or pruning.method == "blocks" or pruning.max_loss is not None
    return _HELD_OUT if recipe.epochs and pruning.enabled and measures else 0.0


def set_threads(threads: int | None, products: int | None = None) -> None:
    """Use so many processor threads in torch.

    Args:
        threads: None for one where a step is small, which several threads would wait for each other in, else for as
            many as the process may use: what OMP_NUM_THREADS says, or the processors that it may run on.
        products: multiply-accumulate operations of a step forward; None where they are not known.
    """
    import torch

    small = products is not None and products < _SMALL_STEP
    torch.set_num_threads(threads or (1 if small else _processors()))


def step_products(spec: object, batch: int) -> int | None:
    """Multiply-accumulate operations of a step forward; None for classes of a user's."""
    from ...models.networks.spec import NetworkSpec
    from ...models.training.ensemble import EnsembleSpec

    # Members of an ensemble are trained and run one by one.
    one = spec.member if isinstance(spec, EnsembleSpec) else spec
    return one.macs() * batch if isinstance(one, NetworkSpec) else None


def _processors() -> int:
    import os

    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
