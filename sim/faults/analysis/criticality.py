"""What every single weight bit of a layer is worth: all of them flipped, one at a time, on all images, exactly.

Nothing is sampled and the layer is not run again. With the sums of the layer kept, the flip of weight bit (r, c, b)
adds a known number to the sums of row r alone; only sums near a bound can change the output. Flips that change an
image's output in the same way share one run of the layers behind, which ends where nothing differs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.ops import NO_BOUNDS, Mvau
from ....transforms.ir.tensor import Array
from ...engine.simulator import Simulator, class_count, classes_of
from ...images import checked_labels
from ...walk import Walk, kernel_of
from ..injection.layout import Memory, chosen, memories
from ..injection.tail import Tail

_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Criticality:
    """Single flips of all weight bits of one layer.

    Attributes:
        layer: the unit.
        images: how many it was judged on.
        changed: (rows, columns, bits) int64: how many images change their class.
        right: (rows, columns, bits) int64: how many images are classified rightly with the flip.
        clean: images classified rightly without.
    """

    layer: str
    images: int
    changed: Array
    right: Array
    clean: int

    @property
    def critical(self) -> int:
        """Bits whose flip changes at least one class."""
        return int((self.changed > 0).sum())

    def worst(self, count: int = 10) -> list[tuple[int, int, int, int, int]]:
        """The bits that change most classes: (row, column, bit, images changed, images right), the worst first.

        Bits that change none are left out.
        """
        order = np.argsort(-self.changed.reshape(-1), kind="stable")[: min(count, self.critical)]
        places = np.stack(np.unravel_index(order, self.changed.shape), axis=1).tolist()
        return [(r, c, b, int(self.changed[r, c, b]), int(self.right[r, c, b])) for r, c, b in places]


def joined(parts: Sequence[Criticality]) -> Criticality:
    """What parts of the images say of one layer, as one: counts are added."""
    first = parts[0]
    changed, right = (np.sum([getattr(one, key) for one in parts], axis=0) for key in ("changed", "right"))
    images, clean = (sum(getattr(one, key) for one in parts) for key in ("images", "clean"))
    return Criticality(first.layer, images, changed, right, clean)


@dataclass(frozen=True, slots=True)
class _Case:
    """Flips that change one image's output alike: row, places in the flat output map, change, their columns."""

    image: int
    row: int
    places: Array
    change: Array
    flips: Array


