"""Filters and neurons, least important first: by shares of each layer, or where it costs least accuracy.

Where residual joins add layers, these lose the same channels: the layers of a stage, or with `shortcut: pool` of all
stages; a convolution inside a block loses its own. Takes classes of yours, ensembles and QONNX files, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bnnflow import Problem

from ....models.relevance.criteria import Criterion
from ..section import Count, Share, cross_faults
from .method import FLIP_HINT, LatentUse, Method, MethodInput, MethodRequest, Pruned, RemovalStep

if TYPE_CHECKING:
    from ...results.stages import PruningResult

AUTO = "auto"
OF_SENSITIVITY = ("objective", "budget", "levels", "validation", "calibration", "explore", "jobs")


class Filters(Method):
    """Method filters: filters and neurons, least important first, of built-in networks and of classes of your own."""

    criterion: str = Field(
        default=AUTO,
        description="what goes first: METHOD, METHOD:REDUCTION or borda(A, B) of `flow rank --list`; auto: "
        "reconstruction where prune.epochs is 0 or 1, else deeplift",
    )
    amount: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.25, description="share of each layer to remove, in all"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="rounds of scoring, removing, fine-tuning"
    )
    unit: Annotated[int, Field(ge=1, le=256)] = Field(default=8, description="remove in multiples, for a legal folding")
    images: Count = Field(default=256, description="training images that are scored")
    distill: Share = Field(
        default=0.0, description="filters: weight of fine-tuning's loss against the unpruned network; 0: no teacher"
    )
    min_width: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=1, description="filters or neurons that every layer keeps"
    )
    allocation: Literal["uniform", "sensitivity"] = Field(
        default="uniform",
        description="uniform: amount of each layer; sensitivity: of the objective, where it costs least accuracy",
    )
    objective: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=lambda: {"ops": 1.0},
        description="sensitivity: weights of lut, bram18, cycles, energy (all: these four), ops (binary), weight_bits",
    )
    budget: dict[str, Annotated[float, Field(gt=0)] | str] = Field(
        default_factory=dict,
        description="sensitivity: end when met, in place of amount: {part: xc7z020, fps: 10000} or {energy: 50} (nJ)",
    )
    folding: Literal["refold", "kept"] = Field(
        default="refold", description="sensitivity: cost of the hardware refolded, or with PE and SIMD kept"
    )
    levels: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False, min_length=1, max_length=64)
    ] = Field(
        default=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875),
        description="sensitivity: shares of a layer that are removed to see what it costs",
    )
    validation: Count = Field(default=2000, description="sensitivity: held-out images that accuracy is measured on")
    calibration: Count = Field(default=1000, description="sensitivity: images that batch norms are measured on")
    explore: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=8, description="sensitivity: random shifts between two layers that are tried in each round"
    )
    jobs: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=1, description="sensitivity: processes; the result does not depend on it"
    )

    counts: ClassVar[str] = "filters and neurons"
    why_nothing: ClassVar[str] = "prune.amount is less than one prune.unit of every layer"
    in_prune: ClassVar[bool] = True
    takes_classes: ClassVar[bool] = True
    removes_channels: ClassVar[bool] = True
    heeds_loss: ClassVar[bool] = True

    if TYPE_CHECKING:
        epochs: int

    @property
    def ranking(self) -> str:
        """The criterion, that which "auto" stands for included.

        Without training, and a little after, the set that is chosen decides; longer fine-tuning makes up for it
        (docs/results/pruning.md).
        """
        if self.criterion != AUTO:
            return self.criterion
        return "reconstruction" if self.epochs <= 1 else "deeplift"

    @model_validator(mode="after")
    def _is_criterion(self) -> Filters:
        try:
            Criterion.parse(self.ranking)
        except Problem as problem:
            raise cross_faults([(("criterion",), problem.what, problem.hint)]) from None
        return self

    def check(self, asked: MethodRequest) -> None:
        """Refuse too few images, and criteria that have nothing to go by."""
        if self.images < asked.spec.classes:
            what = f"scores on {self.images} images of {asked.spec.classes} classes"
            raise Problem(what, key="prune.images", hint=f"give {asked.spec.classes} or more")
        if "flips" in Criterion.parse(self.ranking).needs and not asked.flip_window:
            what = f"{self.ranking} ranks by flips that training does not count"
            raise Problem(what, key="prune.criterion", hint=f"{FLIP_HINT}, the last epochs to count in")
        if (use := self.latent_use()) is not None:
            use.refuse(asked.optimizer)

    def unused(self) -> Iterable[tuple[str, str, str]]:
        """What the allocation leaves without effect."""
        if self.allocation == "uniform":
            why = "with shares that are uniform prune.amount alone decides"
            yield from ((key, why, "or set `allocation: sensitivity`") for key in OF_SENSITIVITY)
        elif self.budget:
            why = "prune.budget says where pruning ends"
            yield from ((key, why, "or the budget") for key in ("amount", "objective"))

    def latent_use(self) -> LatentUse | None:
        """Of criteria that ask for them."""
        if "latent weights" not in Criterion.parse(self.ranking).needs:
            return None
        repair = "use another criterion, such as deeplift, or another optimizer"
        return LatentUse("prune.criterion", f"{self.ranking} ranks by latent weights", repair)

    def prune(self, given: MethodInput) -> Pruned:
        """Remove channels in rounds, by the given structure and allocator."""
        from ....models.prune.schedule import prune
        from ....models.prune.spec import PruneSpec

        assert given.structure is not None
        plan = (given.plan, given.seed, self.ranking, given.max_loss, self.min_width)
        spec = PruneSpec(self.amount, self.steps, self.unit, self.images, *plan)
        structure = given.structure()
        allocate, said = given.allocator() if given.allocator is not None else (None, "")
        images = (given.network, given.train_images, given.train_labels)
        result = prune(
            *images,
            spec,
            given.checkpoint,
            given.progress,
            allocate,
            said,
            held_out=given.held_out,
            flips=given.flips(),
            structure=structure,
            sets=given.sets,
            memories=given.memories,
        )
        good = [step for step in result.steps if not step["rolled_back"]]
        kept = good[-1]["kept"] if good else structure.widths
        facts = {"criterion": self.ranking, "allocation": self.allocation}
        return Pruned(result.network, kept, [_step(record) for record in result.steps], facts, result.stop)

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return f"Filters and neurons scored by {found.criterion}, removed and fine-tuned"


def _step(record: Mapping[str, Any]) -> RemovalStep:
    """A record of the schedule."""
    told = ("kept", "macs", "accuracy_before", "accuracy_after", "rolled_back")
    kept, macs, before, after, undone = (record[key] for key in told)
    rest = {key: value for key, value in record.items() if key not in ("step", *told)}
    return RemovalStep(kept, macs, before, after, undone, rest)
