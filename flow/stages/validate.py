"""All that can be wrong with a recipe, said before any training.

`flow check` and `flow build` both ask here, so that neither accepts what the other refuses. What is cheap to see comes
first; then the network is made, exported, compiled and folded without training, and everything that later stages take
from the recipe is tried on it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import TOOL_MISSING, USER_INPUT, Problem, __version__

from ...transforms.reading.read import files_of, read
from ..graphs.check import Checked, check_graph
from ..graphs.control import codes_of, memory_codes, refuse_primitives
from ..graphs.folding import decides, fold_for
from ..pruning.held_out import HeldOut
from ..pruning.structure import export_network, own_names, structure_of, synapse_layers, with_groups
from ..recipe.file import dump
from ..recipe.methods.blocks import Blocks
from ..recipe.methods.synapses import RankedSynapses
from ..recipe.objects import (
    cut_to,
    dataset,
    export_properties,
    make_network,
    network_spec,
    train_settings,
    trained_file,
)
from ..recipe.parts import part_files, target_part
from ..recipe.pruning_checks import pruning_remarks
from ..recipe.schema import Recipe
from ..run.files import explain, sha256_of
from ..run.places import data_places
from .faults import fault_settings
from .hardware import cosim_wanted, family_wanted, route_wanted, synth_wanted
from .plan import check_costs, check_labels, check_plan

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.files.saved import Trained
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...sim.faults import Grid
    from ...transforms.ir.graph import Graph

MEMO = "work/checked.json"
_NORM_IMAGES = 100


@dataclass(frozen=True, slots=True)
class Validated:
    """A recipe in which nothing is wrong, or whose network does not compile.

    Attributes:
        images: the data set's, or such of its shape where its files are not here.
        checked: what becomes of every operator; `problem` says why the network does not compile.
        notes: what a user should know before training.
        left_out: what could not be looked at.
    """

    images: Dataset
    checked: Checked
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def validate(recipe: Recipe, without_files: bool = False) -> Validated:
    """Look for everything in a recipe that a build would refuse.

    Args:
        recipe: of `load_recipe`.
        without_files: whether the files of a published data set may be absent.

    Raises:
        Problem: at its place in the recipe, as the stage would say it; not for a network that does not compile, which
            is in the result.
    """
    _check_names(recipe)
    images, left_out = _images(recipe, without_files)
    real = not left_out
    notes = [*recipe.made_void, *slow_products(recipe)]
    if recipe.model.onnx is not None:
        from .train import taken_over

        taken_over(recipe, images, recipe.model.onnx)
        checked = check_graph(recipe.model.onnx, recipe.model.contract())
        if checked.problem is None:
            _check_hardware(recipe, checked.graphs["dataflow"])
        return Validated(images, checked, tuple(notes), left_out)
    if recipe.model.kind in ("shape", "zoo"):
        network_spec(recipe, images)
    network = make_network(recipe, images)
    _check_training(recipe, network, images)
    if recipe.epochs == 0 and recipe.model.kind in ("shape", "zoo"):
        notes.append("train.epochs is 0: the weights are random, and so are accuracies")
    with tempfile.TemporaryDirectory() as folder:
        from ...models.training.ensemble import joined

        exported = Path(folder) / "network.onnx"
        try:
            export_network(network.eval(), exported, export_properties(recipe))
        except OSError as error:
            raise explain(error, exported.parent) from error
        checked = check_graph(exported)
        if checked.problem is not None:
            return Validated(images, checked, tuple(notes), left_out)
        _check_hardware(recipe, checked.graphs["dataflow"])
        if recipe.prune.enabled:
            single = joined(network)
            graph = own_names(single, read(exported))
            structure = structure_of(single, graph)
            if recipe.prune.chosen.removes_channels:
                with recipe.at("prune.method"):
                    with_groups(structure, single)
            widths = structure.widths
            if isinstance(recipe.prune.chosen, RankedSynapses):
                _check_synapses(recipe, recipe.prune.chosen, single, graph)
            if isinstance(recipe.prune.chosen, Blocks):
                _check_units(recipe, recipe.prune.chosen, single, images)
            if recipe.prune.method == "filters":
                _try_criterion(recipe, "prune.criterion", recipe.prune.ranking, single, images)
            notes += [*pruning_remarks(recipe, single.spec), *check_plan(recipe, widths)]
            check_costs(recipe, widths, graph)
            check_labels(recipe, images, real)
    _check_optimizers(recipe, network)
    return Validated(images, checked, tuple(notes), left_out)


def validate_build(recipe: Recipe, folder: Path) -> tuple[Dataset, tuple[str, ...]]:
    """`validate`, or nothing of it where a run folder says that the same was found right before.

    Returns:
        The images, and notes.

    Raises:
        Problem: as `validate`, and a network that does not compile.
    """
    try:
        known = json.loads((folder / MEMO).read_text())["key"]
    except (OSError, ValueError, TypeError, KeyError):
        known = ""
    images = dataset(recipe) if known else None
    if images is not None and known == memo_key(recipe, images):
        return images, ()
    found = validate(recipe)
    if found.checked.problem is not None:
        raise found.checked.problem
    return found.images, found.notes


def memo_key(recipe: Recipe, images: Dataset) -> str:
    """sha256 of all that `validate` looks at; "" where that cannot be said: modules of the user's may read anything."""
    if recipe.model.kind == "own":
        return ""
    faults = recipe.faults
    files = [path for path in (faults.table, faults.undervolting, faults.placement) if path is not None]
    files += files_of(recipe.model.onnx) if recipe.model.onnx is not None else []
    files += part_files(recipe)
    if recipe.model.kind == "trained":
        files.append(trained_file(recipe))
    counts = [list(images.train_images.shape), list(images.test_images.shape), images.files]
    calibration = decides(recipe)["calibration"]
    whole = [__version__, dump(recipe), counts, [sha256_of(path) for path in files], calibration]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _check_names(recipe: Recipe) -> None:
    """Words and numbers that mean something by themselves: fault models, the part, parts of the cost, packages."""
    from ..pruning.allocator import objective_of

    if recipe.faults.enabled:
        fault_settings(recipe)
    chip = target_part(recipe)
    if recipe.prune.enabled and recipe.prune.allocation == "sensitivity":
        objective_of(recipe)
    with recipe.at("rtl.primitives"):
        refuse_primitives(recipe.rtl.primitives, chip)
    with recipe.at("rtl.protect"):
        codes_of(recipe.rtl.protect)
    with recipe.at("cosim.when"):
        cosim_wanted(recipe)
    with recipe.at("synth.when"):
        wanted = synth_wanted(recipe)
    if wanted:
        with recipe.at("synth.family"):
            family_wanted(recipe)
    with recipe.at("route.when"):
        route_wanted(recipe)
    several = {"prune.jobs": recipe.prune.jobs if recipe.prune.enabled else 1}
    several["faults.jobs"] = recipe.faults.jobs if recipe.faults.enabled else 1
    for key, jobs in several.items():
        if jobs > 1 and find_spec("joblib") is None:
            what = f"{jobs} processes need the package joblib"
            raise recipe.problem(key, what, "pip install joblib, or set it to 1", TOOL_MISSING)


