"""What `flow prune NET.onnx` shows; it prints, as `terminal` does."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from ..results.pruned_file import PrunedFile, ReducedFile
from .graphs import print_input
from .pruning import captum_text
from .terminal import terminal


def print_pruned_file(found: PrunedFile) -> None:
    """Print what is left of a file's network, and what it answers."""
    print_input(found.input)
    table = Table("group", "channels", "left")
    for name, width in found.widths.items():
        table.add_row(escape(name), f"{width:,}", f"{found.kept[name]:,}")
    terminal().print(table)
    what = {"network": "batch norms", "integer": "thresholds"}[found.level]
    if found.norms_added:
        what += f", {found.norms_added} of them new where a quantizer had none,"
    checked = "" if found.check is None else f" (self-check {found.check:.2g}{captum_text(found.captum)})"
    before, after = found.before, found.after
    lines = [
        f"{found.criterion} on {found.images:,} images{checked}, {what} re-estimated on {found.calibration:,}: "
        f"{found.seconds:.1f} s{'' if found.tuning else ', no training'}",
        f"operations {found.operations:,} to {found.operations_after:,} "
        f"({found.operations_after / found.operations - 1:+.1%}), weights {found.weights:,} to {found.weights_after:,}",
        f"the whole network without these channels against the cut one: {found.different:,} of {found.compared:,} "
        "integers differ",
    ]
    if found.tuning is not None:
        tuning = found.tuning
        lines.append(
            f"trained for {tuning.epochs} epoch{'s' * (tuning.epochs > 1)} of {tuning.images:,} images"
            f"{'' if tuning.labels == 'given' else ' by the answers of the whole network'} in {tuning.seconds:.0f} s: "
            f"loss {tuning.loss[0]:.3g} to {tuning.loss[-1]:.3g}, of these images {tuning.accuracy[0]:.2%} to "
            f"{tuning.accuracy[-1]:.2%} right"
        )
        ties = ", all of them at float ties" if tuning.float_ties else ""
        lines.append(
            f"the trained module against its graph on integers: {tuning.float_ties:,} of {tuning.compared:,} answers "
            f"differ{ties}"
        )
        untrained = tuning.untrained
        right = "" if untrained.accuracy is None else f"accuracy {untrained.accuracy:.2%}, "
        lines.append(f"before training: {right}same answer as the whole network {untrained.same:.2%}")
    if before.accuracy is not None and after.accuracy is not None:
        lines.append(f"accuracy {before.accuracy:.2%} to {after.accuracy:.2%} of {found.judged:,} images")
    lines.append(f"same answer as before: {after.same:.2%} of {found.judged:,} images")
    lines.append(f"wrote {found.output}; `flow estimate` says what either costs in hardware")
    for line in lines:
        terminal().print(line, highlight=False, markup=False, soft_wrap=True)


def print_reduced_file(found: ReducedFile) -> None:
    """Print the steps of a method, what is left of a file's network, and what it answers."""
    print_input(found.input)
    table = Table({"synapses": "layer", "residual units": "unit"}.get(found.counts, "group"), found.counts, "left")
    for name, whole in found.whole.items():
        table.add_row(escape(name), f"{whole:,}", f"{found.kept[name]:,}")
    terminal().print(table)
    steps = Table("step", "dropped", "operations", "right after removal", "in the end", title_justify="left")
    for number, step in enumerate(found.steps, 1):
        undone = ", undone" if step.undone else ""
        what = step.dropped or f"{sum(found.whole.values()) - sum(step.kept.values()):,} {found.counts}"
        row = (
            str(number),
            f"{escape(what)}{undone}",
            f"{step.operations:,}",
            f"{step.before:.2%}",
            f"{step.after:.2%}",
        )
        steps.add_row(*row)
    terminal().print(steps)
    by = f" by {found.criterion}" if found.criterion else ""
    whose = "labels" if found.decided_by == "labels" else "the answers of the whole network"
    measured = {"network": "batch norms", "integer": "thresholds"}[found.level]
    trained = f"trained for {found.epochs} epochs a step on {found.trained:,} others" if found.epochs else "no training"
    if found.method == "masks":
        turns = " a group in turn" if found.settings["order"] == "layers" else ""
        masks = (
            f"masks and weights trained for {found.settings['mask_epochs']} epochs{turns} on {found.trained:,} others"
        )
        trained = f"{masks}, then {found.epochs} without masks" if found.epochs else masks
    before, after = found.before, found.after
    lines = [
        f"{found.method}{by} on {found.images:,} images, right by {whose}; {measured} re-estimated on "
        f"{found.calibration:,}, {trained}: {found.seconds:.1f} s",
        *([f"ended: {found.stop}"] if found.stop else []),
        f"operations {found.operations:,} to {found.operations_after:,} "
        f"({found.operations_after / found.operations - 1:+.1%}), weights {found.weights:,} to {found.weights_after:,} "
        "(weights of 0 and their operations left out)",
        f"compiled to dataflow units: {found.compared:,} values of its levels compared, all equal",
    ]
    if found.cut_compared:
        lines.append(
            f"the network with what went at 0 against the smaller one: 0 of {found.cut_compared:,} integers differ"
        )
    if found.counts == "synapses":
        lines.append(
            "weights of -1, 0 and +1 take 2 bits in folded hardware, twice as many as before; `flow estimate "
            "--unrolled` says what unrolled layers save"
        )
    if before.accuracy is not None and after.accuracy is not None:
        lines.append(f"accuracy {before.accuracy:.2%} to {after.accuracy:.2%} of {found.judged:,} images")
    lines.append(f"same answer as before: {after.same:.2%} of {found.judged:,} images")
    lines.append(f"wrote {found.output}")
    for line in lines:
        terminal().print(line, highlight=False, markup=False, soft_wrap=True)