def criticality(
    graph: Graph,
    images: Array,
    labels: Array | None,
    layer: str,
    block: int = 100,
    rows: Sequence[int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Criticality:
    """Judge every weight bit of one MVAU.

    Args:
        graph: dataflow level.
        images, labels: what is judged on; without labels, the classes without faults stand in for them.
        layer: name of an MVAU.
        block: images held in memory at a time.
        rows: judge the bits of these rows alone (the others read 0 and `clean`); None: all.
        progress: called with the number of images done.

    Raises:
        Problem: there is no such layer with weights, its sums are no integers, or images and labels do not fit.
    """
    if labels is not None:
        checked_labels(labels, len(images), class_count(graph))
    elif not len(images):
        raise Problem("there are no images", "input", "give at least one")
    known = {memory.layer: memory for memory in memories(graph)}
    memory = known[chosen(layer, tuple(known), "layer with weights")]
    op, x = graph.node(layer).op, graph.types[graph.node(layer).input]
    assert isinstance(op, Mvau)
    if x.is_float:
        raise Problem("the layer reads floats", layer, "judge a layer behind the first threshold")
    steps = flip_changes(op, memory)
    simulator, walk = Simulator.of(graph), _roomy(graph, layer, op, int(np.abs(steps).max()))
    changed = np.zeros((len(steps), steps[0].size), np.int64)
    right = np.zeros_like(changed)
    clean = 0
    for first in range(0, len(images), block):
        tail = Tail.of(simulator, walk, layer, images[first : first + block])
        truth = tail.classes if labels is None else labels[first : first + block]
        before = tail.classes == truth
        clean += int(before.sum())
        right += int(before.sum())
        waiting: list[_Case] = []
        for case in _cases(tail, op, steps, range(len(steps)) if rows is None else rows):
            waiting.append(case)
            if len(waiting) == _AT_ONCE:
                _judge(tail, waiting, truth, changed, right)
                waiting = []
        _judge(tail, waiting, truth, changed, right)
        progress(min(first + block, len(images)))
    shape = steps.shape
    return Criticality(layer, len(images), changed.reshape(shape), right.reshape(shape), clean)


def _roomy(graph: Graph, layer: str, op: Mvau, step: int) -> Walk:
    """The network with room behind the layer for sums that only a fault can reach."""
    made, x = graph.types[layer], graph.types[graph.node(layer).input]
    if op.has_bounds or op.xnor or made.is_float:
        return Walk.of(graph, {}, {})
    more = step * max(map(abs, x.range))
    wide = replace(made, low=made.range[0] - more, high=made.range[1] + more, step=1)
    return Walk.of(graph, {}, {layer: wide})


def flip_changes(op: Mvau, memory: Memory) -> Array:
    """What the flip of each bit adds to its weight (to the product's sign of XNOR units), (rows, columns, bits)."""
    weight = op.weight.astype(np.int64)[..., None]
    if op.xnor:
        return 1 - 2 * weight
    if memory.bits == 1:
        return -2 * weight
    places = 1 << np.arange(memory.bits, dtype=np.int64)
    if memory.signed:
        places[-1] = -places[-1]
    return np.where((weight >> np.arange(memory.bits)) & 1, -places, places)


def _cases(tail: Tail, op: Mvau, steps: Array, rows: Sequence[int]) -> Iterator[_Case]:
    """All ways in which single flips change outputs, row by row, image by image."""
    x = tail.clean[tail.graph.node(tail.layer).input]
    columns = x.shape[-1]
    count, spots = len(x), x[0].size // columns
    values = x.reshape(-1, columns).astype(np.int32)
    sums = _sums(tail, op, x).reshape(count * spots, -1)
    if op.xnor:
        values = 2 * values - 1
    reach = int(np.abs(values).max(initial=0) * np.abs(steps).max())
    for row in rows:
        bounds = op.bounds[row] if op.has_bounds else None
        mine = sums[:, row]
        near = np.arange(len(mine))
        if bounds is not None:
            near = np.flatnonzero(_reached(mine + reach, bounds) != _reached(mine - reach, bounds))
        for part in np.split(near, np.searchsorted(near, spots * np.arange(1, count))):
            if not len(part):
                continue
            new = mine[part, None] + (values[part][:, :, None] * steps[row]).reshape(len(part), -1)
            old = mine[part, None]
            if bounds is not None:
                new, old = _reached(new, bounds), _reached(old, bounds)
            change = new - old
            hit = np.flatnonzero(change.any(axis=0))
            if len(hit):
                image, places = int(part[0] // spots), part % spots
                for flips in equal_columns(change[:, hit]):
                    yield _Case(image, row, places, change[:, hit[flips[0]]], hit[flips])


def _sums(tail: Tail, op: Mvau, x: Array) -> Array:
    """The layer's sums, int64."""
    kernel = kernel_of(tail.graph, tail.layer, replace(op, bounds=NO_BOUNDS, act_val=0))
    return kernel(x).astype(np.int64)


def _reached(sums: Array, bounds: Array) -> Array:
    total = np.zeros(sums.shape, np.int64)
    for bound in bounds.tolist():
        total += sums >= bound
    return total


def equal_columns(change: Array) -> list[Array]:
    """Positions of equal columns, group by group.

    Args:
        change: integers, (places, flips).
    """
    if len(change) == 1:
        keys = change[0]
    elif len(change) <= 62 and _one_number(change):
        # Each place changes by 0 or by one number of its own: a bit a place says it all.
        keys = ((change != 0).astype(np.int64) << np.arange(len(change))[:, None]).sum(axis=0)
    else:
        columns = np.ascontiguousarray(change.T)
        keys = columns.view(np.dtype((np.void, columns.dtype.itemsize * columns.shape[1])))[:, 0]
    _, inverse = np.unique(keys, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(np.bincount(inverse))[:-1])


def _one_number(change: Array) -> bool:
    """Every place changes by 0 or by one number, whichever flip it is."""
    most, least = change.max(axis=1, keepdims=True), change.min(axis=1, keepdims=True)
    return not np.any((change != 0) & (change != np.where(most > 0, most, least)))


def _judge(tail: Tail, cases: list[_Case], truth: Array, changed: Array, right: Array) -> None:
    if not cases:
        return
    which = np.array([case.image for case in cases])
    clean = tail.clean[tail.layer][which]
    # A faulty sum may leave the type of the clean ones.
    output = clean.astype(np.float64 if clean.dtype.kind == "f" else np.int64)
    flat = output.reshape(len(cases), -1, output.shape[-1])
    for place, case in enumerate(cases):
        flat[place, case.places, case.row] += case.change
    found = classes_of(tail.graph, tail.scores_with(which, output))
    before = tail.classes[which]
    size = changed.shape[1]
    for place in np.flatnonzero(found != before).tolist():
        case = cases[place]
        cells = case.row * size + case.flips
        changed.reshape(-1)[cells] += 1
        gain = int(found[place] == truth[case.image]) - int(before[place] == truth[case.image])
        right.reshape(-1)[cells] += gain
