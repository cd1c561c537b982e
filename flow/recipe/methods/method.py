"""What a method of pruning is: a section of the recipe that knows what it needs, how it prunes and how it is told.

The fields of a method are its settings: keys of `prune.<name>` in a recipe, options of `flow prune`, rows of its help
and of docs/pruning.md. Nothing here imports torch: a recipe is read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bnnflow import Problem

from ..section import Section

if TYPE_CHECKING:
    import numpy as np

    from ....models.networks.network import Network
    from ....models.networks.own import OwnNetwork, OwnSpec
    from ....models.networks.spec import NetworkSpec
    from ....models.prune.blocks import Units
    from ....models.prune.masks import MaskSpec
    from ....models.prune.recovery import Recovery
    from ....models.prune.spec import Allocator
    from ....models.prune.structure import Structure
    from ....models.relevance.sample import SetScores
    from ....models.training.flips import FlipCounts
    from ....models.training.injection import MemoriesOf
    from ....models.training.train import Progress
    from ....models.training.train_spec import TrainSpec
    from ....transforms.ir.graph import Graph
    from ...results.stages import PruningResult

Facts = dict[str, Any]
OFF = "set `prune: {enabled: false}`"
FLIP_HINT = "set `train: {flip_window: 20}`"


@dataclass(frozen=True, slots=True)
class MethodRequest:
    """What a method's check may look at beside its settings.

    Attributes:
        spec: of the network; of a class of the user's only where the method takes them.
        optimizer, tuner: of training and of fine-tuning.
        flip_window: epochs in which training counts flips.
        max_loss: points that may be lost; None: no limit.
        is_built_in: whether it is one network of `flow models`, no class of the user's and no ensemble.
    """

    spec: NetworkSpec | OwnSpec
    optimizer: str
    tuner: str
    flip_window: int
    max_loss: float | None
    is_built_in: bool

    @property
    def shape(self) -> NetworkSpec:
        """The spec of a built-in network."""
        from ....models.networks.spec import NetworkSpec

        assert isinstance(self.spec, NetworkSpec)
        return self.spec


@dataclass(frozen=True, slots=True)
class LatentUse:
    """That a method goes by latent weights, which not every network has.

    Attributes:
        key: of the recipe that asks for it.
        asks: a sentence.
        repair: where the optimizer has none.
    """

    key: str
    asks: str
    repair: str

    def refuse(self, *optimizers: str) -> None:
        """Raise a Problem where one of these keeps no latent weights."""
        if "bop" in optimizers:
            raise Problem(f"{self.asks}, and bop has none", key=self.key, hint=self.repair)


@dataclass(frozen=True)
class MethodInput:
    """A trained network, its images, and how it recovers.

    Attributes:
        network: in eval mode; not to be changed.
        train_images, train_labels: (N, C, H, W) uint8 and (N,), all of them.
        held_out: ascending indices of the images that training kept out; None where it kept none.
        seed: of everything random.
        plan: of fine-tuning.
        max_loss: accuracy that may be lost, 0 to 1; None: no limit.
        flips_file: of what training counted; None where it did not.
        checkpoint: beside it the work is kept, so that the same call resumes from there.
        progress: as for `train`.
        structure: what can be removed of the network.
        sets: what chooses sets of channels in the exported graph.
        allocator: makes what decides how many channels each group keeps; None: the same share of each.
        memories: of the hardware of a network, where fine-tuning has bit errors of weights.
        synapse_layers: names of the layers that single synapses can be removed of.
        units: residual units that can go.
    """

    network: Network | OwnNetwork
    train_images: np.ndarray
    train_labels: np.ndarray
    held_out: np.ndarray | None
    seed: int
    plan: TrainSpec
    max_loss: float | None = None
    flips_file: Path | None = None
    checkpoint: Path | None = None
    progress: Progress | None = None
    structure: Callable[[], Structure[Any]] | None = None
    sets: SetScores | None = None
    allocator: Callable[[], tuple[Allocator, str]] | None = None
    memories: MemoriesOf | None = None
    synapse_layers: Callable[[], tuple[str, ...]] | None = None
    units: Callable[[], Units[Any]] | None = None

    @property
    def built_in(self) -> Network:
        """The network, where it is no class of the user's."""
        from ....models.networks.network import Network

        assert isinstance(self.network, Network)
        return self.network

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        from ....models.prune.spec import apart

        return apart(len(self.train_images), self.seed, self.held_out)

    @cached_property
    def images(self) -> np.ndarray:
        """Training images without the held ones."""
        return self.train_images[self._parts[1]]

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of `images`."""
        return self.train_labels[self._parts[1]]

    @cached_property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels to decide by: those that training held out, or a tenth.

        A network that was trained on them does better on them than on others, so that losses look larger, never
        smaller.
        """
        return self.train_images[self._parts[0]], self.train_labels[self._parts[0]]

    @property
    def work(self) -> tuple[Network, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """A built-in network, `images`, `labels` and `held`, as functions of `models.prune` take them."""
        return self.built_in, self.images, self.labels, self.held

    @property
    def recovery(self) -> Recovery:
        """How the network recovers from each removal."""
        from ....models.prune.recovery import Recovery
        from ....models.training.update import Extras

        extras = Extras(memories=self.memories)
        return Recovery(self.images, self.labels, self.held, self.plan, self.checkpoint, self.progress, extras=extras)

    def flips(self) -> FlipCounts | None:
        """What training counted."""
        from ....models.training.flips import FlipCounts

        return FlipCounts.load(self.flips_file) if self.flips_file is not None else None


@dataclass(frozen=True, slots=True)
class RemovalStep:
    """One removal and its recovery.

    Attributes:
        kept: what is left, by layer or group.
        macs: products of one image.
        before, after: accuracy (0 to 1) on the held images before (None: not measured) and after fine-tuning.
        undone: it lost too much.
        facts: what else is to be said of it.
    """

    kept: dict[str, int]
    macs: int
    before: float | None
    after: float
    undone: bool = False
    facts: Facts = field(default_factory=dict)

    def to_facts(self, number: int) -> Facts:
        """As the stage records it; steps are counted from 1."""
        accuracies = {"accuracy_before": self.before, "accuracy_after": self.after, "rolled_back": self.undone}
        return {"step": number, "kept": self.kept, "macs": self.macs, **accuracies, **self.facts}


@dataclass(frozen=True, slots=True)
class Pruned:
    """A smaller network, in eval mode.

    Attributes:
        network: as it is.
        kept: what is left, by layer or group; of what, the method's `counts` says.
        steps: how it came about.
        facts: what else the method says.
        stop: why it ended before its last step; "" where it did not.
    """

    network: Network | OwnNetwork
    kept: dict[str, int]
    steps: Sequence[RemovalStep]
    facts: Facts = field(default_factory=dict)
    stop: str = ""


@dataclass(frozen=True, slots=True)
class GraphChange:
    """A way to make a graph smaller.

    Attributes:
        smaller: of a graph, whose batch norms may be more than those of the graph that it was made for.
        changed: nodes whose results, or inputs, are others then; norms and thresholds at and behind them are measured.
        sparse: layers whose zeros are removed synapses, which stay.
        masked: of a graph, the whole one with weights of 0 in place of what goes, against whose sums the smaller one's
            are held before anything is re-estimated; None where what goes does not leave its neighbours' sums alone.
    """

    smaller: Callable[[Graph], Graph]
    changed: Collection[str]
    sparse: Collection[str] = ()
    masked: Callable[[Graph], Graph] | None = None


@dataclass(frozen=True)
class GraphInput:
    """The network of a file, and how it recovers.

    Attributes:
        graph: of the network level with integer inputs, or on integers.
        seed: of everything random.
        max_loss: accuracy that may be lost, 0 to 1; None: no limit.
        change: the graph with norms and thresholds re-estimated.
        tune: what `change` made, after fine-tuning; the same where there is none.
        scores: of synapses, by layer (flow/pruning/synapse_scores.py); with a number, drawn with it as the seed.
        masks: trains masks of channels and weights for so many epochs at a rate: the graph with these weights, which
            computes without the channels that masks leave out what it was trained to, and what stays of each group.
        right: share of the images that decide whose class a graph gives; none is trained on.
    """

    graph: Graph
    seed: int
    max_loss: float | None
    change: Callable[[Graph, GraphChange], Graph]
    tune: Callable[[Graph, GraphChange], Graph]
    scores: Callable[[Graph, int | None], Mapping[str, np.ndarray]]
    masks: Callable[[Graph, MaskSpec, int, float], tuple[Graph, dict[str, np.ndarray]]]
    right: Callable[[Graph], float]


@dataclass(frozen=True, slots=True)
class PrunedGraph:
    """A smaller graph.

    Attributes:
        graph: as it is.
        whole, kept: what there was and is left, by layer or unit; of what, the method's `counts` says.
        steps: how it came about; products are those of the graph.
        criterion: by which; "" where there is none.
        stop: why it ended before its last step; "" where it did not.
    """

    graph: Graph
    whole: dict[str, int]
    kept: dict[str, int]
    steps: Sequence[RemovalStep]
    criterion: str = ""
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """A table of texts."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Lines = Sequence[str | Columns]


@dataclass(frozen=True, slots=True)
class Measured:
    """What each thing that a method removes is worth, without any training: plain values, and how they are shown."""

    facts: Facts
    shown: Lines


class Method(Section):
    """A way of pruning; the fields of a subclass are its settings, its docstring says what it removes.

    The class of a file in this folder that has the file's name, in capitals where it likes, is found by itself: a new
    method is a new file.
    """

    counts: ClassVar[str]
    """What `Pruned.kept` counts, such as "input planes"."""
    why_nothing: ClassVar[str] = "nothing can go"
    """Why the pruned network may have all that the unpruned one has."""
    in_prune: ClassVar[bool] = False
    """Whether its keys stand in `prune` itself."""
    takes_classes: ClassVar[bool] = False
    """Whether it prunes classes of the user's and ensembles, too."""
    why_no_classes: ClassVar[str] = "it changes what only networks of `flow models` have"
    """Why it does not, where it does not."""
    removes_channels: ClassVar[bool] = False
    """Whether what it removes are channels, so that a network must have such as can go."""
    heeds_loss: ClassVar[bool] = False
    """Whether `prune.max_loss` ends it."""
    file_defaults: ClassVar[Mapping[str, Any] | None] = None
    """Where it prunes QONNX files, too: settings that have another default there. None: it does not."""
    why_no_files: ClassVar[str] = "it needs what training knows, and no file holds"
    """Why it does not, where it does not."""
    learns: ClassVar[bool] = False
    """Whether it trains to find out what goes, and so needs labels, or a teacher, also where nothing is fine-tuned."""
    leaves_zeros: ClassVar[bool] = False
    """Whether weights become 0: they are then of another kind than those that training had."""

    @classmethod
    def name(cls) -> str:
        """Of `prune.method`."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def key(cls, field: str) -> str:
        """A setting's key in a recipe."""
        return f"prune.{field}" if cls.in_prune else f"prune.{cls.name()}.{field}"

    def check(self, asked: MethodRequest) -> None:
        """Whether the settings fit a network and its training.

        Raises:
            Problem: its `key` is the recipe's.
        """

    def remarks(self, asked: MethodRequest) -> Iterable[str]:
        """What is to be known before it runs: that it cannot help here, or what it costs in hardware."""
        return ()

    def unused(self) -> Iterable[tuple[str, str, str]]:
        """Settings without effect beside the others: field, reason and repair."""
        return ()

    def latent_use(self) -> LatentUse | None:
        """Where the method goes by latent weights, if it does."""
        return None

    def prune(self, given: MethodInput) -> Pruned:
        """Remove what the settings say, with recovery.

        Raises:
            Problem: the network does not have what is to be removed.
        """
        raise NotImplementedError

    def prune_graph(self, given: GraphInput) -> PrunedGraph:
        """Remove what the settings say of a file's network, with recovery.

        Raises:
            Problem: the network does not have what is to be removed, or a file has not what the settings ask for.
        """
        raise NotImplementedError

    def measure(self, given: MethodInput, draws: int) -> Measured:
        """What each thing that could be removed is worth.

        Args:
            given: the network and its images.
            draws: of what is drawn, at least 1.

        Raises:
            Problem: the method does not measure single things.
        """
        hint = "`flow prune` removes them, with fine-tuning"
        raise Problem(f"single {self.counts} are not measured by {self.name()}", key="--method", hint=hint)

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """What was removed, and how, in words."""
        return (cls.__doc__ or "").partition("\n")[0].rstrip(".")

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """What is to be said in the terminal beside the table of steps."""
        return ()


class Dropping(Method):
    """A method that drops things by number, or one by one while `prune.max_loss` holds."""

    heeds_loss: ClassVar[bool] = True
    thing: ClassVar[str]
    """One of them, such as "plane"."""

    if TYPE_CHECKING:
        drop: int | None

    def check_goal(self, asked: MethodRequest) -> None:
        """Refuse settings in which not exactly one of both says how many go."""
        self.check_amount(asked.max_loss)

    def check_amount(self, max_loss: float | None) -> None:
        """Refuse that neither or both of `drop` and what may be lost are given."""
        if self.drop is None and max_loss is None:
            what = f"nothing says how many {self.name()} are dropped"
            raise Problem(what, key=self.key("drop"), hint="set it, or prune.max_loss, to 1 point for example")
        if self.drop is not None and max_loss is not None:
            raise Problem("prune.max_loss says it, too", key=self.key("drop"), hint="give one of them")

    def stopped(self, steps: Sequence[RemovalStep], given: MethodInput | GraphInput) -> str:
        """Why it ended."""
        if not (steps and steps[-1].undone):
            return ""
        most = 100 * (given.max_loss or 0.0)
        return f"dropping another {self.thing} lost more than {most:g} points, and was undone"
