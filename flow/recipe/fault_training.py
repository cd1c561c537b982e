"""The recipe's section `fault_training`; its keys are those of `models.training.bit_errors.BitErrors`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from bnnflow import Problem

from .positions import KeyPath
from .section import Section, Share, cross_faults

if TYPE_CHECKING:
    from ...models.training.bit_errors import BitErrors


class FaultTraining(Section):
    """Bit errors that training and fine-tuning compute with, so that the network stands them later."""

    weights: Share = Field(default=0.0, description="chance that a stored bit of a weight is wrong; 0: none is")
    p01: Share | None = Field(
        default=None, description="of bits that are 0, with p10, in place of weights; null: both directions as weights"
    )
    p10: Share | None = Field(default=None, description="of bits that are 1; null: both directions as weights")
    activations: Share = Field(
        default=0.0, description="chance that a bit between two layers is wrong, of each image anew; 0: none is"
    )
    thresholds: Share = Field(
        default=0.0, description="chance that a stored bit of a threshold is wrong, of chains with signs; 0: none is"
    )
    draw: Literal["fresh", "frozen"] = Field(
        default="fresh", description="fresh: other weights for each batch; frozen: the same in the whole training"
    )
    map: Annotated[Path, Field(strict=False)] | None = Field(
        default=None, description="fault map of one device's weight memories, which `flow faults --save-map` writes"
    )
    ramp_epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="epochs in which the rates rise from 0"
    )
    guide: str = Field(
        default="",
        description="criterion by which important filters get fewer errors and others more; random: the control; "
        "empty: the same rate everywhere",
    )
    assignment: Literal["linear", "rank", "protect", "softmax"] = Field(
        default="linear", description="guide: how rates follow from scores"
    )
    protected: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="assignment protect: share of filters without errors"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        default=0.5, description="assignment softmax: low ones tell filters apart"
    )
    guide_epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=1, description="guide: epochs after which filters are scored anew; 0: once"
    )
    guide_images: Annotated[int, Field(ge=2, le=10_000_000)] = Field(
        default=256, description="guide: training images to score on"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> FaultTraining:
        faults: list[tuple[KeyPath, str, str]] = []
        if (self.p01 is None) != (self.p10 is None):
            missing = "p01" if self.p01 is None else "p10"
            faults.append(
                (("p10" if self.p01 is None else "p01",), f"{missing} is missing beside it", f"give {missing}")
            )
        if self.weights and (self.p01 is not None or self.p10 is not None):
            faults.append((("weights",), "p01 and p10 say the rates", "leave one or the other out"))
        if self.map is not None and (self.weigh or self.thresholds):
            key = "weights" if self.weights else "p01" if self.p01 is not None else "thresholds"
            faults.append(((key,), "the map says which bits are wrong", "leave one or the other out"))
        if self.used and not faults:
            try:
                self._checked()
            except Problem as problem:
                faults.append(((problem.key or "guide",), problem.what, problem.hint))
        if faults:
            raise cross_faults(faults)
        return self

    def _checked(self) -> None:
        """The rules of `BitErrors` and of criteria."""
        from ...models.relevance.criteria import check_scores_in_training

        self.bit_errors()
        if self.guide:
            check_scores_in_training(self.guide)

    def __str__(self) -> str:
        """What is wrong, for people: "weights 0.05, activations 0.01"."""
        both = self.p01 is not None and self.p10 is not None
        parts = [f"weights {self.weights:.3g}"] if self.weights else []
        parts += [f"weights of 0 {self.p01:.3g}, of 1 {self.p10:.3g}"] if both else []
        parts += [f"{key} {getattr(self, key):.3g}" for key in ("thresholds", "activations") if getattr(self, key)]
        parts += [f"those of {self.map}"] if self.map is not None else []
        return ", ".join(parts) + (f", guided by {self.guide}" if self.guide else "")

    @property
    def used(self) -> bool:
        """Whether anything is wrong at all."""
        return self.weigh or self.activations > 0 or self.thresholds > 0 or self.map is not None

    @property
    def weigh(self) -> bool:
        """Whether weights are wrong at a rate."""
        return bool(self.weights or self.p01 or self.p10)

    @property
    def stored(self) -> bool:
        """Whether memories are wrong at a rate."""
        return self.weigh or self.thresholds > 0

    @property
    def directed(self) -> bool:
        """Whether it matters which bit the hardware stores."""
        return self.map is not None or self.p01 != self.p10

    def bit_errors(self) -> BitErrors:
        """As training takes them; the map apart."""
        from ...models.training.bit_errors import BitErrors, ErrorRates

        up, down = (self.weights if rate is None else rate for rate in (self.p01, self.p10))
        return BitErrors(
            weights=ErrorRates(up, down),
            activations=self.activations,
            thresholds=self.thresholds,
            draw=self.draw,
            ramp_epochs=self.ramp_epochs,
            guide=self.guide if up or down else "",
            assignment=self.assignment,
            protected=self.protected,
            temperature=self.temperature,
            guide_epochs=self.guide_epochs,
            guide_images=self.guide_images,
        )
