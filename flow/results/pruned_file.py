"""What pruning a QONNX file finds: its channels, or what another method removes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .costs import InputHeld
from .rankings import CaptumComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a network answers on the images that judge.

    Attributes:
        accuracy: 0 to 1; None without labels.
        same: share of images with the unpruned network's answer, 0 to 1.
    """

    accuracy: float | None
    same: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How a cut network was trained.

    Attributes:
        epochs, batch, learning_rate, distill: as asked for.
        images: that it was trained on, none of which judge.
        labels: "given", or "whole network" where its answers are what was learned.
        loss, accuracy: of each epoch, on the images as they went by.
        seconds: of all epochs.
        compared: images on which the trained module's answers and its graph's on integers were compared.
        float_ties: of these, images with a float tie whose answers differ; all others are equal, or the command fails.
        untrained: answers of the cut network before.
    """

    epochs: int
    batch: int
    learning_rate: float
    distill: float
    images: int
    labels: str
    loss: list[float]
    accuracy: list[float]
    seconds: float
    compared: int
    float_ties: int
    untrained: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedFile:
    """What `flow prune NET.onnx` finds.

    Attributes:
        network, output: files.
        level: of what was written: "network", whose batch norms were re-estimated, or "integer", whose thresholds were.
        norms_added: batch norms in front of quantizers that saw changed sums through none, in a "network".
        criterion: that chose.
        check: its self-check on these images; None where it has none.
        captum: of deeplift, what Captum says to it; None of others.
        seed: of all that is drawn.
        images, calibration, judged: how many images chose, re-estimated and judge.
        widths, kept: channels before and after, by group.
        compared, different: integers of the cut network and of the whole one with the weights of removed channels at 0,
            before any re-estimation; how many differ, which is 0 or the command fails.
        before, after: answers.
        operations, operations_after: products of an image.
        weights, weights_after: how many.
        seconds: that choosing, cutting and re-estimating took.
        tuning: how it was trained; None where it was not.
        input: what the input holds; None where it is not known.
    """

    network: str
    output: str
    level: str
    norms_added: int
    criterion: str
    check: float | None
    captum: CaptumComparison | None
    seed: int
    images: int
    calibration: int
    judged: int
    widths: dict[str, int]
    kept: dict[str, int]
    compared: int
    different: int
    before: Answers
    after: Answers
    operations: int
    operations_after: int
    weights: int
    weights_after: int
    seconds: float
    tuning: Tuning | None
    input: InputHeld | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStep:
    """One removal from a file's network and its recovery.

    Attributes:
        kept: what is left, by layer, unit or group.
        operations: products of an image, those with weights of 0 left out.
        before, after: share, 0 to 1, of the images that decide whose class is right, before and after fine-tuning.
        undone: it lost too much.
        dropped: the unit that went; "" of synapses and channels.
    """

    kept: dict[str, int]
    operations: int
    before: float
    after: float
    undone: bool = False
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReducedFile:
    """What `flow prune NET.onnx --method M` finds.

    Attributes:
        network, output: files.
        level: of what was written: "network", whose batch norms were re-estimated, or "integer", whose thresholds were.
        method: that removed.
        counts: what, such as "synapses".
        criterion: by which; "" where the method has none.
        settings: of the method.
        seed: of all that is drawn.
        images, calibration, judged: how many images score and decide, re-estimate, and judge.
        decided_by: "labels", or "whole network" where its answers are what is right.
        epochs: of fine-tuning after each step.
        trained: images of it, and of what the method trains by itself.
        whole, kept: what there was and is left, by layer, unit or group.
        steps: one by one.
        stop: why it ended before its last step; "" where it did not.
        compared: values of the smaller network's levels that were compared with those of the level before; all equal,
            or the command fails.
        cut_compared: of channels and planes, sums of the smaller network, before anything was re-estimated, that were
            compared with those of the one before with weights of 0 in place of what went; all equal, or the command
            fails.
        before, after: answers on the images that judge.
        operations, operations_after: products of an image, those with weights of 0 left out.
        weights, weights_after: how many are not 0.
        seconds: that all of it took.
        input: what the input holds; None where it is not known.
    """

    network: str
    output: str
    level: str
    method: str
    counts: str
    criterion: str
    settings: dict[str, Any]
    seed: int
    images: int
    calibration: int
    judged: int
    decided_by: str
    epochs: int
    trained: int
    whole: dict[str, int]
    kept: dict[str, int]
    steps: list[FileStep]
    stop: str
    compared: int
    cut_compared: int
    before: Answers
    after: Answers
    operations: int
    operations_after: int
    weights: int
    weights_after: int
    seconds: float
    input: InputHeld | None
