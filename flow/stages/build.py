"""What the stages of a build share: the run folder, the recipe, the images and what each stage has to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...transforms.ir.graph import Graph
from ...transforms.writing.write import write
from ..pruning.held_out import HeldOut
from ..recipe.objects import dataset, network_spec
from ..recipe.schema import Recipe
from ..results.stages import NoResult
from ..run.files import explain
from ..run.folder import Run
from ..run.names import WEIGHTS

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.files.saved import Trained
    from ...models.networks.own import OwnSpec
    from ...models.networks.spec import NetworkSpec
    from ...models.training.ensemble import EnsembleSpec

T = TypeVar("T")
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(slots=True)
class Build:
    """What the stages of one build share.

    Attributes:
        run: the run folder.
        recipe: the checked recipe.
        progress: gives the progress function of a stage, called with steps done, total and figures.
        trained_by: recipe of the run's training, where `recipe` has changes that came later; None: `recipe`.
        results: of each stage that ran or was up to date, by their classes.
    """

    run: Run
    recipe: Recipe
    progress: Callable[[str], Progress]
    trained_by: Recipe | None = None
    results: dict[type, object] = field(default_factory=dict)
    _dataset: Dataset | None = None
    _spec: NetworkSpec | OwnSpec | EnsembleSpec | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """ "base" and, unless pruning is off, "pruned"."""
        return ("base", "pruned") if self.prunes else ("base",)

    @property
    def prunes(self) -> bool:
        """Whether there is a pruned network; an ONNX file is never pruned."""
        return self.recipe.prune.enabled and self.trains

    @property
    def trains(self) -> bool:
        """Whether the network is trained here; an ONNX file is not."""
        return self.recipe.model.onnx is None

    @property
    def dataset(self) -> Dataset:
        """The images; read when they are first needed."""
        if self._dataset is None:
            self._dataset = dataset(self.recipe)
        return self._dataset

    @property
    def held_out(self) -> HeldOut:
        """The training images that the run's network has not seen; of other images than it had, none is known to be."""
        made = self.trained_by or self.recipe
        if made.training_images != self.recipe.training_images:
            return HeldOut.none()
        return HeldOut.of(made, self.dataset.train_labels)

    @property
    def spec(self) -> NetworkSpec | OwnSpec | EnsembleSpec:
        """Shape of the network that is trained here; made when it is first asked for."""
        if self._spec is None:
            self._spec = network_spec(self.recipe, self.dataset)
        return self._spec

    @property
    def code(self) -> dict[str, str]:
        """What a stage depends on that loads trained networks, beside their weights: the code of a user's class."""
        from ...models.networks.own import OwnSpec, code_digest

        return {"code": code_digest(self.spec)} if self.trains and isinstance(self.spec, OwnSpec) else {}

    def file(self, network: str, name: str) -> Path:
        """A file of one network in the run folder."""
        return self.run.path(f"{network}/{name}")

    def load(self, network: str) -> Trained:
        """A trained network of this run."""
        from ...models.files.saved import load_network

        return load_network(self.file(network, WEIGHTS), str(self.recipe.folder))

    def files(self, *names: str) -> list[Path]:
        """The named files of all networks."""
        return [self.file(network, name) for network in self.networks for name in names]

    def result(self, kind: type[T]) -> T:
        """The result of this class; KeyError where its stage was left out or is still to come."""
        found: T = self.results[kind]  # type: ignore[assignment]
        return found

    def result_if_any(self, kind: type[T]) -> T | None:
        """The same; None where its stage was left out."""
        return self.result(kind) if kind in self.results else None

    def skip(self, name: str) -> NoResult:
        """Leave out a stage that the recipe turns off; what an earlier run left of it goes."""
        self.run.forget(name)
        return NoResult()

    def stage(self, name: str, inputs: Mapping[str, Any], work: Callable[[], T], kind: type[T]) -> T:
        """Run or skip one stage and keep its result, of the class `kind`.

        Raises:
            Problem: what the stage finds wrong, or a file that it cannot write (disk full, no permission).
        """
        try:
            found = self.run.stage(name, inputs, work, kind)
        except OSError as error:
            raise explain(error, Path(error.filename or self.run.folder)) from error
        self.results[kind] = found
        return found


def json_text(value: object) -> str:
    """A value as the text of a JSON file; ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_graph(run: Run, name: str, graph: Graph) -> None:
    """Write a graph as ONNX and, beside it, as text."""
    run.write(name, write(graph).SerializeToString())
    run.write(name.removesuffix(".onnx") + ".txt", str(graph))
