"""Bop: binary weights that are flipped by their momentum, without latent weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .float_format import FloatFormat


class Bop(torch.optim.Optimizer):
    """m <- (1 - rate) m + rate g; a weight flips where |m| > threshold and m has its sign.

    With a format, m is rounded to it after every step: it then needs `format.bits` bits per weight in place of the 32
    of a latent weight and the 64 of Adam's moments. An update is lost where rate (g - m) is not 0 but m stays as it
    was, because the step was below half a unit in the last place.

    Args:
        weights: tensors of +1 and -1.
        rate: adaptivity gamma; a schedule may change it, and may make it a tensor.
        threshold: tau.
        form: number format of the momenta; None for float32.

    Source: Helwegen et al., Latent Weights Do Not Exist, arXiv:1906.02107; DAC 2022 for the formats.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        rate: float = 1e-4,
        threshold: float = 1e-8,
        form: FloatFormat | None = None,
    ) -> None:
        super().__init__(weights, {"lr": rate, "threshold": threshold})
        self.form = form
        device = self.param_groups[0]["params"][0].device
        self.counts = torch.zeros(3, dtype=torch.int64, device=device)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; adds to `counts`: momenta that were to change, those that did not, and flips."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                before = state["momentum"]
                change = group["lr"] * (weight.grad - before)
                after = before + change
                if self.form is not None:
                    after = self.form.round(after)
                flips = (after.abs() > group["threshold"]) & (torch.sign(after) == torch.sign(weight))
                wanted = change != 0
                self.counts += torch.stack([wanted.sum(), ((after == before) & wanted).sum(), flips.sum()])
                # in place: a CUDA graph knows tensors by where they are
                before.copy_(after)
                weight.copy_(torch.where(flips, -weight, weight))

    def take_counts(self) -> dict[str, float]:
        """Share of updates that were lost, and flips, since the last call."""
        updates, lost, flips = self.counts.tolist()
        self.counts.zero_()
        return {"lost_updates": lost / max(1, updates), "flips": float(flips)}
