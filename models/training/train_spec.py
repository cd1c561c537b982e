"""How to train, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from bnnflow import Problem

from .approximation_spec import EXACT, Approximation
from .bit_errors import NO_ERRORS, BitErrors

Optimizer = Literal["adam", "sgd", "bop"]
LossName = Literal["cross-entropy", "squared-hinge", "mhl", "mcel"]
Schedule = Literal["cosine", "step", "constant"]
Augment = Literal["none", "crop", "flip", "crop-flip"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
WeightSign = Literal["exact", "stochastic"]


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How to train.

    Args:
        epochs: passes over the training images; 0 leaves the network as it is.
        batch: images in a step, at least 2; the steps of an epoch differ by at most one image.
        learning_rate: at the first step behind the warm-up; of Adam for everything but binary weights with bop.
        seed: of the order of the images, augmentation and drawn signs; each epoch depends on seed and epoch alone.
        optimizer: "adam", "sgd" (with momentum), or "bop" (binary weights without latent weights).
        momentum: of sgd.
        weight_decay: of adam and sgd.
        bop_rate, bop_threshold: gamma, which follows the schedule, and tau of bop.
        momentum_format: number format of bop's momenta such as "e5m2"; "" is float32.
        loss, margin: see `losses.make_loss`.
        schedule: "cosine" falls to 0 along half a cosine over all steps; "step" multiplies by step_factor after every
            step_epochs epochs; "constant".
        step_epochs, step_factor: of schedule "step".
        warmup_epochs: epochs in which the rate rises linearly from 0 before the schedule.
        augment: see `augment.augment`.
        accumulate: parts into which a batch is divided to save memory; batch norms see one part at a time.
        validation: share of the training images, 0 to 0.5, that is held out to measure accuracy after each epoch.
        patience: epochs without a better validation accuracy after which training stops and the best network is
            taken; 0 never stops.
        distill: weight, 0 to 1, of the loss against a teacher, the float counterpart of the network trained first.
        temperature, teacher_epochs: of distillation.
        weight_sign: "stochastic" draws the sign of each latent weight anew for each part of a batch, +1 with
            probability (w + 1) / 2; the trained network has the exact signs.
        device: "auto" takes a GPU where there is one; docs/training-on-a-gpu.md says what is different there.
        precision: "bfloat16" computes products, and sums of more than 8 bits, in bfloat16: 1.4 to 2.5 times faster
            on processors with AVX-512 BF16, slower on those without.
        bit_errors: that training computes with.
        approximation: of sums of XNOR products, that training computes with.

    Raises:
        Problem: a value is out of its range, or options do not fit together.
    """

    epochs: int
    batch: int
    learning_rate: float
    seed: int
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    bop_rate: float = 1e-4
    bop_threshold: float = 1e-8
    momentum_format: str = ""
    loss: LossName = "cross-entropy"
    margin: float | None = None
    schedule: Schedule = "cosine"
    step_epochs: int = 50
    step_factor: float = 0.5
    warmup_epochs: int = 0
    augment: Augment = "none"
    accumulate: int = 1
    validation: float = 0.0
    patience: int = 0
    distill: float = 0.0
    temperature: float = 4.0
    teacher_epochs: int = 10
    weight_sign: WeightSign = "exact"
    device: Device = "cpu"
    precision: Precision = "float32"
    bit_errors: BitErrors = NO_ERRORS
    approximation: Approximation = EXACT

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise Problem(f"{self.epochs} epochs", key="epochs", hint="0 or more")
        if self.batch < 2:
            raise Problem(f"a batch of {self.batch}", key="batch", hint="batch norm needs 2 images or more")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise Problem(f"a learning rate of {self.learning_rate}", key="learning_rate", hint="for example 0.001")
        if self.seed < 0:
            raise Problem(f"a seed of {self.seed}", key="seed", hint="0 or more")
        words = (
            ("optimizer", Optimizer),
            ("loss", LossName),
            ("schedule", Schedule),
            ("augment", Augment),
            ("device", Device),
            ("precision", Precision),
            ("weight_sign", WeightSign),
        )
        for field, allowed in words:
            if getattr(self, field) not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise Problem(f"{getattr(self, field)!r} is not one of {known}", key=field)
        self._check_options()

    def _check_options(self) -> None:
        if self.approximation and self.bit_errors:
            what = "bit errors and approximate sums are not trained for at once"
            raise Problem(what, key="approximation", hint="leave one of them out")
        if self.batch < 2 * self.accumulate:
            what = f"a batch of {self.batch} in {self.accumulate} parts"
            raise Problem(what, key="accumulate", hint="batch norm needs 2 images or more in each part")
        if self.patience and not self.validation:
            raise Problem(
                "patience needs images held out to stop by", key="patience", hint="set validation, for example 0.1"
            )
        if self.momentum_format:
            if self.optimizer != "bop":
                raise Problem(
                    "only bop has momenta in a small format", key="momentum_format", hint="set optimizer: bop"
                )
            from .float_format import FloatFormat

            FloatFormat.parse(self.momentum_format)
        if self.weight_sign == "stochastic" and self.optimizer == "bop":
            raise Problem("bop has no latent weights to draw signs from", key="weight_sign", hint="use exact")

    def rate(self, step: int, steps: int) -> float:
        """The factor of the learning rate at `step` (from 0) with `steps` steps per epoch."""
        warm = min(self.warmup_epochs, self.epochs) * steps
        if step < warm:
            return (step + 1) / warm
        total = self.epochs * steps
        match self.schedule:
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
            case "step":
                return float(self.step_factor ** (step // steps // self.step_epochs))
        return 1.0
