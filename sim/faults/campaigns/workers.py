"""Trials on one core, on several through joblib, or on a running Dask or Ray cluster through joblib's back ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem

from ....transforms.ir.graph import Graph, Node
from ....transforms.ir.tensor import Array, TensorType
from ...engine.kept import keep_in, kept_in
from ..injection.trials import Outcome, Point, Subject

Made = TypeVar("Made")

CLUSTERS = ("dask", "ray")
_PORTION = 64
_SUBJECTS: OrderedDict[tuple[str, tuple[str, ...]], Subject] = OrderedDict()


@dataclass(frozen=True, slots=True)
class PackedGraph:
    """A graph as it travels to workers, with the folder of machine code that they may share."""

    name: str
    input: str
    input_type: TensorType
    nodes: tuple[Node, ...]
    output: str
    kept: Path | None

    @staticmethod
    def of(graph: Graph) -> PackedGraph:
        """Pack a graph."""
        return PackedGraph(graph.name, graph.input, graph.input_type, graph.nodes, graph.output, kept_in())

    def graph(self) -> Graph:
        """The graph; what is compiled for it from now on is kept where the sender keeps it."""
        keep_in(lambda: self.kept)
        return Graph(self.name, self.input, self.input_type, self.nodes, self.output)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A subject as it travels to workers; each worker unpacks it once."""

    digest: str
    packed: PackedGraph
    images: Array
    labels: Array
    metrics: tuple[str, ...]

    @staticmethod
    def of(subject: Subject) -> Parcel:
        """Pack a subject."""
        packed = PackedGraph.of(subject.graph)
        return Parcel(subject.digest, packed, subject.images, subject.labels, subject.metrics)

    def subject(self) -> Subject:
        """The subject, with what it has cached in this process."""
        key = (self.digest, self.metrics)
        if key not in _SUBJECTS:
            _SUBJECTS[key] = Subject(self.packed.graph(), self.images, self.labels, metrics=self.metrics)
            while len(_SUBJECTS) > 2:
                _SUBJECTS.popitem(last=False)
        return _SUBJECTS[key]


Task = tuple[Point, tuple[int, ...]]


def perform(parcel: Parcel, task: Task) -> tuple[Point, list[Outcome]]:
    """Run some trials of one point; what a worker does."""
    point, trials = task
    subject = parcel.subject()
    return point, [subject.trial(point, trial) for trial in trials]


@dataclass(frozen=True, slots=True)
class Workers:
    """Who runs trials.

    Attributes:
        jobs: processes on this machine; 1: this one.
        cluster: empty, "dask:ADDRESS" (of a scheduler), "ray" or "ray:ADDRESS"; its workers need bnnflow
            installed, and it decides how many there are.
    """

    jobs: int = 1
    cluster: str = ""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise Problem(f"{self.jobs} workers", "--jobs", "give 1 or more")
        kind, _, address = self.cluster.partition(":")
        if self.cluster and (kind not in CLUSTERS or (kind == "dask" and not address)):
            hint = "dask:tcp://HOST:PORT (of the scheduler), ray, or ray:ADDRESS"
            raise Problem(f"there is no cluster {self.cluster!r}", "--cluster", hint)

    def perform(self, subject: Subject, tasks: Sequence[Task]) -> Iterator[tuple[Point, list[Outcome]]]:
        """Run all tasks; results come as they are done, in any order.

        Raises:
            Problem: what a trial finds wrong; the cluster cannot be reached or goes away (status 1); a package
                is missing (status 3).
        """
        if not self.cluster and self.jobs == 1:
            for point, trials in tasks:
                for trial in trials:
                    yield point, [subject.trial(point, trial)]
            return
        joblib = _package("joblib", "pip install joblib")
        parcel = Parcel.of(subject)
        with self._back_end(joblib) as jobs:
            # Ray's back end gives lists alone: results are kept portion by portion.
            size = _PORTION if self.cluster.startswith("ray") else len(tasks)
            kind = "list" if self.cluster.startswith("ray") else "generator_unordered"
            parallel = joblib.Parallel(n_jobs=jobs, return_as=kind, batch_size=1)
            for first in range(0, len(tasks), size):
                calls = [joblib.delayed(perform)(parcel, task) for task in tasks[first : first + size]]
                yield from _guarded(partial(parallel, calls), self.cluster)

    def each(self, work: Callable[..., Made], graph: Graph, parts: Sequence[tuple[Any, ...]]) -> Iterator[Made]:
        """`work(graph, *part)` of every part, in the order of the parts.

        Args:
            work: a function that other processes can import.
            graph: the first argument of each call.
            parts: the others; the result must not depend on how work is cut into parts.

        Raises:
            Problem: what the work finds wrong; a worker died (status 1).
        """
        assert not self.cluster, "parts are worked on by this computer"
        if self.jobs == 1 or len(parts) < 2:
            yield from (work(graph, *part) for part in parts)
            return
        joblib = _package("joblib", "pip install joblib")
        packed = PackedGraph.of(graph)
        with self._back_end(joblib) as jobs:
            parallel = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
            calls = [joblib.delayed(_unpacked)(work, packed, part) for part in parts]
            yield from _guarded(partial(parallel, calls), "")

    @property
    def chunk(self) -> int:
        """Trials of one task: more of them spare the sending of the network."""
        return 4 if self.cluster or self.jobs > 1 else 1

    @contextmanager
    def _back_end(self, joblib: Any) -> Iterator[int]:
        kind, _, address = self.cluster.partition(":")
        if not kind:
            with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
                yield self.jobs
        elif kind == "dask":
            distributed = _package("distributed", "pip install 'bnnflow[dask]'")
            client = _reached(lambda: distributed.Client(address, timeout="10s"), self.cluster)
            try:
                with joblib.parallel_config(backend="dask"):
                    yield -1
            finally:
                _quietly(client.close)
        else:
            ray = _package("ray", "pip install 'bnnflow[ray]'")
            from ray.util.joblib import register_ray  # type: ignore[import-not-found, unused-ignore]

            _reached(lambda: ray.init(address=address or "auto", ignore_reinit_error=True), self.cluster)
            register_ray()
            with joblib.parallel_config(backend="ray"):
                yield -1


def _unpacked(work: Callable[..., Made], packed: PackedGraph, part: tuple[Any, ...]) -> Made:
    """What a worker does with a part."""
    return work(packed.graph(), *part)


def _quietly(close: Callable[[], Any]) -> None:
    try:
        close()
    except Exception:
        # A client of a cluster that is gone may fail to say good-bye; nobody needs to know.
        return


def _reached(connect: Callable[[], Any], cluster: str) -> Any:
    try:
        return connect()
    except Exception as error:
        what = f"the cluster cannot be reached: {type(error).__name__}"
        raise Problem(what, cluster, "start it, or give its address", CHECK_FAILED) from error


def _guarded(work: Callable[[], Iterable[Any]], cluster: str) -> Iterator[Any]:
    """Results until the last; what a cluster or a lost process throws becomes a Problem."""
    try:
        yield from work()
    except Problem:
        raise
    except ModuleNotFoundError as error:
        hint = "install the same bnnflow on all workers"
        raise Problem(f"a worker lacks the package {error.name}", cluster, hint, TOOL_MISSING) from error
    except Exception as error:
        lost = f"the cluster went away: {type(error).__name__}" if cluster else f"a worker died: {type(error).__name__}"
        hint = "results so far are kept; the same command resumes where this one stopped"
        raise Problem(lost, cluster or "--jobs", hint, CHECK_FAILED) from error


def _package(name: str, install: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Problem(f"the package {name} is missing", "workers", install, TOOL_MISSING) from error
