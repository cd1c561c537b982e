"""Candidates of pruning on the packed engine, and the table of how important each group of channels is.

Everything here works on graphs; torch is not needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...transforms.channels import ChannelGroup, channel_groups, cut
from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.tensor import TensorType
from ...transforms.passes import rewrite as passes
from ...transforms.passes.accept import AcceptInput
from ...transforms.passes.compile import STAGES, is_mixed, level_of
from ..results.rankings import SensitivityRow

if TYPE_CHECKING:
    from ...models.prune.allocation.sensitivity import SensitivityCurve
    from ...sim.engine.simulator import Simulator


@dataclass(frozen=True, slots=True)
class Candidates:
    """Accuracy of a network without some of its channels, with batch norms re-estimated.

    Attributes:
        name, input, input_type, nodes, output: of the graph, whose batch norms were measured on `calibration`.
        calibration: images that batch norms are measured on, as the graph takes them.
        images, labels: what accuracy is measured on.
        unit: of class scores where the likelihood of the labels is measured, 0 where accuracy is.
    """

    name: str
    input: str
    input_type: TensorType
    nodes: tuple[Node, ...]
    output: str
    calibration: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    unit: float = 0.0

    @staticmethod
    def of(graph: Graph, calibration: np.ndarray, images: np.ndarray, labels: np.ndarray) -> Candidates:
        """Measure the whole network's batch norms.

        Raises:
            Problem: the graph is not of the network level, has no batch norms, or cannot be compiled.
        """
        from ...sim.norms import graph_norms, reestimate_graph

        if level_of(graph) != "network" or is_mixed(graph):
            hint = "give the QONNX file that training wrote, such as base/network.onnx"
            raise Problem("channels are removed from networks that still have batch norms", graph.name, hint)
        graph = AcceptInput()(graph).graph
        if not graph_norms(graph):
            what = "this network has no batch norms to re-estimate, so what is left of it cannot be judged"
            raise Problem(what, graph.name, "export it without folding batch norms into other operations")
        made = reestimate_graph(graph, calibration)
        return Candidates(made.name, made.input, made.input_type, made.nodes, made.output, calibration, images, labels)

    @property
    def graph(self) -> Graph:
        """The whole network."""
        return Graph(self.name, self.input, self.input_type, self.nodes, self.output)

    @property
    def groups(self) -> dict[str, ChannelGroup]:
        """The groups of channels that can be cut, by name."""
        return {group.name: group for group in channel_groups(self.graph) if not group.reason}

    def cut(self, keep: Mapping[str, np.ndarray]) -> Graph:
        """The network with what stays of its groups, batch norms behind the cuts re-estimated."""
        from ...sim.norms import reestimate_graph

        whole = self.graph
        groups = {group.name: group for group in channel_groups(whole)}
        smaller = cut(whole, keep)
        changed = {
            layer
            for name, indices in keep.items()
            if name in groups and len(indices) < groups[name].width
            for layer in groups[name].readers
        }
        return reestimate_graph(smaller, self.calibration, changed) if changed else smaller

    def by_likelihood(self) -> Candidates:
        """The same candidates, measured by the geometric mean of the probability that they give to the labels.

        Where accuracy is near 1, candidates are as accurate and their order is luck; the likelihood still falls.
        Scores are divided by the unit that makes the whole network's likelihood greatest, one more image counted that
        is of every class alike: without it no unit is best where all images are right. Networks that end in the
        index of a class stay measured by accuracy.
        """
        from scipy.optimize import minimize_scalar

        from ...sim.reconstruction import ends_in_scores

        if not ends_in_scores(self.graph):
            return self
        scores = self._simulator({}).scores(self.images)
        spread = float(scores.std()) or 1.0

        def lost(power: float) -> float:
            return -_smoothed_log_likelihood(scores / (spread * 2.0**power), self.labels)

        found = minimize_scalar(lost, bounds=(-8.0, 8.0), method="bounded")
        return replace(self, unit=spread * 2.0 ** round(float(found.x), 3))

    @property
    def measure(self) -> str:
        """What calling gives: "accuracy" or "likelihood"."""
        return "likelihood" if self.unit else "accuracy"

    def __call__(self, keep: Mapping[str, np.ndarray]) -> float:
        """Accuracy of what stays, or the likelihood of the labels, 0 to 1."""
        simulator = self._simulator(keep)
        if self.unit:
            return float(np.exp(_log_likelihood(simulator.scores(self.images) / self.unit, self.labels)))
        return float(np.mean(simulator.classes(self.images) == self.labels))

    def _simulator(self, keep: Mapping[str, np.ndarray]) -> Simulator:
        from ...sim.engine.simulator import Simulator

        steps = [step for level, several in STAGES if level in ("integer", "xnor") for step in several]
        lowered = passes.run_passes(steps, self.cut(keep)).graph
        return Simulator.of(lowered)

    def digest(self) -> str:
        """sha256 (hexadecimal) of all that an accuracy depends on."""
        total = hashlib.sha256(str(self.graph).encode() + (f"{self.unit:g}".encode() if self.unit else b""))
        for node in self.nodes:
            weight = getattr(node.op, "weight", None)
            total.update(b"" if weight is None else np.ascontiguousarray(weight).tobytes())
        for array in (self.calibration, self.images, self.labels):
            total.update(str((array.shape, array.dtype.str)).encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def _log_likelihood(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images of the logarithm of the label's probability (softmax)."""
    return float(_log_softmax(scores)[np.arange(len(labels)), labels].mean())


