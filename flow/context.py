"""What the stages of a build share: the run folder, the recipe, the images, and the names of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ..transforms.graph import Graph
from ..transforms.write import write
from .recipe import Recipe
from .run_files import explain
from .runs import Run

if TYPE_CHECKING:
    from ..models.data.load import Dataset
    from ..models.networks import NetworkSpec

Facts = dict[str, Any]
Progress = Callable[[int, int, dict[str, float]], None]

WEIGHTS = "weights.pt"
QONNX = "network.onnx"
FOLDED = "intermediate_models/4_folded.onnx"
LEVEL_FILES = {
    "network": QONNX,
    "integer": "intermediate_models/1_integer.onnx",
    "xnor": "intermediate_models/2_xnor.onnx",
    "dataflow": "intermediate_models/3_dataflow.onnx",
}


@dataclass(slots=True)
class Build:
    """What the stages of one build share.

    Attributes:
        run: the run folder.
        recipe: the checked recipe.
        progress: gives the progress function of a stage, called with steps done, total and figures.
        facts: what each stage that ran or was skipped has to say.
    """

    run: Run
    recipe: Recipe
    progress: Callable[[str], Progress]
    facts: dict[str, Facts] = field(default_factory=dict)
    _dataset: Dataset | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """ "base" and, unless pruning is off, "pruned"."""
        return ("base", "pruned") if self.recipe.prune.enabled else ("base",)

    @property
    def dataset(self) -> Dataset:
        """The images; read when they are first needed."""
        if self._dataset is None:
            self._dataset = dataset(self.recipe)
        return self._dataset

    def file(self, network: str, name: str) -> Path:
        """A file of one network in the run folder."""
        return self.run.path(f"{network}/{name}")

    def files(self, *names: str) -> list[Path]:
        """The named files of all networks."""
        return [self.file(network, name) for network in self.networks for name in names]

    def skip(self, name: str) -> Facts:
        """Leave out a stage that the recipe turns off; what an earlier run left of it goes."""
        self.run.forget(name)
        self.facts[name] = {}
        return {}

    def stage(self, name: str, inputs: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]) -> Facts:
        """Run or skip one stage and keep its facts.

        Raises:
            Problem: what the stage finds wrong, or a file that it cannot write (disk full, no permission).
        """
        try:
            self.facts[name] = self.run.stage(name, inputs, work)
        except OSError as error:
            raise explain(error, Path(error.filename or self.run.folder)) from error
        return self.facts[name]


def dataset(recipe: Recipe) -> Dataset:
    """The recipe's images, cut to the numbers that it allows.

    Raises:
        Problem: files are missing, damaged or not what their names say.
    """
    from dataclasses import replace

    from ..models.data.load import load as load_data

    whole = load_data(recipe.data.name, recipe.data.dir)
    train_images, test_images = recipe.data.train_images, recipe.data.test_images
    return replace(
        whole,
        train_images=whole.train_images[:train_images],
        train_labels=whole.train_labels[:train_images],
        test_images=whole.test_images[:test_images],
        test_labels=whole.test_labels[:test_images],
    )


def network_spec(recipe: Recipe, images: Dataset) -> NetworkSpec:
    """The network's shape for these images.

    Raises:
        Problem: sizes that are impossible, at their place in the recipe.
    """
    from ..models.networks import NetworkSpec

    model = recipe.model
    channels, height, width = images.train_images.shape[1:]
    try:
        return NetworkSpec(
            model.arch,
            (channels, height, width),
            len(images.classes),
            model.hidden,
            model.channels,
            model.kernels,
            model.pools,
            model.pool_order,
            model.input,
        )
    except Problem as problem:
        raise recipe.problem("model", f"{problem.where}: {problem.what}", problem.hint) from problem


def set_threads(threads: int | None) -> None:
    """Use so many processor threads in torch; None for as many as there are cores."""
    import os

    import torch

    torch.set_num_threads(threads or os.cpu_count() or 1)


def write_graph(run: Run, name: str, graph: Graph) -> None:
    """Write a graph as ONNX and, beside it, as text."""
    run.write(name, write(graph).SerializeToString())
    run.write(name.removesuffix(".onnx") + ".txt", str(graph))
