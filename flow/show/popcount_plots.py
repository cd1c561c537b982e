"""Pictures of what `flow approximate` counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .drawing import ON_WHITE, as_file, new_figure


def histograms(found: Mapping[str, np.ndarray], form: str) -> bytes:
    """The share of each popcount of a segment, a panel a layer, as svg, png or pdf."""
    from matplotlib import rc_context

    with rc_context(ON_WHITE):
        figure, axes = new_figure(2.4 * len(found), 2.4, len(found), sharey=True)
        for one, (name, counts) in zip(axes, found.items(), strict=True):
            one.bar(np.arange(len(counts)), 100 * counts / max(1, counts.sum()), color=ON_WHITE["xtick.labelcolor"])
            one.set_title(name)
            one.set_xlabel("popcount of a segment")
        axes[0].set_ylabel("share of segments, %")
        return as_file(figure, form)