def _smoothed_log_likelihood(scores: np.ndarray, labels: np.ndarray) -> float:
    """As `_log_likelihood`, with one image's weight on labels that are uniform."""
    probable = _log_softmax(scores)
    chosen = float(probable[np.arange(len(labels)), labels].mean())
    return (len(labels) * chosen + float(probable.mean())) / (len(labels) + 1)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    made: np.ndarray = log_softmax(scores.reshape(len(scores), -1), axis=1)
    return made


def subsets(
    images: np.ndarray,
    labels: np.ndarray,
    validation: int,
    calibration: int,
    seed: int,
    held_out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validation images with labels, and other images to measure batch norms on, as `chosen_images` draws them."""
    chosen, rest = chosen_images(labels, validation, calibration, seed, held_out)
    return images[chosen], labels[chosen], images[rest]


def chosen_images(
    labels: np.ndarray, validation: int, calibration: int, seed: int, held_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Validation images, and others to measure batch norms on, drawn at random: ascending indices of both.

    Args:
        labels: (N,) of training images.
        validation, calibration: how many.
        seed: of the draw.
        held_out: indices of images that training did not see; where there are any, only they are validation images.

    Raises:
        Problem: there are not so many, or not enough of them for the classes.
    """
    from ...models.prune.allocation.sensitivity import check_subset

    order = np.random.default_rng([seed, 31]).permutation(len(labels))
    unseen = np.zeros(len(labels), bool)
    if held_out is not None:
        unseen[held_out] = True
        # Images that training did not see come first.
        order = np.concatenate([order[unseen[order]], order[~unseen[order]]])
    most = int(unseen.sum()) or len(labels) - calibration
    if validation > most or calibration > len(labels) - validation:
        what = f"{validation:,} validation and {calibration:,} calibration images of {len(labels):,}"
        left = f"at most {most:,} are left for validation" if most > 0 else "none are left for validation"
        raise Problem(what, "validation", f"{left}; take fewer of both (prune.validation, prune.calibration)")
    chosen, rest = np.sort(order[:validation]), np.sort(order[len(labels) - calibration :])
    check_subset(labels[chosen], int(labels.max()) + 1)
    return chosen, rest


def measured_curves(
    candidates: Candidates,
    scores: Mapping[str, np.ndarray],
    unit: int,
    least: int,
    shares: Sequence[float],
    folder: Path | None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SensitivityCurve]:
    """The sensitivity of every group that has scores.

    Raises:
        Problem: a share that is none, scores that do not fit a group, or a network that has no group to cut.
    """
    from ...models.prune.allocation.sensitivity import MeasuredAccuracy, check_scores, levels, measure_curves
    from ...models.prune.widths import one_of_each, spared

    for share in shares:
        if not 0 < share < 1:
            raise Problem(f"a level of {share:g}", "levels", "give shares between 0 and 1, such as 0.25")
    groups = candidates.groups
    check_groups(groups, scores, channel_groups(candidates.graph))
    check_scores(scores)
    layers = {name: list(groups[name].rows.values()) for name in scores}
    needed = {name: max(least, len(one_of_each(values, layers[name]))) for name, values in scores.items()}
    removed = {name: levels(len(values), unit, needed[name], shares) for name, values in scores.items()}
    scores = {name: spared(values, layers[name]) for name, values in scores.items()}
    measured = MeasuredAccuracy(candidates, candidates.digest(), folder)
    return measure_curves(scores, {n: counts for n, counts in removed.items() if counts}, measured, jobs, progress)


def check_groups(
    groups: Mapping[str, ChannelGroup], scores: Mapping[str, np.ndarray], every: Sequence[ChannelGroup]
) -> None:
    """Whether scores name groups that can be cut, with a number for each channel.

    Raises:
        Problem: says why a group cannot be cut, or which there are.
    """
    reasons = {group.name: group.reason for group in every if group.reason}
    for name, values in scores.items():
        if name not in groups:
            what = f"this group cannot be pruned: {reasons[name]}" if name in reasons else "there is no such group"
            raise Problem(what, name, f"groups are: {', '.join(groups)}")
        if len(values) != groups[name].width:
            raise Problem(f"{len(values)} scores for {groups[name].width} channels", name)


def sensitivity_rows(curves: Mapping[str, SensitivityCurve], measure: str = "accuracy") -> list[SensitivityRow]:
    """A row a group; `measure` says what the curves hold."""
    said = None if measure == "accuracy" else measure
    return [
        SensitivityRow(name, curve.width, list(curve.removed), list(curve.accuracy), curve.losses().tolist(), said)
        for name, curve in curves.items()
    ]


def sensitivity_curves(rows: Sequence[SensitivityRow]) -> dict[str, SensitivityCurve]:
    """What `sensitivity_rows` was made from."""
    from ...models.prune.allocation.sensitivity import SensitivityCurve

    return {row.group: SensitivityCurve(row.group, row.width, tuple(row.removed), tuple(row.accuracy)) for row in rows}


def random_group_scores(groups: Mapping[str, ChannelGroup], seed: int) -> dict[str, np.ndarray]:
    """Uniform random scores, for a graph without anything to rank by."""
    rng = np.random.default_rng(seed)
    return {name: rng.random(group.width) for name, group in groups.items()}
