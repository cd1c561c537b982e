"""Keys of a recipe that have no effect beside others, and why.

One table for all: `recipe_file` refuses such a key where a file or `-s` gives it, a run's own recipe leaves it out, and
`flow new` writes it as a comment. Switches that turn something off (`enabled: false`, `epochs: 0`) say so themselves:
what they turn off may stay in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .methods.all import METHODS, heeding_loss
from .positions import KeyPath

if TYPE_CHECKING:
    from .schema import Recipe

Reason = tuple[str, str]

OF_TRAINING = (
    *("learning_rate", "warmup_epochs", "accumulate", "patience", "distill", "teacher_epochs", "weight_sign"),
    *("norm_images", "flip_window"),
)


def unused(recipe: Recipe) -> dict[KeyPath, Reason]:
    """Keys of sections but `model` that have no effect, each with the reason and a repair."""
    found: dict[KeyPath, Reason] = {}
    sections = (_data, _train, _fault_training, _approximation, _prune, _faults, _cosim, _synth, _route)
    for rules in (section(recipe) for section in sections):
        for path, why, repair in rules:
            found.setdefault(path, (why, repair))
    return found


Rules = Iterable[tuple[KeyPath, str, str]]


def _data(recipe: Recipe) -> Rules:
    if recipe.data.name == "digits":
        yield ("data", "dir"), "digits comes with bnnflow", ""
    if recipe.model.kind == "onnx":
        for key in type(recipe.ensemble).model_fields:
            yield ("ensemble", key), "an ONNX file is one network", ""
    elif recipe.ensemble.members == 1:
        yield ("ensemble", "method"), "one network has no method of joining several", "or set ensemble.members"


def _train(recipe: Recipe) -> Rules:
    train, prune = recipe.train, recipe.prune
    if recipe.model.kind == "onnx":
        for key in type(train).model_fields:
            yield ("train", key), "an ONNX file is not trained", "or give `model.arch` in its place"
        return
    if recipe.model.has_weights and train.epochs is None:
        for key in OF_TRAINING:
            yield ("train", key), "weights that are given are taken as they are", "or set train.epochs"
    optimizers = {train.optimizer, prune.optimizer or train.optimizer}
    if "sgd" not in optimizers:
        yield ("train", "momentum"), f"{train.optimizer} has none", "or set `optimizer: sgd`"
    if "bop" not in optimizers:
        for key in ("bop_rate", "bop_threshold"):
            yield ("train", key), f"the optimizer is {train.optimizer}", "or set `optimizer: bop`"
    if train.loss == "cross-entropy":
        yield ("train", "margin"), "cross-entropy has none", "or set `loss`"
    if "step" not in (train.schedule, prune.schedule):
        for key in ("step_epochs", "step_factor"):
            yield ("train", key), f"the schedule is {train.schedule}", "or set `schedule: step`"
    if not train.distill:
        yield ("train", "teacher_epochs"), "there is no teacher", "or set `distill`"
        if not prune.distill:
            yield ("train", "temperature"), "there is no teacher", "or set `distill`"


def _fault_training(recipe: Recipe) -> Rules:
    settings = recipe.fault_training
    keys = type(settings).model_fields
    if recipe.model.kind == "onnx":
        for key in keys:
            yield ("fault_training", key), "an ONNX file is not trained", "or give `model.arch` in its place"
        return
    if not (recipe.epochs or (recipe.prune.enabled and recipe.prune.epochs)):
        for key in keys:
            yield ("fault_training", key), "nothing is trained", "or set train.epochs"
    wrong_weights = settings.weigh
    if not wrong_weights:
        why = "the map says which" if settings.map is not None else "no weight is wrong"
        yield ("fault_training", "guide"), why, "or set `weights`"
        if not settings.thresholds:
            yield ("fault_training", "draw"), why, "or set `weights`"
    if not (settings.stored or settings.activations):
        yield ("fault_training", "ramp_epochs"), "there is no rate that could rise", "or set `weights`"
    if not settings.guide:
        for key in ("assignment", "guide_epochs", "guide_images"):
            yield ("fault_training", key), "nothing is guided", "or set `guide`"
    if not settings.guide or settings.assignment != "protect":
        yield ("fault_training", "protected"), "it is of assignment protect", "or set `assignment: protect`"
    if not settings.guide or settings.assignment != "softmax":
        yield ("fault_training", "temperature"), "it is of assignment softmax", "or set `assignment: softmax`"


def _approximation(recipe: Recipe) -> Rules:
    settings = recipe.approximation
    if recipe.model.kind == "onnx" or not recipe.epochs:
        onnx = recipe.model.kind == "onnx"
        why = "an ONNX file is not trained" if onnx else "nothing is trained"
        for key in type(settings).model_fields:
            yield ("approximation", key), why, "or give `model.arch` in its place" if onnx else "or set train.epochs"
        return
    if not settings.capmin:
        yield ("approximation", "array"), "it is of capmin", "or set `capmin`"
    if not settings.lta:
        yield ("approximation", "balanced"), "it is of lta", "or set `lta`"


def _prune(recipe: Recipe) -> Rules:
    prune = recipe.prune
    if recipe.model.kind == "onnx":
        repair = "or give `model.arch` or `model.trained` in place of `model.onnx`"
        for key in type(prune).model_fields:
            if key != "enabled" or prune.enabled:
                yield ("prune", key), "an ONNX file is not pruned: it has no weights that could recover", repair
        return
    for name, method in METHODS.items():
        if prune.method == name:
            continue
        if method.in_prune:
            for key in method.model_fields:
                yield ("prune", key), f"it is of method {name}, and prune.method is {prune.method}", ""
        else:
            yield ("prune", name), f"prune.method is {prune.method}", f"or set `method: {name}`"
    if not prune.chosen.heeds_loss:
        why, *others = f"{prune.method} go on to the end, whatever they lose", *heeding_loss()
        yield ("prune", "max_loss"), why, f"or use method: {', '.join(others[:-1])} or {others[-1]}"
    for key, why, repair in prune.chosen.unused():
        yield (*prune.chosen.key(key).split("."),), why, repair
    if (prune.loss or recipe.train.loss) == "cross-entropy":
        yield ("prune", "margin"), "cross-entropy has none", "or set `loss`"


def _cosim(recipe: Recipe) -> Rules:
    if not recipe.rtl.enabled:
        for key in ("fifo", "control", "sets", "protect", "scrub", "primitives"):
            yield ("rtl", key), "no hardware is written", "or set `rtl: {enabled: true}`"
    if not recipe.rtl.protect:
        yield ("rtl", "scrub"), "no memory is in a code", "or set `rtl.protect`"
    if not recipe.rtl.enabled and recipe.cosim.when == "always":
        yield ("cosim", "when"), "no hardware is written", "or set `rtl: {enabled: true}`"
    if recipe.cosim.when == "never":
        for key in ("images", "stalls"):
            yield ("cosim", key), "nothing is simulated", "or set `cosim.when: auto`"


def _synth(recipe: Recipe) -> Rules:
    if not recipe.rtl.enabled and recipe.synth.when == "always":
        yield ("synth", "when"), "no hardware is written", "or set `rtl: {enabled: true}`"
    if recipe.synth.when == "never" or not recipe.rtl.enabled:
        for key in ("family", "whole", "jobs"):
            yield ("synth", key), "nothing is synthesized", "or set `synth.when: auto`"


def _route(recipe: Recipe) -> Rules:
    if not recipe.rtl.enabled and recipe.route.when == "always":
        yield ("route", "when"), "no hardware is written", "or set `rtl: {enabled: true}`"
    if recipe.route.when == "never" or not recipe.rtl.enabled:
        for key in ("part", "grade", "seeds", "jobs"):
            yield ("route", key), "nothing is placed", "or set `route.when: auto`"


def undervolts(model: str) -> bool:
    """Whether a fault model is of undervolted block RAMs, by its name alone."""
    return model.strip().partition(":")[0] == "undervolting"


def _faults(recipe: Recipe) -> Rules:
    faults = recipe.faults
    if faults.table is not None:
        yield ("faults", "rates"), "faults.table says them", "or the table"
    if faults.voltages:
        for key in ("rates", "table", "models"):
            yield ("faults", key), "faults.voltages says what is hit, and a board how often", "or the voltages"
    elif not any(map(undervolts, faults.models)):
        for key in ("undervolting", "placement"):
            yield ("faults", key), "nothing is undervolted", "or set `voltages`"
    elif all(map(undervolts, faults.models)):
        for key in ("rates", "table"):
            yield ("faults", key), "a board says how often undervolted cells fail", "or name another model"
    if set(faults.models) == {"single"}:
        for key in ("rates", "table", "maps", "interval", "max_maps"):
            yield ("faults", key), "single faults have no rates and no maps", "or name another model"
    if faults.cluster:
        yield ("faults", "jobs"), "a cluster decides how many workers there are", "or the cluster"
    if not recipe.prune.enabled:
        yield ("faults", "equal"), "there is one network", "or set `prune`"
    if faults.interval is None:
        yield ("faults", "max_maps"), "without an interval faults.maps are all there are", "or set `interval`"
    if not any("fifos" in target.split("+") for target in faults.targets):
        yield ("faults", "fifo_depth"), "no target is fifos", "or name the target fifos"
