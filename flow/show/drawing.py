"""How pictures are drawn: inline SVG whose colours follow the report's page (light, dark, print), or files on white."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib draws with; each becomes a CSS variable of the page.
INK, FAINT, BASE, PRUNED, MARK = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--ink", FAINT: "--line", BASE: "--base", PRUNED: "--pruned", MARK: "--mark"}
COLOURS = {"base": BASE, "pruned": PRUNED}
TITLES = {"base": "unpruned", "pruned": "pruned"}
STYLE = {
    "svg.hashsalt": "bnnflow",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
# Endings of the files that `as_file` makes.
PICTURES = (".svg", ".png", ".pdf")
_WHITE = {INK: "#222222", FAINT: "#d0d0d0"}
ON_WHITE = {key: _WHITE.get(value, value) if isinstance(value, str) else value for key, value in STYLE.items()}


def new_figure(width: float, height: float, columns: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side, on the page's ground; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(1, columns, sharey=sharey, squeeze=False)
    for axes in grid[0]:
        axes.patch.set_alpha(0)
    return figure, list(grid[0])


def as_svg(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element: ids that are unique in the page, CSS colours, no metadata."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img" width="100%"', svg)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return re.sub(r"[ \t]+\n", "\n", svg)


def as_file(figure: Figure, form: str) -> bytes:
    """The figure on white ground as a file: svg, png or pdf."""
    figure.patch.set(alpha=1, facecolor="white")
    undated = {"svg": {"Creator": None, "Date": None}, "pdf": {"Creator": None, "CreationDate": None}, "png": {}}
    made = io.BytesIO()
    figure.savefig(made, format=form, dpi=150, metadata=undated[form])
    return made.getvalue()
