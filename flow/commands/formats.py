"""The work behind `flow formats`: short trainings with Bop in the search for the cheapest format of its momenta."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from bnnflow import CHECK_FAILED, Problem

from ..recipe.file import load_recipe
from ..recipe.objects import dataset, make_network, network_spec, set_threads, step_products, train_settings
from ..recipe.schema import Recipe
from ..results.graphs import FormatSearch, FormatTrial

HELD_OUT = 0.1
SURE = 0.99


def _require_known(recipe: Recipe, images: int, accuracy: float, tolerance: float) -> float:
    """Half of the 95 % interval of an accuracy on so many images, which must be within the tolerance.

    Raises:
        Problem: status 1; there are too few to tell.
    """
    from ...sim.faults.campaigns.statistics import image_half_width

    known = image_half_width(accuracy, images)
    if known > tolerance:
        what = f"{images:,} held-out images tell an accuracy of {accuracy:.0%} to +-{known:.1%}, not to {tolerance:.1%}"
        needed = (
            f"hold out {math.ceil(images * (known / tolerance) ** 2):,} (train.validation), or " if tolerance else ""
        )
        hint = f"{needed}--tolerance {math.ceil(1000 * known) / 1000:g}"
        raise recipe.problem("train.validation", what, hint, CHECK_FAILED)
    return known


def search(
    path: Path,
    overrides: Sequence[str],
    tolerance: float,
    bits: tuple[Sequence[int], Sequence[int]],
    greatest_loss: float,
    report: Callable[[str, int, int, dict[str, float]], None],
) -> FormatSearch:
    """Train a recipe's network with float32 momenta, then with narrower and narrower formats.

    Accuracy is measured behind the last epoch on images held out of training: the share train.validation of them, or
    a tenth; the test images are not looked at.

    Args:
        path, overrides: the recipe, with `optimizer: bop`.
        tolerance: accuracy that may be lost, 0 to 1.
        bits: numbers of exponent and of mantissa bits to try.
        greatest_loss: share of updates that may be lost.
        report: called with the format that is tried, steps done, steps in all, and figures.

    Raises:
        Problem: the recipe does not train with bop, or asks for an ensemble.
    """
    from ...models.training.ensemble import EnsembleNetwork
    from ...models.training.float_format import FloatFormat, Trial, cheapest
    from ...models.training.train import train

    recipe = load_recipe(path, overrides)
    if recipe.train.optimizer != "bop":
        hint = "set `optimizer: bop`, or add -s train.optimizer=bop"
        raise recipe.problem("train.optimizer", "only bop keeps momenta in a small format", hint)
    if recipe.ensemble.members > 1 or recipe.model.onnx is not None:
        raise recipe.problem("model", "the search trains one network", "leave out `ensemble` and `onnx`")
    images, spec = dataset(recipe), train_settings(recipe)
    if not spec.epochs:
        raise recipe.problem("train.epochs", "the search trains", "give epochs")
    spec = replace(spec, validation=spec.validation or HELD_OUT, patience=0)
    held = round(len(images.train_images) * spec.validation)
    for exponent, mantissa in product(*bits):
        FloatFormat(exponent, mantissa)
    _require_known(recipe, held, SURE, tolerance)
    set_threads(recipe.train.threads, step_products(network_spec(recipe, images), recipe.train.batch))

    def trial(form: FloatFormat | None) -> Trial:
        name = str(form or "float32")
        network = make_network(recipe, images)
        assert not isinstance(network, EnsembleNetwork)
        how = replace(spec, momentum_format=str(form or ""))
        show = lambda done, total, figures: report(name, done, total, figures)  # noqa: E731
        try:
            rows = train(network, images.train_images, images.train_labels, how, None, show)
        except Problem as problem:
            if problem.key not in type(recipe.train).model_fields:
                raise
            raise recipe.problem(f"train.{problem.key}", problem.what, problem.hint, problem.status) from problem
        lost = sum(row["lost_updates"] for row in rows) / len(rows)
        if form is None:
            _require_known(recipe, held, rows[-1]["validation"], tolerance)
        return Trial(form, rows[-1]["validation"], lost, int(sum(row["flips"] for row in rows)))

    best, tried = cheapest(trial, tolerance, *bits, greatest_loss)
    from ...sim.faults.campaigns.statistics import image_half_width

    rows = [
        FormatTrial(
            format=str(one.form or "float32"),
            bits=one.form.bits if one.form else 32,
            lost_updates=one.lost,
            flips=one.flips,
            accuracy=one.accuracy,
        )
        for one in tried
    ]
    return FormatSearch(
        cheapest=None if best is None else str(best),
        tolerance=tolerance,
        uncertain=image_half_width(tried[0].accuracy, held),
        images=held,
        epochs=spec.epochs,
        rows=rows,
    )
