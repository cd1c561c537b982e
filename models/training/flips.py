"""How often the binary weights change their sign in training (weight flipping frequency)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ..npz import read_npz
from ..store import write_atomically

KINDS = ("epoch", "step")


def needed(flips: FlipCounts | None) -> FlipCounts:
    """The counts.

    Raises:
        Problem: there are none.
    """
    if flips is None:
        hint = "train with train.flip_window above 0, or use another criterion"
        raise Problem("the flips of this network's weights were not counted", "criterion", hint)
    return flips


class FlipCounts:
    """Sign changes of every weight from epoch to epoch and from update to update, in windows of epochs.

    Windows end with the training: with 10 epochs and a window of 4 they are epochs 1-2, 3-6 and 7-10. Of the last one
    the changes of every weight are kept, of the earlier ones each filter's sum.

    Args:
        window: epochs, at least 1.

    Attributes:
        last: kind ("epoch" or "step") and layer: changes of each weight in the last window, in the weights' shape,
            int32.
        earlier: kind and layer: (windows, filters) sums of the windows before it, int64.

    Raises:
        Problem: the window is below 1.

    Source: Li and Ren, BNN Pruning: Pruning Binary Neural Network Guided by Weight Flipping Frequency, ISQED 2020;
    there the last window is what follows the last step of the learning rate.
    """

    def __init__(self, window: int = 20) -> None:
        if window < 1:
            raise Problem(f"a window of {window} epochs", "flips", "1 or more")
        self.window = window
        self.last: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
        self.earlier: dict[str, dict[str, Tensor]] = {kind: {} for kind in KINDS}
        self._weights: dict[str, Tensor] = {}
        self._signs: dict[str, dict[str, Tensor]] = {}

    def begin(self, layers: list[tuple[str, nn.Conv2d | nn.Linear]], state: dict[str, Any] | None = None) -> None:
        """Count from these weights on; `state` is what `state_dict` gave at the end of the epoch that they are of."""
        self._weights = {name: module.weight for name, module in layers}
        self._signs = {kind: {name: weight.detach() >= 0 for name, weight in self._weights.items()} for kind in KINDS}
        for kind in KINDS:
            zeros = {name: torch.zeros(w.shape, dtype=torch.int32) for name, w in self._weights.items()}
            none = {name: torch.zeros((0, len(w)), dtype=torch.int64) for name, w in self._weights.items()}
            self.last[kind] = {
                name: counts.to(self._weights[name].device)
                for name, counts in (zeros if state is None else state["last"][kind]).items()
            }
            self.earlier[kind] = dict(none if state is None else state["earlier"][kind])

    def after_step(self) -> None:
        """Count what the update changed."""
        self._count("step")

    def after_epoch(self, epoch: int, epochs: int) -> None:
        """Count what the epoch (from 0, of `epochs`) changed, and begin a new window where one ends."""
        self._count("epoch")
        left = epochs - epoch - 1
        if left and left % self.window == 0:
            for kind in KINDS:
                for name, counts in self.last[kind].items():
                    sums = counts.flatten(1).sum(1, dtype=torch.int64).cpu()[None]
                    self.earlier[kind][name] = torch.cat([self.earlier[kind][name], sums])
                    counts.zero_()

    def _count(self, kind: str) -> None:
        for name, weight in self._weights.items():
            sign = weight.detach() >= 0
            self.last[kind][name] += sign != self._signs[kind][name]
            self._signs[kind][name] = sign

    def rates(self, kind: str) -> dict[str, np.ndarray]:
        """Changes a weight of each filter in the last window: (filters,) float64 by layer."""
        return {name: counts.double().flatten(1).mean(1).cpu().numpy() for name, counts in self.last[kind].items()}

    def cut(self, keep: dict[str, np.ndarray]) -> FlipCounts:
        """The counts of a network that has only the named filters left, over the weights that they had in training.

        Args:
            keep: indices of what stays, by layer; layers that are not named stay whole.
        """
        made = FlipCounts(self.window)
        for kind in KINDS:
            for name, counts in self.last[kind].items():
                rows = torch.as_tensor(keep[name]) if name in keep else torch.arange(len(counts))
                made.last[kind][name] = counts.cpu()[rows]
                made.earlier[kind][name] = self.earlier[kind][name][:, rows]
        return made

    def of(self, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Changes of each weight of the named layers in the last window, int32.

        Args:
            kind: "epoch" or "step".
            shapes: of the weights, or their first dimensions: (filters,) takes the counts of `cut`.

        Raises:
            Problem: they were counted for layers of other names or shapes.
        """
        made = {}
        for name, shape in shapes.items():
            counts = self.last[kind].get(name)
            if counts is None or tuple(counts.shape[: len(shape)]) != shape:
                what = "flips were counted for a network of another shape"
                raise Problem(what, name, "count them in its own training, or use another criterion")
            made[name] = counts.cpu().numpy()
        return made

    def state_dict(self) -> dict[str, Any]:
        """All that counting on depends on besides the weights."""
        last = {kind: {name: counts.cpu() for name, counts in self.last[kind].items()} for kind in KINDS}
        return {"window": self.window, "last": last, "earlier": self.earlier}

    def save(self, path: Path) -> None:
        """Write `last` and `earlier` as .npz, atomically: arrays `last/KIND/LAYER`, `earlier/KIND/LAYER`, `window`."""
        arrays: dict[str, np.ndarray] = {"window": np.array(self.window)}
        for part in ("last", "earlier"):
            for kind in KINDS:
                for name, counts in getattr(self, part)[kind].items():
                    arrays[f"{part}/{kind}/{name}"] = counts.cpu().numpy()

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)

        write_atomically(path, write)

    @staticmethod
    def load(path: Path) -> FlipCounts:
        """Read what `save` wrote.

        Raises:
            Problem: the file is absent, damaged, or of another kind.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            hint = "train with train.flip_window above 0"
            raise Problem("the flips of this network's weights were not counted", str(path), hint) from None
        arrays = read_npz(content, path, "a file of counted flips", "train again")
        try:
            made = FlipCounts(int(arrays.pop("window")))
            for key, counted in arrays.items():
                part, kind, name = key.split("/", 2)
                getattr(made, part)[kind][name] = torch.from_numpy(counted)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Problem(f"not a file of counted flips: {error}", str(path), "train again") from error
        return made
