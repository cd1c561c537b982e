"""The work behind `flow pack`, and the trained networks that `flow models` lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

from ..recipe.file import dump
from ..recipe.objects import trained_file
from ..recipe.of_runs import recipe_of
from ..recipe.schema import Recipe
from ..results.networks import PackedFile, TrainedNetwork
from ..run.files import check_file, explain
from ..run.folder import Run, verify_recorded
from ..run.names import WEIGHTS
from ..run.typed_json import extended

if TYPE_CHECKING:
    from ...models.files.packed_file import Provenance


def pack_run(folder: Path, output: Path | None, network: str, machine: str, force: bool) -> PackedFile:
    """Pack a trained network of a run into one small file.

    Args:
        folder: the run folder.
        output: the file; None names it after the recipe, in the present folder.
        network: "base" or "pruned".
        machine: what it was trained on; "" takes what the run says.
        force: an existing file is overwritten.

    Raises:
        Problem: not a run folder, not trained yet, changed files (status 1), a class of the user's, or the file is
            there already.
    """
    from ...models.files.pack import pack_network
    from ...models.files.packed_file import SUFFIX, write_packed
    from ...models.files.saved import load_network

    run = Run.find(folder)
    if run is None:
        raise Problem("this is not a run folder", str(folder), "give a folder that `flow build` made")
    stage = {"base": "train", "pruned": "prune"}.get(network)
    if stage is None:
        raise Problem(f"there is no network {network!r}", "--network", "base or pruned")
    weights = run.path(f"{network}/{WEIGHTS}")
    if not run.manifest["stages"].get(stage, {}).get("facts") or not weights.is_file():
        raise Problem(f"this run has no {network} network yet", str(folder), f"flow build continues with it to {stage}")
    verify_recorded(weights)
    recipe = recipe_of(run)
    path = output or Path(f"{recipe.name}{SUFFIX}")
    check_file(path, (SUFFIX,), [weights])
    if path.exists() and not force:
        raise Problem("the file exists already", str(path), "give another name, or --force to overwrite it")
    provenance = _provenance(run, recipe, network, machine)
    try:
        packed = pack_network(load_network(weights, str(recipe.folder)), provenance)
    except Problem as problem:
        raise problem.at(str(folder)) from problem
    try:
        write_packed(packed, path)
    except OSError as error:
        raise explain(error, path) from error
    return extended(PackedFile, trained_network(path), file=str(path))


def _provenance(run: Run, recipe: Recipe, network: str, machine: str) -> Provenance:
    from ...models.files.packed_file import Provenance

    stages, versions = run.manifest["stages"], dict(run.manifest["versions"])
    train = stages["train"]["facts"]
    platform = versions.pop("platform", "")
    return Provenance(
        recipe=dump(_portable(recipe)),
        data=recipe.data.name,
        seed=recipe.seed,
        epochs=len(train["history"]),
        seconds=round(sum(row["seconds"] for row in train["history"]), 1),
        machine=machine or train.get("device") or platform,
        accuracy=stages["train" if network == "base" else "prune"]["facts"]["accuracy"],
        test_images=stages["data"]["facts"]["test"],
        network=network,
        versions=versions,
    )


def _portable(recipe: Recipe) -> Recipe:
    """The recipe without folders of this machine."""
    data = recipe.data
    if data.dir is not None:
        data = data.model_copy(update={"dir": Path(data.dir.name) if data.name in ("folder", "npz") else None})
    model = recipe.model
    if model.kind == "trained":
        model = model.model_copy(update={"trained": trained_file(recipe).name})
    faults = recipe.faults
    for key in ("table", "undervolting", "placement"):
        if getattr(faults, key) is not None:
            faults = faults.model_copy(update={key: Path(getattr(faults, key).name)})
    return recipe.model_copy(update={"data": data, "model": model, "faults": faults})


def trained_network(path: Path) -> TrainedNetwork:
    """What a packed file says of its network.

    Raises:
        Problem: as `read_packed`.
    """
    from ...models.files.packed_file import read_about

    spec, provenance = read_about(path)
    return extended(TrainedNetwork, provenance, name=path.stem, spec=spec, bytes=path.stat().st_size)


def trained_networks() -> list[TrainedNetwork]:
    """The trained networks that come with bnnflow."""
    from ...models.files.trained_names import trained_files

    return [trained_network(path) for path in trained_files().values()]
