"""How criteria rank filters, and how they do against chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import OPTIONAL
from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptumComparison:
    """What Captum's DeepLIFT says to ours.

    Attributes:
        images: how many were compared; 0 where Captum cannot follow the network.
        completeness: greatest |sum of Captum's attributions - change| / max(1, |change|); None without images.
        difference: greatest |Captum's attribution - ours| / max(1, |change|) in `layers`; None without.
        layers: with no pool behind them, where both rules are the same.
        reason: why Captum cannot follow the network; empty where it can.
    """

    images: int
    completeness: float | None
    difference: float | None
    layers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionScores:
    """Scores by one criterion.

    Attributes:
        criterion: its name.
        meaning: of a score.
        check: of the scores; None where the criterion has none.
        check_is: what the check is; empty where there is none.
        captum: of deeplift-captum; None of others.
        seconds: that scoring took.
        images: that were looked at.
        scores: of the filters, by layer.
    """

    criterion: str
    meaning: str
    check: float | None
    check_is: str
    captum: CaptumComparison | None
    seconds: float
    images: int
    scores: Mapping[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceCell:
    """What is left without some channels, chosen by criteria and by chance.

    Attributes:
        group: that loses channels, or "all": every group the same share.
        share: of its channels that go, 0 to 1.
        mean, deviation: of the accuracies, 0 to 1, of random draws; the deviation is that of single draws.
        accuracy: by criterion, 0 to 1.
    """

    group: str
    share: float
    mean: float
    deviation: float
    accuracy: Mapping[str, float]

    def z(self, criterion: str) -> float | None:
        """How many deviations of single draws a criterion is above their mean; None where all draws are alike."""
        return (self.accuracy[criterion] - self.mean) / self.deviation if self.deviation > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChanceTable:
    """Rankings beside chance, without any training.

    Attributes:
        draws: random choices a cell.
        images: that judged.
        judged_on: whose they are: "held out of training", "held out here, which the given weights may know", or
            "training images", which the network knows; of a QONNX file "test images" of the data set, or "other images"
            than those that were scored.
        cells: all groups at once first, then each.
    """

    draws: int
    images: int
    judged_on: str
    cells: list[ChanceCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What `flow rank` finds.

    Attributes:
        run: its folder, or the QONNX file.
        network: "base" or "pruned"; "file" of a QONNX file.
        images: that were drawn.
        seed: of the images and of random scores.
        criteria: in the order asked for.
        spearman: rank correlations of each pair, -1 to 1, by layer; None where one of both has no differences.
        chance: rankings beside random draws; left out where it was not asked for.
    """

    run: str
    network: str
    images: int
    seed: int
    criteria: list[CriterionScores]
    spearman: Mapping[str, list[list[float | None]]]
    chance: ChanceTable | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """Networks pruned by one criterion.

    Attributes:
        criterion: its name; of random draws "random".
        accuracies: on the test images, by seed (and draw), 0 to 1.
        mean: of them.
        against_unpruned: mean less that of the unpruned networks.
    """

    criterion: str
    accuracies: list[float]
    mean: float
    against_unpruned: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow(StudyRow):
    """A criterion against chance.

    Attributes:
        gap: mean less that of the random draws of the same seeds.
        half_width: of its interval, which has the amount's `confidence`.
        beaten: random draws of the same seed that were less accurate.
        verdict: "better", "worse" or "-", where it is not told apart.
    """

    gap: float
    half_width: float
    beaten: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAmount:
    """Criteria at one amount.

    Attributes:
        amount: share of each group that went, 0 to 1.
        fewer: share of the binary products that went, 0 to 1.
        confidence: of each interval, 0 to 1, so that all of them hold together with 0.95.
        rows: the best first.
    """

    amount: float
    fewer: float
    confidence: float
    rows: list[ComparedRow | StudyRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Criteria against chance.

    Attributes:
        unpruned: accuracy by seed, 0 to 1.
        images: test images.
        seeds: of the unpruned networks.
        draws: random ones a seed.
        amounts: in the order asked for.
    """

    unpruned: list[float]
    images: int
    seeds: list[int]
    draws: int
    amounts: list[StudyAmount]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult(Comparison):
    """What `flow study` finds.

    Attributes:
        recipe: its file.
        folder: of the networks.
        steps: rounds of pruning.
        epochs: of fine-tuning a round.
        left_out: why a criterion was left out, by its name.
    """

    recipe: str
    folder: str
    steps: int
    epochs: int
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """Accuracy without the lowest channels of one group.

    Attributes:
        group: its name.
        width: its channels.
        removed: how many of them were removed; 0 first.
        accuracy: then, 0 to 1.
        loss: accuracy that this costs, 0 to 1; never falls.
        measure: "likelihood" where `accuracy` and `loss` are of the geometric mean of the probability of the labels;
            left out where they are of accuracy.
    """

    group: str
    width: int
    removed: list[int]
    accuracy: list[float]
    loss: list[float]
    measure: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityTable:
    """What `flow sensitivity` finds.

    Attributes:
        network: its file, or the folder of its run.
        criterion: that channels are ranked by, or the file of scores.
        seed: of the images drawn and of random scores.
        validation, calibration: images that accuracy and batch norms are measured on.
        accuracy: of the whole network, 0 to 1; None without groups.
        groups: in the order of the network.
        input: what the file's input holds; left out of runs.
    """

    network: str
    criterion: str
    seed: int
    validation: int
    calibration: int
    accuracy: float | None
    groups: list[SensitivityRow]
    input: InputHeld | None = field(default=None, metadata=OPTIONAL)
