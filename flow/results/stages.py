"""What the stages of a build find, each in a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..run.typed_json import BESIDE, OPTIONAL
from .comparison import HardwareComparison
from .costs import InputHeld, NetworkCost

# Whose images judge: those that the network knows, has not seen, or, where its weights were given, may know.
SEEN, UNSEEN, UNKNOWN = "training images", "held out of training", "held out here, which the given weights may know"
# What the allocation of a step calls itself where its table decided.
BY_SENSITIVITY = "sensitivity"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoResult:
    """Of a stage that was left out, or that leaves files alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """What the report was made of.

    Attributes:
        done: in which order the other stages had been done, ascending numbers by their names.
    """

    done: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataResult:
    """The images.

    Attributes:
        train, test: numbers of images.
        shape: of one, (C, H, W).
        classes: number of them.
        source: where they come from, for people.
        files: name to sha256.
        order: sha256 of the labels, in the order of their images.
    """

    train: int
    test: int
    shape: list[int]
    classes: int
    source: str
    files: Mapping[str, str]
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of training.

    Attributes:
        loss: mean over its images.
        accuracy: on the training images as they went by, 0 to 1.
        figures: what the optimizer and images held out add, such as `validation`, accuracy on those.
    """

    loss: float
    accuracy: float
    figures: Mapping[str, float] = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained network.

    Attributes:
        history: of its epochs; empty for trained weights that were left as they are.
        accuracy_before_reestimation, accuracy: on the test images, 0 to 1, before and after batch norms were
            re-estimated.
        zeros: share of weights of 0 by layer, 0 to 1; left out where weights have one bit.
        errors: bit errors that it was trained with, for people; left out where there were none.
        sums: approximate sums that it was trained with, and that the accuracies are of, for people; left out where they
            were exact.
        device: that trained it.
    """

    history: list[Epoch]
    accuracy_before_reestimation: float
    accuracy: float
    zeros: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)
    errors: str | None = field(default=None, metadata=OPTIONAL)
    sums: str | None = field(default=None, metadata=OPTIONAL)
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceMaps:
    """The picture of where a criterion finds relevance.

    Attributes:
        method: of the criterion.
        layers: that are drawn.
    """

    method: str
    layers: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneStep:
    """One round of a pruning.

    Attributes:
        step: from 1.
        kept: what is left, by group or layer.
        macs: of one image.
        accuracy_before, accuracy_after: on held-out images, 0 to 1, before and after fine-tuning; None where it was not
            measured.
        rolled_back: whether it cost too much, and was undone.
        check: of the scores; left out of methods that have none.
        filters: which of the unpruned ones are left, by layer, where filters were removed.
        scores: of the filters before, by layer, where they were scored.
        allocation: what the allocator says; {} of the uniform one.
        dropped: the residual unit that went.
        cost: parts of the cost of what is left, by name; {} where they are not known. Of the summary alone.
        more: what the method adds.
    """

    step: int
    kept: Mapping[str, int]
    macs: int
    accuracy_before: float | None
    accuracy_after: float
    rolled_back: bool
    check: float | None = field(default=None, metadata=OPTIONAL)
    filters: Mapping[str, list[int]] | None = field(default=None, metadata=OPTIONAL)
    scores: Mapping[str, list[float]] | None = field(default=None, metadata=OPTIONAL)
    allocation: Mapping[str, Any] | None = field(default=None, metadata=OPTIONAL)
    dropped: str | None = field(default=None, metadata=OPTIONAL)
    cost: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)
    more: Mapping[str, Any] = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredStep(PruneStep):
    """A round of removing filters by their scores.

    Attributes:
        check: of the scores; None where the criterion has none.
    """

    check: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningResult:
    """A pruned network.

    Attributes:
        method: its name in the recipe.
        criterion: that ranks; left out of methods that rank nothing.
        allocation: of filters to layers; left out of other methods.
        relevance: of the picture of relevance; {} where there is none. Of ecqx, where relevance comes from. Left out
            where no run is pruned.
        steps: in order.
        held_out_accuracy, accuracy: of the unpruned network on held-out training images, and of the pruned one on the
            test images, 0 to 1.
        judged_on: whose images those are: "held out of training", "held out here, which the given weights may know", or
            "training images", which the network knows, so that it looks better there than it is. Left out of older
            runs.
        stop: why it ended before its last step; may be empty.
        kept: what is left, by group or layer.
        unit: what `kept` counts.
        more: what the method adds.
    """

    method: str
    criterion: str | None = field(default=None, metadata=OPTIONAL)
    allocation: str | None = field(default=None, metadata=OPTIONAL)
    relevance: RelevanceMaps | NoResult | str | None = field(default=None, metadata=OPTIONAL)
    steps: list[ScoredStep | PruneStep]
    held_out_accuracy: float
    judged_on: str | None = field(default=None, metadata=OPTIONAL)
    stop: str
    kept: Mapping[str, int]
    unit: str
    accuracy: float
    more: Mapping[str, Any] = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpruned:
    """The network before pruning.

    Attributes:
        kept: channels by group.
        cost: parts of the cost, by name.
    """

    kept: Mapping[str, int]
    cost: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedRun(PruningResult):
    """What `flow prune` finds.

    Attributes:
        folder: of the run.
        unpruned: the network before; left out where other things than filters were removed.
        files: of the smaller network, where it was written apart from the run.
    """

    folder: str
    unpruned: Unpruned | None = field(default=None, metadata=OPTIONAL)
    files: list[str] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamlineResult:
    """What the compiler says of each network.

    Attributes:
        notes: by network.
        input: what its input holds, by network; None where it is not known.
    """

    notes: Mapping[str, list[str]]
    input: Mapping[str, InputHeld | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRow:
    """One comparison.

    Attributes:
        stage: what is compared with the integer network or the level before.
        images, values: that were compared.
        differences: values that differ, where float32 could not round to the other side.
        ties: images whose class float32 splits.
    """

    stage: str
    images: int
    values: int
    differences: int
    ties: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkVerified:
    """The comparisons of one network.

    Attributes:
        images: test images that were compared on.
        stages: one row a comparison.
        accuracy: of the integer network on all test images, 0 to 1.
    """

    images: int
    stages: list[VerifyRow]
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """The comparisons, by network."""

    networks: Mapping[str, NetworkVerified] = field(default_factory=dict, metadata=BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What FINN is handed of a network.

    Attributes:
        file: the graph, in the run folder.
        units: number of them.
        cycles: initiation interval, clock cycles per image.
        fps: images per second.
        lut, bram18: look-up tables and block RAMs, as the cost model counts them.
    """

    file: str
    units: int
    cycles: int
    fps: float
    lut: int
    bram18: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHandedOver:
    """That FINN is handed nothing.

    Attributes:
        reason: why its units cannot make the network, or not at the rate on the part.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedBy:
    """By whose cost a folding was chosen, and is counted.

    Attributes:
        cost_model: name of the cost model that chose: "bnnflow", our own hardware's, or "exact", FINN's formulas.
        why: why our own hardware's did not; empty where it did, or where another was asked for.
        lut_error: of the LUTs of units that the model's fit did not see, relative, on average; left out of FINN's
            formulas, which are of other hardware.
    """

    cost_model: str
    why: str
    lut_error: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """The part, what chose the foldings, and what FINN is handed.

    Attributes:
        part: its name.
        lut, bram18: that it has.
        folded_by: what chose, by network.
        finn: by network.
    """

    part: str
    lut: int
    bram18: int
    folded_by: Mapping[str, FoldedBy]
    finn: Mapping[str, HandedOver | NotHandedOver]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostResult:
    """The estimates, by network.

    Attributes:
        unpruned, steps: parts of the cost of the unpruned network and after each step of removing filters, by name;
            left out where other things were removed.
        comparison: the pruned network's hardware beside that of the unpruned one; left out where none is pruned.
        notes: what is to be said beside them, by network; left out where there is nothing.
    """

    networks: Mapping[str, NetworkCost] = field(default_factory=dict, metadata=BESIDE)
    unpruned: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)
    steps: list[Mapping[str, float]] | None = field(default=None, metadata=OPTIONAL)
    comparison: HardwareComparison | None = field(default=None, metadata=OPTIONAL)
    notes: Mapping[str, list[str]] | None = field(default=None, metadata=OPTIONAL)