def _images(recipe: Recipe, without_files: bool) -> tuple[Dataset, tuple[str, ...]]:
    from ...models.data.known import stand_in
    from ...models.data.load import survey_data_sets

    name = recipe.data.name
    if without_files and recipe.data.dir is None and (made := stand_in(name)) is not None:
        found = next(row for row in survey_data_sets(None, data_places()) if row.name == name)
        if not found.where:
            said = f"the files of {name} are not here, so whether they are whole, and labels, were not looked at"
            return cut_to(made, recipe), (f"{said}: {found.how}",)
    return dataset(recipe), ()


def _check_synapses(recipe: Recipe, method: RankedSynapses, network: Network | OwnNetwork, graph: Graph) -> None:
    """Whether there are layers whose synapses the recipe's method can remove, and those that it names."""
    try:
        method.check_layers(synapse_layers(network, graph))
    except Problem as problem:
        raise recipe.problem(problem.key, problem.what, problem.hint) from problem


def _check_units(recipe: Recipe, method: Blocks, network: Network | OwnNetwork, images: Dataset) -> None:
    """Whether there are as many residual units as the recipe's method drops."""
    from ...models.training.batchnorm import reestimate
    from ..pruning.units import units_of

    # Sums of a network whose norms were never measured lie on thresholds, where floats say nothing.
    network = copy.deepcopy(network)
    reestimate(network, images.train_images[:_NORM_IMAGES])
    try:
        method.check_count(units_of(network, export_properties(recipe)).most(network))
    except Problem as problem:
        raise recipe.problem(problem.key, problem.what, problem.hint) from problem


