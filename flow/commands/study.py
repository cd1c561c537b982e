"""The work behind `flow study`: does a criterion choose better filters than chance does?

For every seed the recipe's network is trained; then each criterion prunes it, and so do random draws, all with the same
share of each group, rounds and fine-tuning. What differs is the choice of channels alone. Cells are kept in a folder,
so that an interrupted study resumes, and do not depend on the number of processes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...models.relevance.criteria import Criterion
from ..pruning.held_out import HeldOut
from ..pruning.prune import memories_of, recovery
from ..pruning.sets import set_scores
from ..pruning.statistics import RANDOM, StudyCell, comparison
from ..pruning.structure import structure_of, with_groups
from ..recipe.file import load_recipe
from ..recipe.objects import dataset, network_spec, set_threads, step_products
from ..recipe.schema import Recipe
from ..results.rankings import StudyResult
from ..run.files import write_whole
from ..run.names import FLIPS, WEIGHTS
from ..run.typed_json import extended

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.spec import PruneSpec
    from ...models.training.flips import FlipCounts

CRITERIA = (
    *("deeplift", "integrated-gradients", "gradient-activation", "taylor-weight", "taylor-activation", "lrp"),
    *("reconstruction", "flips", "latent", "entropy", "norm-gain", "borda(deeplift,taylor-activation,latent)"),
)
LEAST_DRAWS = 5
MOST = 0.9
_WINDOW = 3
_FIXED = ("prune.enabled=true", "prune.method=filters", "prune.allocation=uniform", "prune.max_loss=null")


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """What is compared; what is empty or None is the recipe's.

    Args:
        criteria: as `models.criteria` reads them; empty takes those of `CRITERIA` that the network has what it takes
            for.
        amounts: shares of each group that go, up to `MOST`.
        seeds: networks that are trained, with seeds from the recipe's on.
        draws: random prunings a seed and amount, `LEAST_DRAWS` or more.
        steps, epochs: rounds, and fine-tuning after each.
        jobs: processes.

    Raises:
        Problem: too few seeds, draws or jobs, or an amount that is no such share.
    """

    criteria: tuple[str, ...] = ()
    amounts: tuple[float, ...] = ()
    seeds: int = 3
    draws: int = LEAST_DRAWS
    steps: int | None = None
    epochs: int | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("draws", LEAST_DRAWS), ("jobs", 1)):
            if getattr(self, name) < least:
                raise Problem(f"{getattr(self, name)} {name}", f"--{name}", f"{least} or more")
        for amount in self.amounts:
            if not 0 < amount <= MOST:
                raise Problem(f"an amount of {amount:g}", "--amount", f"a share up to {MOST:g}, such as 0.5")


@dataclass(frozen=True, slots=True)
class _Job:
    """One cell to be measured: recipe and its changes, run folder of the base, what differs, where cells are kept."""

    source: Path
    changes: tuple[str, ...]
    base: Path
    criterion: str
    draw: int
    amount: float
    store: Path


@dataclass(frozen=True, slots=True)
class Study:
    """A study whose networks are trained.

    Attributes:
        recipe: its file.
        folder: of the networks.
        steps, epochs: rounds of pruning, and of fine-tuning in each.
        left_out: why a criterion was left out, by its name.
        unpruned: accuracy of the networks on the test set, 0 to 1, by seed.
        jobs: cells to be measured.
        processes: that measure them.
    """

    recipe: str
    folder: str
    steps: int
    epochs: int
    left_out: Mapping[str, str]
    unpruned: list[float]
    jobs: list[_Job]
    processes: int

    def run(self, progress: Callable[[int, int], None]) -> StudyResult:
        """Prune what is missing, and compare.

        Args:
            progress: called with cells done and in all.

        Raises:
            Problem: what pruning finds wrong.
        """
        cells = []
        for cell in _all(self.jobs, self.processes):
            cells.append(cell)
            progress(len(cells), len(self.jobs))
        return extended(
            StudyResult,
            comparison(cells, self.unpruned),
            recipe=self.recipe,
            folder=self.folder,
            steps=self.steps,
            epochs=self.epochs,
            left_out=self.left_out,
        )


def prepared(
    source: Path, place: Path | None, overrides: Sequence[str], wishes: StudyOptions, quiet: bool = False
) -> Study:
    """Check what is to be compared, and train the networks that are missing.

    Args:
        source: recipe.
        place: folder of the run folders `base-<seed>` and of `cells`; None is runs/<name>-study.
        overrides: changes of the recipe, as `key=value`.
        wishes: what is compared.
        quiet: whether stages of training are not shown.

    Raises:
        Problem: what the recipe, a criterion or an amount has wrong, before anything is trained.
    """
    fixed = dict(change.split("=", 1) for change in _FIXED)
    for key, _, value in (change.partition("=") for change in overrides):
        if (own := fixed.get(key.strip(), value)).strip() != value.strip():
            what = f"a study prunes with {key.strip()}={own}: the same share of every layer, whatever is lost"
            raise Problem(what, f"-s {key}={value}", "leave it out; `flow prune` does it")
    recipe = load_recipe(source, ["prune.enabled=true", "prune.method=filters", *overrides])
    if recipe.model.kind == "onnx":
        what = "an ONNX file has no weights that could recover"
        raise recipe.problem("model.onnx", what, "studies need a network that is trained here")
    folder = place or Path("runs") / f"{recipe.name}-study"
    changes = [*overrides, *_window(recipe, wishes), *_said(wishes)]
    criteria, left_out = _criteria(source, changes, wishes)
    amounts = tuple(dict.fromkeys(wishes.amounts)) or (recipe.prune.amount,)
    seeded = [(*changes, f"seed={recipe.seed + number}") for number in range(wishes.seeds)]
    bases = [_base(source, folder, mine, quiet) for mine in seeded]
    wanted = [*((RANDOM, draw) for draw in range(wishes.draws)), *((name, 0) for name in criteria)]
    jobs = [
        _Job(source, mine, base, name, draw, amount, folder / "cells")
        for amount in amounts
        for mine, (base, _) in zip(seeded, bases, strict=True)
        for name, draw in wanted
    ]
    used = load_recipe(source, changes).prune
    unpruned = [accuracy for _, accuracy in bases]
    return Study(str(source), str(folder), used.steps, used.epochs, left_out, unpruned, jobs, wishes.jobs)


def _said(wishes: StudyOptions) -> list[str]:
    given = {"prune.steps": wishes.steps, "prune.epochs": wishes.epochs}
    return [*_FIXED, *(f"{key}={value}" for key, value in given.items() if value is not None)]


def _window(recipe: Recipe, wishes: StudyOptions) -> list[str]:
    """Counts flips in the last epochs where the network is trained here and a criterion asks for them."""
    wanted = [Criterion.parse(text) for text in wishes.criteria or CRITERIA]
    trains = recipe.model.kind != "trained" or recipe.train.epochs is not None
    if recipe.train.flip_window or not trains or not any("flips" in each.needs for each in wanted):
        return []
    return [f"train.flip_window={_WINDOW}"]


def _criteria(source: Path, changes: Sequence[str], wishes: StudyOptions) -> tuple[list[str], dict[str, str]]:
    """The criteria to compare, and why others of the usual ones are left out.

    Raises:
        Problem: one that was wished for cannot be had.
    """
    images = dataset(load_recipe(source, changes))
    fit, left_out = [], {}
    for text in dict.fromkeys(wishes.criteria or CRITERIA):
        if text == RANDOM:
            continue
        try:
            network_spec(load_recipe(source, [*changes, f"prune.criterion={json.dumps(text)}"]), images)
            fit.append(text)
        except Problem as problem:
            if wishes.criteria or problem.key != "prune.criterion":
                raise
            left_out[text] = problem.what
    if not fit:
        raise Problem("there is nothing to compare with chance", "--criterion", "name one but random")
    return fit, left_out


def _base(source: Path, folder: Path, changes: Sequence[str], quiet: bool) -> tuple[Path, float]:
    """The run folder of the network trained with a seed, and its accuracy on the test set."""
    from .build import built

    recipe = load_recipe(source, changes)
    place = folder / f"base-{recipe.seed}"
    return place, float(built(recipe, place, "train", quiet=quiet).accuracy)


def _all(jobs: Sequence[_Job], processes: int) -> Iterable[StudyCell]:
    if processes == 1:
        return map(_measured, jobs)
    from joblib import Parallel, delayed

    made: Iterable[StudyCell] = Parallel(n_jobs=processes, return_as="generator")(
        delayed(_measured)(job) for job in jobs
    )
    return made


def _measured(job: _Job) -> StudyCell:
    """The cell as it is kept, or pruned and kept."""
    from ...models.files.saved import load_network
    from ...models.prune.spec import PruneSpec
    from ...models.training.ensemble import joined
    from ...models.training.evaluate import run_key
    from ...models.training.flips import FlipCounts

    recipe = load_recipe(job.source, job.changes)
    settings, images = recipe.prune, dataset(recipe)
    # The draw is part of the seed: random filters differ, and so does the order of images in fine-tuning.
    seed = recipe.seed + 1000 * job.draw
    rounds = (job.amount, settings.steps, settings.unit, settings.images, recovery(recipe), seed, job.criterion)
    spec = PruneSpec(*rounds, least=settings.min_width)
    network = joined(load_network(job.base / "base" / WEIGHTS, str(recipe.folder)))
    counted = job.base / "base" / FLIPS if "flips" in Criterion.parse(job.criterion).needs else None
    held = _held_out(recipe, images)
    total = hashlib.sha256(run_key(network, images.train_images, images.train_labels, spec).encode())
    for array in (held, images.test_images, images.test_labels):
        total.update(np.ascontiguousarray(array).data)
    total.update(counted.read_bytes() if counted is not None else b"")
    path = job.store / f"{total.hexdigest()}.json"
    found = _kept(path)
    if found is None:
        set_threads(recipe.train.threads, step_products(network.spec, recipe.train.batch))
        flips = FlipCounts.load(counted) if counted is not None else None
        found = _pruned(network, images, spec, held, flips, recipe, job)
        plain = asdict(found) | {"right": base64.b64encode(np.packbits(found.right).tobytes()).decode()}
        write_whole(path, json.dumps(plain | {"images": len(found.right)}, indent=1).encode())
    return found


def _kept(path: Path) -> StudyCell | None:
    """What a file says; None where it is absent or damaged."""
    try:
        found = json.loads(path.read_text())
        bits = np.unpackbits(np.frombuffer(base64.b64decode(found["right"]), np.uint8), count=found.pop("images"))
        return StudyCell(**{**found, "right": bits.astype(bool)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _pruned(
    network: Network | OwnNetwork,
    images: Dataset,
    spec: PruneSpec,
    held: np.ndarray,
    flips: FlipCounts | None,
    recipe: Recipe,
    job: _Job,
) -> StudyCell:
    from ...models.networks.network import Network
    from ...models.networks.zoo import figures
    from ...models.prune.schedule import prune
    from ...models.training.evaluate import predict

    began = time.perf_counter()
    structure = with_groups(structure_of(network), network)
    arrays = (images.train_images, images.train_labels)
    known = memories_of(recipe)
    result = prune(
        network, *arrays, spec, held_out=held, flips=flips, structure=structure, sets=set_scores, memories=known
    )
    right = predict(result.network, images.test_images, quick=True).argmax(1) == images.test_labels
    whole, left = (
        figures(one.spec).binary_macs if isinstance(one, Network) else structure.macs(one)
        for one in (network, result.network)
    )
    before = tuple(step["accuracy_before"] for step in result.steps)
    taken = time.perf_counter() - began
    return StudyCell(recipe.seed, job.criterion, job.draw, job.amount, np.asarray(right), before, whole, left, taken)


def _held_out(recipe: Recipe, images: Dataset) -> np.ndarray:
    """The images that no cell of a seed scores or fine-tunes on: the same ones for all of its cells."""
    from ...models.prune.spec import apart

    return apart(len(images.train_images), recipe.seed, HeldOut.of(recipe, images.train_labels).if_any)[0]
