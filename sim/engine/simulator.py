"""The simulator: any graph, any batch, the same integers as the hardware, on packed bits.

Backends: "llvm" (kernels generated for this processor), "numpy" (packed words, portable) and "blas" (ordinary
arrays and float matrix products, which are exact here). All give the same integers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import AnyOp, Best, Conv, Dense, LabelSelect, Mvau, XnorConv, XnorDense
from ...transforms.ir.tensor import Array
from ..images import admitted, portions
from .kernels import Arrays, Kernels, NumpyArrays
from .kernels.llvm import available, native
from .kernels.native import NativeKernels
from .plan import Planner, Step
from .replay import Replay
from .values import Value, two_valued

BACKENDS = ("auto", "llvm", "numpy", "blas")

# Clock cycles of work in one block of images, at the processor's limit, and the least and most images in it.
_BLOCK_CYCLES, _LEAST, _MOST = 8e6, 16, 2048

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a graph's first nodes make of all images: the tensors that `upto` and what stands behind it read.

    Attributes:
        upto: name of the first node that is still to be computed.
        images: how many.
        values: the tensors, bits packed.
    """

    upto: str
    images: int
    values: Mapping[str, Value]

    @property
    def nbytes(self) -> int:
        """Memory of the tensors."""
        arrays = (array for value in self.values.values() for array in (value.packed, value.plain))
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, slots=True)
class Simulator:
    """A graph made ready to run.

    Attributes:
        graph: what is simulated.
        backend: "llvm", "numpy" or "blas".
        threads: blocks of images that are computed at the same time; results never depend on it.
        kernels: of the backend; None for "blas".
        steps: what is done for class scores, in order.
        block: images that are computed at a time.
    """

    graph: Graph
    backend: str
    threads: int
    kernels: Kernels | None
    steps: tuple[Step, ...]
    block: int

    @staticmethod
    def of(
        graph: Graph, backend: str = "auto", threads: int = 1, target: str = "host", folder: Path | None = None
    ) -> Simulator:
        """Prepare every layer's weights once.

        Args:
            graph: of any level.
            backend: one of `BACKENDS`; "auto" takes llvm where it can be had, else numpy.
            threads: at least 1.
            target: what the llvm backend compiles for: "host", or a lesser processor by the name of
                `kernels.llvm.TARGETS`.
            folder: where machine code is kept; None for the one that `kept.keep_in` was told.

        Raises:
            Problem: an unknown backend or target, one that is not installed, or threads below 1.
        """
        if threads < 1:
            raise Problem(f"threads must be at least 1, not {threads}", "argument threads")
        backend, kernels = _backend(backend, target, folder)
        steps = Planner(graph, kernels, (graph.output,)).steps()
        return Simulator(graph, backend, threads, kernels, steps, _block(graph))

    def tensors(self, images: Array, taps: Sequence[str] | None = None) -> dict[str, Array]:
        """Tensors of one batch; integers in any dtype that holds them exactly.

        Args:
            images: (images, *input shape).
            taps: names of the tensors wanted; None for all.

        Raises:
            Problem: the images do not have the input's shape, range or are not finite; an unknown tensor.
        """
        graph = self.graph
        names = tuple(graph.types) if taps is None else tuple(taps)
        for name in names:
            if name not in graph.types:
                raise Problem(f"there is no tensor {name!r}", f"graph {graph.name!r}", _nearest(name, graph))
        if not len(images):
            raise Problem("there are no images", f"input {graph.input!r} of {graph.name!r}")
        values = {graph.input: Value(graph.input_type, None, admitted(graph, np.asarray(images)))}
        for step in self.steps if set(names) <= {graph.output} else Planner(graph, self.kernels, names).steps():
            self._run((step,), values)
        return {name: values[name].on_host(self._arrays).numbers() for name in names}

    def scores(self, images: Array | Iterable[Array], batch: int | None = None) -> Array:
        """Class scores, (images, classes) float64, in constant memory.

        Args:
            images: (images, *input shape), which may be a memory map, or batches of such.
            batch: images at a time; None for as many as suit the network.

        Raises:
            Problem: the images do not have the input's shape, range or are not finite.
        """

        parts = self._spread(
            self._runner(self.steps), self._admitted(portions(images, self.block if batch is None else batch))
        )
        return np.concatenate(parts) if parts else np.zeros((0, *self.graph.output_type.shape))

    def classes(self, images: Array | Iterable[Array], batch: int | None = None) -> Array:
        """The best class of each image, (images,) int64."""
        return classes_of(self.graph, self.scores(images, batch))

    def prefix(self, images: Array | Iterable[Array], upto: str) -> Prefix:
        """Compute, once for many runs of `finish`, all that node `upto` and the nodes behind it read.

        Raises:
            Problem: no such node, or images as for `scores`.
        """
        before, needed = self._cut(upto)

        def run(part: Array) -> dict[str, Value]:
            values = {self.graph.input: Value(self.graph.input_type, None, admitted(self.graph, part))}
            made = self._run(before, values)
            return {name: made[name].compact(self._arrays) for name in needed}

        parts = self._spread(run, portions(images, self.block))
        if not parts:
            raise Problem("there are no images", f"input {self.graph.input!r} of {self.graph.name!r}")
        values = {name: Value.joined([part[name] for part in parts], self._arrays) for name in needed}
        return Prefix(upto, len(next(iter(values.values()))), values)

    def resume(self, prefix: Prefix, upto: str) -> Prefix:
        """The prefix up to a later node, from an earlier one of this simulator or one that shares its graph's names.

        Raises:
            Problem: no such node, or one that stands in the prefix.
        """
        before, _ = self._cut(prefix.upto)
        until, needed = self._cut(upto)
        if len(until) < len(before):
            raise Problem(f"node {upto!r} stands before {prefix.upto!r}", f"prefix of {self.graph.name!r}")

        def run(values: dict[str, Value]) -> dict[str, Value]:
            made = self._run(until[len(before) :], values)
            return {name: made[name].compact(self._arrays) for name in needed}

        parts = self._spread(run, self._parts(prefix))
        values = {name: Value.joined([part[name] for part in parts], self._arrays) for name in needed}
        return Prefix(upto, prefix.images, values)

    def blocks(self, prefix: Prefix, tensor: str) -> Iterator[Array]:
        """A tensor of a prefix's images, block by block; what stands between is not kept.

        Raises:
            Problem: no such tensor, or one that the prefix does not lead to.
        """
        steps: list[Step] = []
        for step in reversed(Planner(self.graph, self.kernels, (tensor,)).steps()):
            if step.makes not in prefix.values and (step.makes == tensor or any(step.makes in s.reads for s in steps)):
                steps.append(step)
        known = {*prefix.values, *(step.makes for step in steps)}
        for step in steps:
            for name in step.reads:
                if name not in known:
                    raise Problem(f"tensor {tensor!r} needs {name!r}, which the prefix left out", self.graph.name)
        for values in self._parts(prefix):
            yield self._run(steps[::-1], values)[tensor].on_host(self._arrays).ints()

    def _parts(self, prefix: Prefix) -> Iterator[dict[str, Value]]:
        """The values of a prefix, block by block."""
        for start in range(0, prefix.images, self.block):
            yield {name: value.part(start, start + self.block) for name, value in prefix.values.items()}

    def finish(self, prefix: Prefix, replaced: Mapping[str, AnyOp] | None = None) -> Array:
        """Class scores of a prefix's images with some operations replaced by others of the same shapes.

        Args:
            prefix: of this simulator or one that shares its graph's names.
            replaced: by name of the node, which stands at or behind `prefix.upto`.

        Returns:
            (images, classes) float64.

        Raises:
            Problem: a replaced node is unknown or stands in the prefix.
        """
        simulator = self.with_ops(replaced or {})
        before, _ = simulator._cut(prefix.upto)
        for step in before:
            for name in step.covers:
                if replaced and name in replaced:
                    raise Problem(
                        f"node {name!r} was replaced, but stands before {prefix.upto!r}",
                        f"prefix of {self.graph.name!r}",
                        f"make a prefix up to {name!r}",
                    )
        behind = simulator.steps[len(before) :]
        return np.concatenate(simulator._spread(simulator._runner(behind), simulator._parts(prefix)))

    def with_ops(self, replaced: Mapping[str, AnyOp]) -> Simulator:
        """The simulator of the graph with some operations replaced; all other prepared kernels are shared.

        Raises:
            Problem: a name is unknown, or shapes do not fit.
        """
        if not replaced:
            return self
        for name in replaced:
            if name not in self.graph.types or name == self.graph.input:
                raise Problem(f"there is no node {name!r}", f"graph {self.graph.name!r}", _nearest(name, self.graph))
        nodes = (replace(n, op=replaced[n.name]) if n.name in replaced else n for n in self.graph.nodes)
        graph = self.graph.with_nodes(tuple(nodes))
        old, new = self.graph.types, graph.types
        planner = Planner(graph, self.kernels, (graph.output,))
        steps = []
        for step in self.steps:
            same = all(old[name] == new[name] for name in (*step.covers, *step.reads))
            changed = not same or any(name in replaced for name in _behind(graph, step))
            steps.append(planner.step(step.makes) if changed else step)
        if any(one.reads != other.reads for one, other in zip(steps, self.steps, strict=True)):
            steps = list(planner.steps())
        return replace(self, graph=graph, steps=tuple(steps))

    @property
    def _arrays(self) -> Arrays:
        return NumpyArrays() if self.kernels is None else self.kernels

    def _cut(self, upto: str) -> tuple[tuple[Step, ...], list[str]]:
        """The steps before node `upto`, and the tensors from there that the other steps read."""
        graph = self.graph
        names = [node.name for node in graph.nodes]
        if upto not in names:
            raise Problem(f"there is no node {upto!r}", f"graph {graph.name!r}", _nearest(upto, graph))
        first = set(names[: names.index(upto)])
        before = tuple(step for step in self.steps if step.makes in first and upto not in step.covers)
        known = {graph.input, *(step.makes for step in before)}
        behind = self.steps[len(before) :]
        needed = dict.fromkeys(name for step in behind for name in step.reads if name in known)
        return before, list(needed) or [graph.input]

    def _run(self, steps: Sequence[Step], values: dict[str, Value]) -> dict[str, Value]:
        for step in steps:
            read = [values[name] for name in step.reads]
            values[step.makes] = step.run(*(read if step.native else (x.on_host(self._arrays) for x in read)))
        return values

    def _admitted(self, parts: Iterable[Array]) -> Iterator[dict[str, Value]]:
        for part in parts:
            yield {self.graph.input: Value(self.graph.input_type, None, admitted(self.graph, part))}

    def _runner(self, steps: Sequence[Step]) -> Callable[[dict[str, Value]], Array]:
        """What maps the values that `steps` need to class scores; it may be called from several threads."""
        output, kernels = self.graph.output, self.kernels
        replays = threading.local()

        def run(values: dict[str, Value]) -> Array:
            if isinstance(kernels, NativeKernels):
                replay: Replay | None = getattr(replays, "found", None)
                if replay is None or not replay.fits(values):
                    replays.found = replay = Replay.of(kernels, steps, values)
                made = self._run(replay.others, replay.run(values))
            else:
                made = self._run(steps, values)
            # A copy, because replays write to the same memory again.
            return made[output].on_host(self._arrays).ints().astype(np.float64)

        return run

    def _spread(self, run: Callable[..., Made], parts: Iterable[object]) -> list[Made]:
        """The results for all parts, in order, on as many threads as the simulator has."""
        if self.threads == 1:
            return [run(part) for part in parts]
        made: list[Made] = []
        waiting: deque[Future[Made]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            for part in parts:
                waiting.append(pool.submit(run, part))
                if len(waiting) > 2 * self.threads:
                    made.append(waiting.popleft().result())
            made += [future.result() for future in waiting]
        return made


def class_count(graph: Graph) -> int:
    """Number of classes among which a graph decides."""
    kind = graph.output_type
    ranked = isinstance(graph.maker(graph.output), Best | LabelSelect)
    return kind.range[1] + 1 if ranked else kind.channels


def classes_of(graph: Graph, scores: Array) -> Array:
    """The best class of each image: of class scores, or of the ranking with which a graph may end."""
    if isinstance(graph.maker(graph.output), Best | LabelSelect):
        return scores[:, 0].astype(np.int64)
    best: Array = scores.argmax(axis=1)
    return best


def least_cycles(graph: Graph) -> float:
    """Clock cycles that an image takes at least on a core of 512-bit vectors.

    Exclusive or, population count and add at two instructions a cycle, one of them a count: 1024 / 3 binary
    products a cycle; 64 products of bytes a cycle.
    """
    total = 0.0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Conv | Dense | XnorConv | XnorDense | Mvau):
            products = float(op.weight.size) * np.prod(graph.types[node.name].shape[:-1])
            one_bit = two_valued(graph.types[node.input])
            total += float(products) / (1024 / 3 if one_bit else 64)
    return total


def _block(graph: Graph) -> int:
    """Images at a time: as many as keep the time for calls small and the maps in a processor's cache."""
    return int(min(max(_BLOCK_CYCLES / max(1.0, least_cycles(graph)), _LEAST), _MOST))


def _backend(name: str, target: str, folder: Path | None) -> tuple[str, Kernels | None]:
    if name not in BACKENDS:
        raise Problem(f"unknown backend {name!r}", "argument backend", f"one of {', '.join(BACKENDS)}")
    if name == "auto":
        name = "llvm" if available() else "numpy"
    if name == "llvm":
        return name, native(target, folder)
    if name == "numpy":
        from .kernels.words import NumpyKernels

        return name, NumpyKernels()
    return name, None


def _behind(graph: Graph, step: Step) -> Iterator[str]:
    """The nodes whose operations per step does or reads through."""
    for name in step.covers:
        yield name
        for tensor in graph.node(name).inputs:
            while tensor not in (*step.reads, *step.covers, graph.input):
                yield tensor
                tensor = graph.node(tensor).input


def _nearest(name: str, graph: Graph) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, graph.types)
    return f"did you mean {found[0]!r}?" if found else ""