def _try_criterion(recipe: Recipe, key: str, criterion: str, network: Network | OwnNetwork, images: Dataset) -> None:
    """Whether the criterion at a key can look into such a network, by scoring the untrained one on two images.

    What training leaves (flips, latent weights), and checks that are about numbers, are left to the stage.
    """
    from ...models.networks.twin import twin
    from ...models.relevance.criteria import OF_TRAINING, Criterion
    from ...models.relevance.sample import Sample
    from ...models.relevance.scores import score
    from ..pruning.sets import set_scores

    wanted = Criterion.parse(criterion)
    sets = partial(set_scores, properties=export_properties(recipe))
    two, labels = images.train_images[:2], images.train_labels[:2]
    try:
        for part in wanted.parts or (wanted,):
            if part.needs & OF_TRAINING or any(method.slow for method in part.methods):
                twin(network)
            else:
                score(network, part, Sample(two, labels, two[::-1]), recipe.seed, sets=sets, by_captum=False)
    except Problem as problem:
        if problem.status == USER_INPUT:
            raise recipe.problem(key, problem.in_place, problem.hint) from problem


def _check_training(recipe: Recipe, network: Trained, images: Dataset) -> None:
    """Options of training that the network, its images or this computer cannot follow."""
    from ...models.training.train import device_of

    with recipe.at("train.device"):
        device_of(recipe.train.device)
    if recipe.epochs and recipe.train.distill and recipe.model.kind == "own":
        what = "only the networks of `flow models` have a float counterpart"
        raise recipe.problem("train.distill", what, "leave it out")
    _check_fault_training(recipe, network, images)
    _check_approximation(recipe, network)
    if recipe.epochs:
        held, count = HeldOut.of(recipe, images.train_labels).images, len(images.train_images)
        if recipe.train.validation and not len(held):
            what = f"{recipe.train.validation:g} of {count:,} training images is none"
            raise recipe.problem("train.validation", what, f"{1 / count:.2g} or more, or 0 to hold none out")
        left = count - len(held)
        _check_batches(recipe, "train", left, recipe.train.batch, recipe.train.accumulate)
    if recipe.prune.enabled and recipe.prune.epochs:
        from ...models.prune.spec import apart

        out = HeldOut.of(recipe, images.train_labels).if_any
        left = len(apart(len(images.train_images), recipe.seed, out)[1])
        _check_batches(recipe, "prune", left, recipe.prune.batch, 1)


def _check_fault_training(recipe: Recipe, network: Trained, images: Dataset) -> None:
    from ...models.training.ensemble import EnsembleNetwork
    from .train import trained_memories

    settings = recipe.fault_training
    tuned = recipe.prune.enabled and recipe.prune.epochs > 0
    if not settings.used or not (recipe.epochs or tuned):
        return
    parts = (("training", recipe.epochs), ("fine-tuning", recipe.prune.epochs if tuned else 0))
    for part, epochs in parts:
        if 0 < epochs <= settings.ramp_epochs:
            what = f"rates that rise for {settings.ramp_epochs:,} epochs are not reached in {epochs:,} of {part}"
            raise recipe.problem("fault_training.ramp_epochs", what, f"give {epochs - 1:,} at most, or train longer")
    told = (
        ("map", settings.map),
        ("guide", settings.guide),
        ("p01", settings.directed),
        ("thresholds", settings.thresholds),
    )
    key = next((key for key, value in told if value), "")
    if key and isinstance(network, EnsembleNetwork):
        what = "of an ensemble's members neither scores nor memories are known in training"
        raise recipe.problem(f"fault_training.{key}", what, "give one rate for all weights")
    if isinstance(network, EnsembleNetwork):
        return
    if settings.map is not None and recipe.prune.enabled:
        what = "the pruned network has other memories than those that the map is of"
        raise recipe.problem("fault_training.map", what, "set `prune: {enabled: false}`, or give rates")
    if (settings.directed or settings.thresholds) and tuned and recipe.prune.method == "masks":
        what = "what the hardware stores is not known while masks are trained"
        raise recipe.problem(f"fault_training.{key}", what, "give weights, or use another prune.method")
    if settings.guide:
        _try_criterion(recipe, "fault_training.guide", settings.guide, network, images)
    memories = trained_memories(recipe)
    if memories is not None:
        known = memories(network)
        if settings.thresholds:
            with recipe.at("fault_training.thresholds"):
                known.thresholds(network)


