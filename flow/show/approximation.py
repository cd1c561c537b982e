"""What `flow approximate` shows; it prints, as `screen` does."""

from __future__ import annotations

from rich.table import Table

from ..results.approximation import ApproximateSums, ApproximationResult
from .graphs import print_input
from .report import plural
from .terminal import terminal


def print_approximation(found: ApproximationResult) -> None:
    """Print accuracy by model, what its layers are made of, and which stay exact."""
    print_input(found.input)
    if found.sums:
        title = f"accuracy {found.accuracy:.2%} with exact sums, on {plural(found.images, 'image')}"
        columns = ("sums", "accuracy", "of the draws", "classes changed", "fewer levels", "smaller range")
        table = Table(*columns, title=title, title_justify="left")
        for row in found.sums:
            spread = f"{row.low:.2%} to {row.high:.2%}" if row.draws > 1 else ""
            ratios = ("" if one is None else f"{one:.1f} times" for one in (row.level_ratio, row.range_ratio))
            table.add_row(_model(row), f"{row.accuracy:.2%}", spread, f"{row.changed:,.1f}", *ratios)
        terminal().print(table)
        if found.refit:
            made = f"refitted to {plural(found.calibration, 'training image')}"
            print(f"thresholds behind approximate sums are {made}; local thresholds are made of the graph's own")
    for row in found.sums:
        for layer in row.layers:
            tail = f", the last of {layer.tail}" if layer.tail else ""
            said = f"{plural(layer.segments, 'segment')}{tail}" if row.size else "each product"
            levels = f", levels {layer.levels[0]} to {layer.levels[1]}" if layer.levels else ""
            readings = f", {plural(layer.readings, 'segment')} an image" if row.size else ""
            print(f"{_model(row)}: {layer.layer}: sums of {layer.fan_in:,}, {said}{levels}{readings}")
        for name, why in row.exact.items():
            print(f"{_model(row)}: {name} is exact: {why}")
    if found.histogram is not None:
        print(f"popcounts of {plural(found.calibration, 'training image')}: {found.histogram}")


def _model(row: ApproximateSums) -> str:
    kept = "" if row.kept is None else f", {plural(row.kept, 'level')}"
    balanced = ", balanced" if row.balanced else ""
    return f"{row.model} {row.size}{kept}{balanced}" if row.size else row.model
