"""Proof by simulation that every level of a network computes what the level before computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import Affine, Best, LabelSelect
from ..transforms.ir.tensor import Array
from ..transforms.passes.rewrite import Equivalence, FloatTies
from .engine.simulator import Simulator, classes_of
from .images import batches

# Float ties state how far float32 may err; the simulator computes a network's floats in float64.
_FLOAT64_OF_FLOAT32 = 2.0**-28
# Scores of a layer that is computed in floats are equal to rounding, by share of the greatest score.
_ROUNDING64, _ROUNDING32 = 1e-12, 1e-5


@dataclass(frozen=True, slots=True)
class Level:
    """One level to verify: its graph, how its tensors equal those of the level before, and where float ties are."""

    name: str
    graph: Graph
    equivalences: tuple[Equivalence, ...] = ()
    float_ties: tuple[FloatTies, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared between one level and the one before.

    Attributes:
        name: of the level or the other program.
        tensors, images, values: how many were compared.
        differences: values that differ because of a float tie, only on images that hold one; 0 between levels of
            integers.
        ties: images to which the other program gives another class although all values agree, because float32
            splits two scores that are equal, or nearly so.
    """

    name: str
    tensors: int
    images: int
    values: int
    differences: int = 0
    ties: int = 0


def verify(
    levels: Sequence[Level],
    images: Array,
    batch: int = 200,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Verified]:
    """Run all levels on the same images and compare every tensor that both have and the classes for equality.

    Classes may differ only where the level before computes its last layer in floats and has scores that are equal to
    rounding, and on images with float ties.

    Args:
        levels: at least two, in the order of compilation, with integer inputs.
        images: (images, *input shape), integers.
        batch: images at a time.
        progress: called with the number of images done.

    Raises:
        Problem: status 1; names the level, the first differing tensor, image, position and both values.
    """
    simulators = [Simulator.of(level.graph) for level in levels]
    values, differences = [0] * len(levels), [0] * len(levels)
    done = 0
    for part in batches(images, batch):
        before = simulators[0].tensors(part)
        for index, level in enumerate(levels[1:], 1):
            after = simulators[index].tensors(part)
            tied = _tied(before, level.float_ties, len(part), _FLOAT64_OF_FLOAT32)
            for equivalence in level.equivalences:
                compared, differ = _compare(level.name, equivalence, before, after, done, tied)
                values[index] += compared
                differences[index] += differ
            graphs = (levels[index - 1].graph, level.graph)
            _compare_classes(level.name, graphs, (before, after), done, tied)
            before = after
        done += len(part)
        progress(done)
    return [
        Verified(level.name, len(level.equivalences), len(images), values[i], differences[i])
        for i, level in enumerate(levels)
        if i
    ]


def _compare(
    level: str, equivalence: Equivalence, before: dict[str, Array], after: dict[str, Array], first: int, tied: Array
) -> tuple[int, int]:
    """Number of values compared, and of those that differ on tied images; any other difference is refused."""
    old = before[equivalence.old] if equivalence.kept is None else before[equivalence.old][..., equivalence.kept]
    made = after[equivalence.new]
    new = made.astype(np.float64) * equivalence.factor + equivalence.offset
    if old.shape != new.shape:
        raise mismatch(level, equivalence.new, f"shape {new.shape[1:]} instead of {old.shape[1:]}")
    if np.array_equal(old, new):
        return int(old.size), 0
    differ = old != new
    if old.dtype.kind == "f":
        # A float network's values are rounded; what they mean is the integer that they lie nearest to.
        factor = np.where(equivalence.factor == 0, 1.0, equivalence.factor)
        differ = np.where(equivalence.factor == 0, differ, np.rint((old - equivalence.offset) / factor) != made)
    wrong = differ & ~tied.reshape((-1,) + (1,) * (differ.ndim - 1))
    if wrong.any():
        image, *position = (int(i) for i in np.argwhere(wrong)[0])
        place = f"image {first + image}, channel {position[-1]}" + (f", pixel {position[:-1]}" if position[:-1] else "")
        value, wanted = new[(image, *position)], old[(image, *position)]
        raise mismatch(level, equivalence.new, f"{place}: {value:g} instead of {wanted:g}")
    return int(old.size), int(np.count_nonzero(differ))


def _compare_classes(
    level: str, graphs: tuple[Graph, Graph], tensors: tuple[dict[str, Array], dict[str, Array]], first: int, free: Array
) -> None:
    """Refuse a class that differs between two levels, but on images that are free or tie but for rounding."""
    if any(len(graph.output_type.shape) != 1 for graph in graphs):
        return
    wanted, found = (classes_of(graph, made[graph.output]) for graph, made in zip(graphs, tensors, strict=True))
    wrong = (wanted != found) & ~free
    old = graphs[0]
    ranked = old.node(old.output).input if isinstance(old.maker(old.output), Best) else old.output
    if wrong.any() and old.types[class_sums(old, ranked)[0]].is_float:
        wrong &= ~_near(tensors[0][ranked], wanted, found, _ROUNDING64)
    if wrong.any():
        image = int(wrong.argmax())
        where = f"image {first + image}: class {found[image]} instead of {wanted[image]}"
        raise mismatch(level, graphs[1].output, where)


