"""The criteria by which filters and neurons are ranked: one table of what each is, and how to write them.

Nothing here imports torch: a recipe is read without it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from bnnflow import Problem

Kind = Literal["attribution", "figure", "set"]

RANKED = ("deeplift", "reconstruction")
"""What `flow rank` compares where nothing else is said: the default with fine-tuning, and that without."""

OF_TRAINING = frozenset({"flips", "latent weights"})
"""What a criterion may need that training leaves and no file of a network holds."""

REDUCTIONS: dict[str, str] = {
    "meanabs": "mean of |A| over images and map",
    "absmean": "|mean of A over images and map|",
    "possum": "mean of max(A, 0) over images and map",
    "imgabs": "mean over images of |sum of A over the map|",
    "maxabs": "mean over images of max |A| over the map",
    "l2": "square root of the mean of A^2 over images and map",
}


@dataclass(frozen=True, slots=True)
class ScoringMethod:
    """One way of scoring: a row of `CRITERIA` is all that there is to a criterion beside its function.

    Args:
        kind: "attribution": a number for each cell of the output map of each image, to be reduced; "figure": one
            number per filter; "set": filters are chosen together, a score is the place in the order of removal.
        meaning: what a number says.
        cost: what it takes.
        function: "module:name" in this folder, loaded when it is first asked for. Of an attribution (probe, x, base,
            target) to `taps.Attributed`; of a figure (`sample.Asked`) to (filters,) float64 by layer.
        check: what `Relevance.check` is; "" where there is nothing to check.
        needs: "" or what the network or its training must have had.
        reduction: of attributions where none is given. In front of a binary layer's sum output times gradient has
            one magnitude for all neurons, and a change's share is 0 or that: what tells them apart is the sign, which
            possum and absmean see, and imgabs does not.
        complete: its attributions must add up to the change of the label's sum, image by image.
        captum: Captum is asked for the same, too.
        of_loss: it looks at the loss, so that the network gives scores and not sums.
        looks: a figure looks at images.
        blind: it looks at no answer of the network.
        slow: it is not tried before training.
    """

    kind: Kind
    meaning: str
    cost: str
    function: str
    check: str = ""
    needs: str = ""
    reduction: str = "absmean"
    complete: bool = False
    captum: bool = False
    of_loss: bool = False
    looks: bool = True
    blind: bool = False
    slow: bool = False

    def load(self) -> Callable[..., Any]:
        """Its function; imports torch."""
        module, _, name = self.function.partition(":")
        found: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), name)
        return found


_SUM_OF_ONE = "greatest |sum of A - change of the sum| / max(1, |change|) over images and cuts of the network"
_SUM_OF_ALL = (
    "sum of |sum of A - change| / sum of |change|, at the cut that misses most (gradients of signs are stand-ins)"
)
_LRP_SUM = "sum of |sum of relevance - sum of the label| / sum of |sum of the label|, at the cut that loses most"

CRITERIA: dict[str, ScoringMethod] = {
    "deeplift": ScoringMethod(
        "attribution",
        "share of the change of the label's sum against another image (rescale rule, exact for signs)",
        "two forward passes and a backward one for all layers",
        "deep_lift:deeplift",
        _SUM_OF_ONE,
        complete=True,
        captum=True,
    ),
    "deeplift-captum": ScoringMethod(
        "attribution",
        "as deeplift, by Captum: differs in front of max pools, whose winners get all of a change",
        "two forward passes and a backward one per layer",
        "captum_deeplift:captum_deeplift",
        _SUM_OF_ONE,
        complete=True,
    ),
    "integrated-gradients": ScoringMethod(
        "attribution",
        "change against another image times the mean gradient between both, in the layer's own space",
        "20 forward and backward passes a layer",
        "gradients:integrated_gradients",
        _SUM_OF_ALL,
    ),
    "conductance": ScoringMethod(
        "attribution",
        "gradient times change of the output, along a straight path from another image",
        "20 forward and backward passes a layer",
        "gradients:conductance",
        _SUM_OF_ALL,
    ),
    "gradient-activation": ScoringMethod(
        "attribution",
        "output times gradient of the label's sum",
        "one forward and backward pass a layer",
        "gradients:gradient_activation",
        reduction="possum",
    ),
    "taylor-activation": ScoringMethod(
        "attribution",
        "first-order change of the loss if the output were 0",
        "one forward and backward pass",
        "gradients:taylor_activation",
        reduction="imgabs",
        of_loss=True,
    ),
    "lrp": ScoringMethod(
        "attribution",
        "relevance of the label's sum, handed back in proportion to each product (epsilon rule)",
        "one forward and two backward passes",
        "lrp:lrp_epsilon",
        _LRP_SUM,
        reduction="possum",
    ),
    "lrp-gamma": ScoringMethod(
        "attribution",
        "as lrp, positive products counted 1.25 times (gamma rule)",
        "one forward and six backward passes",
        "lrp:lrp_gamma",
        _LRP_SUM,
        reduction="possum",
    ),
    "taylor-weight": ScoringMethod(
        "figure",
        "sum over the filter of |weight * gradient of the mean loss|",
        "one forward and backward pass",
        "figures:taylor_weight",
    ),
    "ablation": ScoringMethod(
        "figure",
        "increase of the loss when the output is held at its mean; the reference for one filter alone",
        "a forward pass a filter, from its layer on",
        "figures:ablation",
        slow=True,
    ),
    "flips": ScoringMethod(
        "figure",
        "1 / (1 + sign changes a weight from epoch to epoch, in the last window of training)",
        "counted in training",
        "figures:flips_of_epochs",
        needs="flips",
        looks=False,
        blind=True,
    ),
    "flips-step": ScoringMethod(
        "figure",
        "1 / (1 + sign changes a weight from update to update, in the last window of training)",
        "counted in training",
        "figures:flips_of_steps",
        needs="flips",
        looks=False,
        blind=True,
    ),
    "latent": ScoringMethod(
        "figure",
        "mean |latent weight|, by the layer's mean",
        "nothing",
        "figures:latent",
        needs="latent weights",
        looks=False,
        blind=True,
    ),
    "entropy": ScoringMethod(
        "figure", "variance of the output; for signs p (1 - p)", "one forward pass", "figures:entropy", blind=True
    ),
    "norm-gain": ScoringMethod(
        "figure",
        "|gain| of the batch norm behind the layer",
        "nothing",
        "figures:norm_gain",
        needs="a norm per layer",
        looks=False,
        blind=True,
    ),
    "reconstruction": ScoringMethod(
        "set",
        "place in the order of removal that changes the sums of the layers behind least, all that goes taken together",
        "one forward pass, and the products of what each two channels add to a sum; no gradient",
        "figures:reconstruction",
    ),
    "random": ScoringMethod(
        "figure",
        "nothing: the control that a criterion has to beat",
        "nothing",
        "figures:random",
        looks=False,
        blind=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Criterion:
    """A method with its reduction, or several ones whose rank positions are averaged (Borda).

    Args:
        method: a name of `CRITERIA`, or "borda".
        reduction: a name of `REDUCTIONS`; "" for figures and borda.
        parts: of borda.
    """

    method: str
    reduction: str = ""
    parts: tuple[Criterion, ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return f"borda({','.join(map(str, self.parts))})"
        return f"{self.method}:{self.reduction}" if self.reduction else self.method

    @property
    def needs(self) -> set[str]:
        """What the network or its training must have had."""
        if self.parts:
            return {need for part in self.parts for need in part.needs}
        return {CRITERIA[self.method].needs} - {""}

    @property
    def methods(self) -> tuple[ScoringMethod, ...]:
        """Its row of `CRITERIA`, or those of its parts."""
        return tuple(CRITERIA[part.method] for part in self.parts or (self,))

    @staticmethod
    def parse(text: str) -> Criterion:
        """Read METHOD, METHOD:REDUCTION or borda(A, B, ...).

        Raises:
            Problem: an unknown method or reduction (with the closest), a reduction of a figure, or a borda of fewer
                than two.
        """
        inner = re.fullmatch(r"\s*borda\s*\((.*)\)\s*", text)
        if inner:
            parts = tuple(Criterion.parse(part) for part in inner[1].split(",") if part.strip())
            if len(parts) < 2:
                raise Problem(f"{text.strip()!r} joins fewer than two criteria", "criterion", "borda(deeplift, latent)")
            return Criterion("borda", "", parts)
        method, colon, reduction = (part.strip() for part in text.partition(":"))
        if method not in CRITERIA:
            raise _unknown("criterion", method, (*CRITERIA, "borda(A, B, ...)"))
        if CRITERIA[method].kind != "attribution":
            if colon:
                raise Problem(f"{method} gives one number per filter", "criterion", f"leave out ':{reduction}'")
            return Criterion(method)
        if colon and reduction not in REDUCTIONS:
            raise _unknown("reduction", reduction, tuple(REDUCTIONS))
        return Criterion(method, reduction or CRITERIA[method].reduction)


def check_scores_in_training(text: str) -> Criterion:
    """The criterion, where it scores filters of a network that is being trained.

    Raises:
        Problem: as `Criterion.parse`; it needs training's counts, or chooses sets.
    """
    found = Criterion.parse(text)
    if "flips" in found.needs or any(method.kind == "set" for method in found.methods):
        what = f"{text} does not score single filters of a network in training"
        raise Problem(what, "guide", "use an attribution, for example deeplift", key="guide")
    return found


def _unknown(kind: str, name: str, known: tuple[str, ...]) -> Problem:
    near = difflib.get_close_matches(name.lower().replace("_", "-"), known, 1, 0.5)
    listed = f"known: {', '.join(known)}"
    return Problem(f"unknown {kind} {name!r}", "criterion", f"did you mean {near[0]!r}? {listed}" if near else listed)
