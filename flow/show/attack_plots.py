"""The picture of an attack: accuracy against flips, beside random ones."""

from __future__ import annotations

from ..results.fault_analysis import AttackResult
from .drawing import ON_WHITE, as_file

_ATTACK, _RANDOM, _LEVEL = "#b3261e", "#1f5fa8", "#777777"


def attack_picture(found: AttackResult, form: str) -> bytes:
    """Accuracy, percent, against weight bits flipped (logarithmic), as svg, png or pdf.

    The attack's steps; random flips with the mean of their orders and its 95 % interval; dashed, the level at which the
    attack ends, and dotted, accuracy without flips.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(ON_WHITE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.subplots()
        aim = "attack" if found.target is None else f"attack towards class {found.target}"
        axes.plot(
            [step.flips for step in found.steps],
            [100 * step.accuracy for step in found.steps],
            color=_ATTACK,
            label=aim,
        )
        if found.target is not None:
            shares = [100 * (step.share or 0.0) for step in found.steps]
            axes.plot([step.flips for step in found.steps], shares, color=_ATTACK, linestyle="--", label="in the class")
        if found.random is not None:
            mean, low, high = (
                [100 * value for value in values] for values in (found.random.mean, found.random.low, found.random.high)
            )
            axes.fill_between(found.random.flips, low, high, color=_RANDOM, alpha=0.18, linewidth=0)
            axes.plot(found.random.flips, mean, color=_RANDOM, label="random flips")
        axes.axhline(100 * found.level, color=_LEVEL, linewidth=1, linestyle=(0, (5, 3)))
        axes.axhline(100 * found.clean, color=_LEVEL, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xscale("log")
        axes.set_ylim(0, 100)
        axes.set_xlabel(f"weight bits flipped, of {found.bits:,}")
        axes.set_ylabel(f"accuracy on {found.images:,} images, %")
        axes.legend(loc="lower left")
        return as_file(figure, form)
