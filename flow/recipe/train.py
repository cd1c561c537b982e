"""The recipe's section `train`; its keys are those of `models.train_spec.TrainSpec`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .positions import KeyPath
from .section import Batch, Count, Rate, Section, Share, cross_faults


class Train(Section):
    """Training of the unpruned network."""

    epochs: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="passes over the training images; null: 10, or 0 where weights are given"
    )
    batch: Batch = Field(default=100, description="images per step")
    learning_rate: Rate = Field(default=0.003, description="of the first step; the schedule lowers it")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="processor threads; null: one where a step has less than 100 million products, "
        "else OMP_NUM_THREADS, or as many as there are cores",
    )
    optimizer: Literal["adam", "sgd", "bop"] = Field(
        default="adam", description="bop flips binary weights and has no latent ones"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="of sgd")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(default=0.0, description="of adam and sgd")
    bop_rate: Rate = Field(default=1e-4, description="bop: how fast its momentum follows the gradient")
    bop_threshold: Rate = Field(default=1e-8, description="bop: momentum from which on a weight flips")
    momentum_format: Annotated[str, Field(pattern=r"^(e[2-8]m(1?\d|2[0-3]))?$")] = Field(
        default="",
        description="bop: number format of momenta, such as e5m2; empty: float32",
        json_schema_extra={"examples": ["e5m2", "e4m3", "any from e2m0 to e8m23"]},
    )
    loss: Literal["cross-entropy", "squared-hinge", "mhl", "mcel"] = Field(
        default="cross-entropy", description="mhl, mcel: with a margin, against bit errors"
    )
    margin: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="of the other losses; null: 1, or a 16th of the last fan-in on raw sums"
    )
    schedule: Literal["cosine", "step", "constant"] = Field(default="cosine", description="how the learning rate falls")
    step_epochs: Count = Field(default=50, description="schedule step: epochs between two steps")
    step_factor: Rate = Field(default=0.5, description="schedule step: factor of each step")
    warmup_epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="epochs in which the learning rate rises from 0"
    )
    augment: Literal["none", "crop", "flip", "crop-flip"] = Field(
        default="none", description="move images by up to an eighth of their side, mirror them"
    )
    accumulate: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="parts of a batch, to save memory")
    validation: Annotated[float, Field(ge=0, le=0.5)] | None = Field(
        default=None,
        description="share of every class's training images held out to measure each epoch; null: 0.1 where pruning "
        "measures (prune.max_loss, prune.allocation: sensitivity, prune.method: blocks), else 0",
    )
    patience: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="stop after so many epochs without a better validation; 0: never"
    )
    distill: Share = Field(default=0.0, description="weight of the loss against a float teacher; 0: no teacher")
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(default=4.0, description="of distillation")
    teacher_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(default=10, description="of the teacher")
    weight_sign: Literal["exact", "stochastic"] = Field(
        default="exact", description="stochastic: draw the signs of latent weights in training"
    )
    norm_images: Count | None = Field(
        default=None, description="training images that batch norms are measured on afterwards; null: all"
    )
    flip_window: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="count the weights' sign changes in the last so many epochs; 0: do not count"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of products; bfloat16: faster on GPUs and AVX-512 BF16"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Train:
        faults: list[tuple[KeyPath, str, str]] = []
        if self.momentum_format and self.optimizer != "bop":
            what = "only bop has momenta in a small format"
            faults.append((("momentum_format",), what, "set `optimizer: bop`, or remove the key"))
        if self.weight_sign == "stochastic" and self.optimizer == "bop":
            faults.append((("weight_sign",), "bop has no latent weights to draw signs from", "use exact"))
        if self.patience and not self.validation:
            faults.append((("patience",), "patience needs images held out", "set `validation`, for example 0.1"))
        if self.batch < 2 * self.accumulate:
            what = f"a batch of {self.batch} in {self.accumulate} parts leaves less than 2 images in a part"
            faults.append((("accumulate",), what, "batch norm needs 2 or more"))
        if faults:
            raise cross_faults(faults)
        return self
