"""Pruning of a graph in Python: what is removed, and how its channels rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..run.files import check_file
from .arguments import DATA, Count, Natural, PathLike, Void, checked_arguments
from .common import array_of, given_or_default, path_of

if TYPE_CHECKING:
    import numpy as np

    from ...transforms.ir.graph import Graph
    from ..results.pruned_file import PrunedFile, ReducedFile
    from ..results.rankings import Ranking


def _learns(method: str) -> bool:
    """Whether a method of pruning trains by itself."""
    from ..recipe.methods.all import METHODS

    return method in METHODS and METHODS[method].learns


class GraphPruning:
    """What `LoadedGraph` does to make its network smaller.

    Attributes:
        graph: of any level.
        path: of its file.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        graph: Graph
        path: Path

    @checked_arguments(DATA, Void(("batch", "learning_rate", "distill"), ("epochs",)))
    def prune(
        self,
        output: PathLike,
        images: np.ndarray | PathLike | None = None,
        labels: np.ndarray | PathLike | None = None,
        *,
        data: str = "",
        data_dir: PathLike | None = None,
        amount: float | None = None,
        unit: int | None = None,
        min_width: int | None = None,
        criterion: str = "auto",
        count: Count | None = None,
        calibration: int | None = None,
        seed: int | None = None,
        epochs: Natural = 0,
        batch: Count | None = None,
        learning_rate: float | None = None,
        distill: float | None = None,
        progress: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> PrunedFile:
        """Remove channels, and write the smaller network.

        What is None is the recipe's default (docs/recipe.md, section `prune`). Norms and thresholds are re-estimated;
        the cut network is held against the whole one. `bf.prune` prunes a run.

        Args:
            output: file (.onnx) to write.
            images: as for `simulate`; one half of them chooses, the other judges; or
            data, data_dir: a data set, whose training images choose and whose test images judge.
            labels: of `images`; without, the network's own answers stand in.
            amount: share of each group's channels to remove, above 0 up to 0.9.
            unit: what is left of a group is a multiple of it.
            min_width: channels that every group keeps.
            criterion: METHOD, METHOD:REDUCTION or borda(A,B,...) of `flow rank --list`, but for those that need what
                training leaves; "auto": "reconstruction".
            count: images that choose; None: 512.
            calibration: images that norms and thresholds are re-estimated on.
            seed: of all that is drawn.
            epochs: of fine-tuning; 0: no training.
            batch, learning_rate: of fine-tuning.
            distill: weight of the whole network's answers in its loss; with 1 no labels are needed.
            progress: called with steps of fine-tuning done, the total, and figures.

        Raises:
            Problem: no images, or labels that do not fit them; no channels to cut; a criterion that the file does not
                serve; (status 1) the cut network is not the whole one without these channels, or training diverged.

        >>> g.prune("smaller.onnx", x, y, amount=0.5, unit=4).kept
        {'dense0': 8}
        """
        from ..commands import prune_file as work
        from ..commands.simulation import Images

        given = Images(array_of(images), array_of(labels), data, path_of(data_dir))
        check_file(Path(output), (".onnx",), [self.path, *given.files])
        how = work.FilePruning(
            amount=given_or_default(amount, "prune.amount"),
            unit=given_or_default(unit, "prune.unit"),
            min_width=given_or_default(min_width, "prune.min_width"),
            criterion=criterion,
            images=work.CHOOSING if count is None else given_or_default(count, "prune.images"),
            calibration=given_or_default(calibration, "prune.calibration"),
            seed=given_or_default(seed, "seed"),
            epochs=epochs,
            batch=given_or_default(batch, "prune.batch"),
            learning_rate=given_or_default(learning_rate, "prune.learning_rate"),
            distill=given_or_default(distill, "prune.distill"),
        )
        return work.prune_file(self.graph, self.path, Path(output), given, how, progress)

    @checked_arguments(
        DATA,
        Void(("learning_rate",), ("epochs",)),
        Void(
            ("batch", "distill"), lambda values: bool(values["epochs"]) or _learns(values["method"]), "without epochs"
        ),
    )
    def prune_by(
        self,
        method: str,
        output: PathLike,
        images: np.ndarray | PathLike | None = None,
        labels: np.ndarray | PathLike | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        data: str = "",
        data_dir: PathLike | None = None,
        max_loss: float | None = None,
        count: Count | None = None,
        calibration: int | None = None,
        seed: int | None = None,
        epochs: Natural = 0,
        batch: Count | None = None,
        learning_rate: float | None = None,
        distill: float | None = None,
        progress: Callable[[int, int, dict[str, float]], None] | None = None,
    ) -> ReducedFile:
        """Remove by a method what it removes, and write the smaller network; `prune` removes channels by a criterion.

        Args:
            method: "masks", "synapses", "balanced", "blocks" or "planes".
            output, images, labels, data, data_dir, calibration, seed: as for `prune`.
            settings: of the method (docs/pruning.md), such as {"share": 0.5}; the criterion of synapses is "taylor"
                where none is said, or "random".
            max_loss: "blocks", "planes": drop them one by one while no more points are lost than this.
            count: images that score and decide, which nothing is trained on; None: 512, half of them at most.
            epochs, batch, learning_rate, distill, progress: of fine-tuning after each step, as for `prune`; "masks" are
                trained with this batch and teacher, too, for epochs and at a rate of their own.

        Raises:
            Problem: a method that files are not pruned by; the network has not what it removes; as `prune`.

        >>> g.prune_by("synapses", "sparse.onnx", x, y, settings={"share": 0.5, "steps": 1}, count=8).kept
        {'dense0': 512, 'dense1': 80}
        """
        from ..commands import reduce_file as work
        from ..commands.simulation import Images

        given = Images(array_of(images), array_of(labels), data, path_of(data_dir))
        check_file(Path(output), (".onnx",), [self.path, *given.files])
        how = work.FileReduction(
            method=work.file_method(method, settings or {}),
            images=None if count is None else given_or_default(count, "prune.images"),
            calibration=given_or_default(calibration, "prune.calibration"),
            seed=given_or_default(seed, "seed"),
            max_loss=given_or_default(max_loss, "prune.max_loss"),
            epochs=epochs,
            batch=given_or_default(batch, "prune.batch"),
            learning_rate=given_or_default(learning_rate, "prune.learning_rate"),
            distill=given_or_default(distill, "prune.distill"),
        )
        return work.reduce_file(self.graph, self.path, Path(output), given, how, progress)

    @checked_arguments(DATA, Void(("shares",), ("chance",)))
    def rank(
        self,
        criteria: Sequence[str] | str | None = None,
        images: np.ndarray | PathLike | None = None,
        labels: np.ndarray | PathLike | None = None,
        *,
        data: str = "",
        data_dir: PathLike | None = None,
        count: Count | None = None,
        seed: int | None = None,
        threads: Count = 1,
        chance: Natural = 0,
        shares: Sequence[float] = (0.25, 0.5, 0.75),
        csv: PathLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Ranking:
        """Score the filters of every layer but the last, and say how criteria agree; `bf.rank` ranks a run's.

        Args:
            criteria: as for `bf.rank`, but for those that need what training leaves.
            images, labels, data, data_dir: as for `prune`; those that judge there do so beside chance.
            count: images that are scored; None: the recipe's default.
            seed, threads, chance, shares, csv, progress: as for `bf.rank`.

        Raises:
            Problem: no images, or labels that do not fit them; a criterion that the file does not serve; beside
                chance, a file without batch norms.

        >>> [row.criterion for row in g.rank("deeplift", x, y, count=8).criteria]
        ['deeplift:absmean']
        """
        from ...models.relevance.criteria import RANKED
        from ..commands import rank as written
        from ..commands import rank_file as work
        from ..commands.simulation import Images

        given = Images(array_of(images), array_of(labels), data, path_of(data_dir))
        if csv is not None:
            check_file(Path(csv), (".csv",), [self.path, *given.files])
        how = work.FileRanking(
            criteria=(criteria,) if isinstance(criteria, str) else tuple(criteria or RANKED),
            images=given_or_default(count, "prune.images"),
            seed=given_or_default(seed, "seed"),
            threads=threads,
            chance=written.check_draws(chance),
            shares=tuple(shares),
        )
        found = work.rank_file(self.graph, self.path, given, how, progress)
        if csv is not None:
            written.write_ranking_csv(found, Path(csv))
        return found
