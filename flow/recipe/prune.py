"""The section `prune` of a recipe: what is removed, by which method, and how the network recovers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bnnflow import Problem

from ...models.relevance.criteria import Criterion
from .section import Batch, Count, Rate, Section, Share, cross_faults

PARTS_OF_COST = ("lut", "bram18", "cycles", "energy", "ops", "weight_bits")
Method = Literal["filters", "masks", "ecqx", "synapses", "planes", "blocks"]


class Masks(Section):
    """Method masks: filters and neurons chosen by masks that are trained with the weights."""

    strength: Annotated[float, Field(ge=0)] = Field(default=1.0, description="of the penalty on channels that are on")
    order: Literal["joint", "layers"] = Field(default="joint", description="all layers at once, or from the input on")
    grow: Annotated[float, Field(ge=1, le=8)] = Field(
        default=1.0, description="begin so many times wider, with Gumbel noise; 1: neither"
    )
    mask_epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=3, description="of masks and weights (of each layer); prune.epochs follow"
    )
    mask_rate: Rate = Field(default=0.003, description="learning rate of masks and weights")


class Ecqx(Section):
    """Method ecqx: weights of few levels, assigned by distance, entropy and relevance."""

    bits: Annotated[int, Field(ge=2, le=5)] = Field(default=2, description="of weights; 2: -1, 0 and +1")
    strength: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="squared steps that a bit of code is worth"
    )
    extra: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="share of zeros that relevance may add; 0: none"
    )
    relevance: Literal["taylor", "lrp"] = Field(default="taylor", description="of weights: |w dL/dw|, or LRP")


class Synapses(Section):
    """Method synapses: single synapses of binary layers, which become weights of 0."""

    share: Annotated[float, Field(ge=0, le=0.99)] = Field(default=0.5, description="of the synapses to remove")
    layers: Annotated[tuple[str, ...], Field(strict=False, max_length=1000)] = Field(
        default=(), description="only in these; empty: in all"
    )
    criterion: Literal["latent", "taylor", "flips", "flips-step", "random"] = Field(
        default="latent", description="|w|, |w dL/dw|, sign changes counted in training, or drawn"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="in which the share is reached")


class Planes(Section):
    """Method planes: the lowest input bit planes of a network of `model.input: planes`."""

    drop: Annotated[int, Field(ge=1, le=7)] | None = Field(
        default=None, description="so many at once; null: one by one while prune.max_loss holds"
    )


class Blocks(Section):
    """Method blocks: whole residual units (what one join adds), each time the one whose loss is least."""

    drop: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="so many; null: as many as prune.max_loss allows"
    )


class Prune(Section):
    """Removal of filters and neurons, least relevant first, or of what another method removes, then fine-tuning."""

    enabled: bool = Field(default=True, description="false: build the unpruned network only")
    method: Method = Field(
        default="filters",
        description="filters: as criterion to max_loss and min_width on say; the others by the sections of their names",
    )
    criterion: str = Field(
        default="deeplift",
        description="how relevance is scored: METHOD, METHOD:REDUCTION or borda(A, B); `flow rank --help` lists them",
    )
    amount: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.25, description="share of each layer to remove, in all"
    )
    steps: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2, description="rounds of scoring, removing, fine-tuning"
    )
    unit: Annotated[int, Field(ge=1, le=256)] = Field(default=8, description="remove in multiples, for a legal folding")
    images: Count = Field(default=256, description="training images that are scored")
    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(default=2, description="fine-tuning passes after each round")
    batch: Batch = Field(default=100, description="images per fine-tuning step")
    learning_rate: Rate = Field(default=0.001, description="of fine-tuning")
    optimizer: Literal["adam", "sgd", "bop"] | None = Field(
        default=None, description="of fine-tuning; this and the next five: null as in train"
    )
    loss: Literal["cross-entropy", "squared-hinge", "mhl", "mcel"] | None = Field(
        default=None, description="of fine-tuning"
    )
    margin: Annotated[float, Field(gt=0, le=1e6)] | None = Field(default=None, description="of the loss")
    schedule: Literal["cosine", "step", "constant"] | None = Field(
        default=None, description="how the learning rate falls in each round"
    )
    augment: Literal["none", "crop", "flip", "crop-flip"] | None = Field(default=None, description="of images")
    precision: Literal["float32", "bfloat16"] | None = Field(default=None, description="of products")
    distill: Share = Field(
        default=0.0, description="filters: weight of fine-tuning's loss against the unpruned network; 0: no teacher"
    )
    max_loss: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None,
        description="points (filters, planes, blocks); the first round that loses more is undone, and the last",
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
        default="refold", description="sensitivity: cost of the hardware folded anew, or with PE and SIMD kept"
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

    masks: Masks = Field(default=Masks(), description="of method masks")
    ecqx: Ecqx = Field(default=Ecqx(), description="of method ecqx")
    synapses: Synapses = Field(default=Synapses(), description="of method synapses")
    planes: Planes = Field(default=Planes(), description="of method planes")
    blocks: Blocks = Field(default=Blocks(), description="of method blocks")

    @model_validator(mode="after")
    def _is_criterion(self) -> Prune:
        try:
            Criterion.parse(self.criterion)
        except Problem as problem:
            raise cross_faults([(("criterion",), problem.what, problem.hint)]) from None
        return self