def _check_approximation(recipe: Recipe, network: Trained) -> None:
    """Refuse approximate sums of a network of which it is not known what its hardware stores in training."""
    from ...models.training.approximation import approximated
    from ...models.training.ensemble import EnsembleNetwork

    settings = recipe.approximation
    if not settings.used or not recipe.epochs:
        return
    key = "approximation." + ("lta" if settings.lta else "capmin")
    if isinstance(network, EnsembleNetwork):
        raise recipe.problem(key, "members of an ensemble know no approximate sums", "set `ensemble: {members: 1}`")
    if recipe.prune.enabled:
        what = "pruning measures and fine-tunes with exact sums"
        raise recipe.problem(key, what, "set `prune: {enabled: false}`")
    if recipe.fault_training.used:
        what = "bit errors and approximate sums are not trained for at once"
        raise recipe.problem(key, what, "leave fault_training out")
    with recipe.at(key), approximated(network, settings.approximation()):
        pass


def _check_batches(recipe: Recipe, section: str, images: int, batch: int, parts: int) -> None:
    """Batch norms need 2 images in every part of every batch; batches differ by one image at most."""
    steps = ceil(images / batch)
    least = images // steps // parts if steps else 0
    if least < 2:
        what = f"{images} images in batches of {batch}" + (f" and {parts} parts" if parts > 1 else "")
        hint = "batch norm needs 2 images or more: take more images or larger batches" + (
            ", or fewer parts" if parts > 1 else ""
        )
        raise recipe.problem(f"{section}.batch", f"{what} leave parts of {least}", hint)


def _check_optimizers(recipe: Recipe, network: Trained) -> None:
    """Whether the optimizers take such weights; last, because bop makes signs of them."""
    from ...models.training.optimizers import Optimizers
    from ..pruning.prune import recovery

    plans = [("train", train_settings(recipe))] if recipe.epochs else []
    if recipe.prune.enabled and recipe.prune.epochs and not recipe.prune.chosen.leaves_zeros:
        plans.append(("prune", recovery(recipe)))
    for section, plan in plans:
        try:
            Optimizers(network, plan)
        except Problem as problem:
            said = getattr(getattr(recipe, section), problem.key, None) is not None
            place = f"{section if said else 'train'}.{problem.key}"
            raise recipe.problem(place, problem.what, problem.hint, problem.status) from problem


def _check_hardware(recipe: Recipe, graph: Graph) -> None:
    """Whether the dataflow graph meets the target, and codes and faults find what they are for."""
    folded = fold_for(recipe, graph).graph
    if recipe.rtl.enabled:
        with recipe.at("rtl.protect"):
            memory_codes(folded, recipe.rtl.protect)
    if not recipe.faults.enabled:
        return
    from ...sim.faults import check_equal
    from ...sim.faults.analysis.margins import check_certifiable
    from ...sim.faults.injection.metrics import checked_metrics

    with recipe.at("faults.metrics"):
        checked_metrics(recipe.faults.metrics, folded)
    grid, _, _ = fault_settings(recipe)
    try:
        points = grid.points(folded)
    except Problem as problem:
        said = problem.what if problem.key == "faults" else problem.in_place
        raise recipe.problem(_axis(grid, folded), said, problem.hint, problem.status) from problem
    if recipe.faults.certify:
        with recipe.at("faults.certify"):
            check_certifiable(folded)
    with recipe.at("faults.equal"):
        check_equal(recipe.faults.equal, points)


def _axis(grid: Grid, graph: Graph) -> str:
    """The key of `faults` whose entries a graph refuses by themselves; the section where only several together do."""
    if grid.voltages:
        whole = replace(grid, models=tuple(f"undervolting:{volts!r}" for volts in grid.voltages), voltages=())
        return _axis(whole, graph).replace("models", "voltages")
    usual = {"targets": ("weights",), "layers": ("all",), "models": ("flip",), "protections": ("none",)}
    for key in usual:
        try:
            replace(grid, **{name: entries for name, entries in usual.items() if name != key}).points(graph)  # type: ignore[arg-type]
        except Problem:
            return f"faults.{key}"
    return "faults"


def slow_products(recipe: Recipe) -> tuple[str, ...]:
    """Where bfloat16 is asked for on a processor that has no products of its own for it, and no GPU is used."""
    wanted = {"train.precision": recipe.train.precision if recipe.epochs else ""}
    wanted["prune.precision"] = recipe.prune.precision or "" if recipe.prune.enabled and recipe.prune.epochs else ""
    keys = [key for key, precision in wanted.items() if precision == "bfloat16"]
    if not keys or _has_short_products(recipe.train.device):
        return ()
    return (f"{keys[0]} is bfloat16, which this processor computes up to 9 times slower than float32: set float32",)


def _has_short_products(device: str) -> bool:
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return any(name in flags for name in ("avx512_bf16", "amx_bf16", " bf16"))