def _near(scores: Array, one: Array, other: Array, share: float) -> Array:
    """Images on which the scores of two classes differ by at most a share of the greatest score; bool, (images,)."""
    rows = np.arange(len(scores))
    gap = np.abs(scores[rows, one] - scores[rows, other])
    return np.asarray(gap <= share * np.abs(scores).max(axis=1))


def mismatch(level: str, tensor: str, where: str) -> Problem:
    """The error for two levels that differ."""
    return Problem(
        f"verification failed: the {level} level differs from the level before at {tensor!r}",
        where,
        "this is a fault in bnnflow or a changed file, not in your network; nothing after this stage was built",
        CHECK_FAILED,
    )


def class_sums(graph: Graph, scores: str = "") -> tuple[str, Array, Array]:
    """Tensor of the last layer's integers, and scale and shift that make `scores` (the output) of them."""
    tensor, scale, shift = scores or graph.output, np.ones(1), np.zeros(1)
    while True:
        node = next((item for item in graph.nodes if item.name == tensor), None)
        if node is None or not isinstance(node.op, Affine):
            return tensor, scale, shift
        shift, scale = shift + scale * node.op.shift, scale * node.op.scale / node.op.divisor
        tensor = node.input


def sums_of_scores(graph: Graph, scores: Array) -> Array:
    """The last layer's integers from float class scores that some other program computed; int64.

    The nearest integers; right while the other program errs by less than half a step.
    """
    _, scale, shift = class_sums(graph)
    return np.rint((np.asarray(scores, np.float64) - shift) / scale).astype(np.int64)


def images_with_float_ties(graph: Graph, float_ties: Sequence[FloatTies], images: Array, batch: int = 200) -> Array:
    """Which images hold a value so near a threshold that float32 may round to its other side: bool, (images,).

    Args:
        graph: the network level, whose tensors `float_ties` name.
        float_ties: of the compilation.
        images: (images, ...) integers.
    """
    found = np.zeros(len(images), bool)
    if not float_ties:
        return found
    simulator, done = Simulator.of(graph), 0
    for part in batches(images, batch):
        found[done : done + len(part)] = _tied(simulator.tensors(part), float_ties, len(part))
        done += len(part)
    return found


def _tied(tensors: dict[str, Array], float_ties: Sequence[FloatTies], count: int, share: float = 1.0) -> Array:
    """Which of `count` images hold a value within `share` of a float tie's widths; bool, (count,)."""
    found = np.zeros(count, bool)
    for each in float_ties:
        if each.alike:
            values = tensors[each.tensor].astype(np.float64)
            for threshold, width in zip(each.thresholds, each.widths, strict=True):
                found |= (np.abs(values - threshold) <= share * width).reshape(count, -1).any(axis=1)
            continue
        values = tensors[each.tensor][..., list(each.channels)].astype(np.float64)
        near = np.abs(values - np.array(each.thresholds)) <= share * np.array(each.widths)
        found |= near.reshape(count, -1).any(axis=1)
    return found


def verify_scores(
    name: str, graph: Graph, images: Array, scores: Array, tied: Array | None = None, batch: int = 200
) -> Verified:
    """Hold class scores of another program against a graph's integers, and its classes against ours, for equality.

    Where integers agree, a class may be another one among scores that float32 holds for equal; it is counted.

    Args:
        name: of the other program, which computes in float32.
        graph: any level with an integer input.
        images, scores: (images, ...) of equal length.
        tied: images with float ties, as `images_with_float_ties` finds them: there differences are counted,
            everywhere else they are refused. None for no image.
        batch: images at a time.

    Raises:
        Problem: status 1; names the first differing image and class.
    """
    tensor, _, _ = class_sums(graph)
    simulator, done, differences, ties = Simulator.of(graph), 0, 0, 0
    for part in batches(images, batch):
        made = simulator.tensors(part, (tensor, graph.output))
        mine = made[tensor].astype(np.int64)
        theirs = sums_of_scores(graph, scores[done : done + len(part)])
        differ = mine != theirs
        differences += int(np.count_nonzero(differ))
        agree = ~differ.any(axis=1)
        if tied is not None:
            differ &= ~tied[done : done + len(part), None]
        if differ.any():
            image, label = (int(i) for i in np.argwhere(differ)[0])
            where = f"image {done + image}, class {label}: {theirs[image, label]} instead of {mine[image, label]}"
            raise mismatch(name, tensor, where)
        ties += _other_classes(name, graph, made[graph.output], scores[done : done + len(part)], done, ~agree)
        done += len(part)
    return Verified(name, 1, len(images), len(images) * graph.types[tensor].channels, differences, ties)


def _other_classes(name: str, graph: Graph, mine: Array, theirs: Array, first: int, free: Array) -> int:
    """Number of images that are not free and get another class; `Problem` where their scores are not nearly equal."""
    if isinstance(graph.maker(graph.output), Best | LabelSelect):
        return 0
    wanted, found = mine.argmax(axis=1), np.asarray(theirs).argmax(axis=1)
    differ = (wanted != found) & ~free
    wrong = differ & ~_near(mine.astype(np.float64), wanted, found, _ROUNDING32)
    if wrong.any():
        image = int(wrong.argmax())
        raise mismatch(name, graph.output, f"image {first + image}: class {found[image]} instead of {wanted[image]}")
    return int(np.count_nonzero(differ))
