"""What the commands of `cli_finer` show; it prints, as `screen` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from .terminal import terminal


def print_planes(found: Mapping[str, Any]) -> None:
    """Print what every input plane is worth, and what dropping some gave."""
    title = f"accuracy on {found['images']:,} held training images, {found['accuracy']:.2%} with all planes"
    table = Table("plane", "noise", "constant", "this and lower ones dropped", title=title, title_justify="left")
    for row in found["planes"]:
        dropped = "" if row["dropped"] is None else f"{row['dropped']:.2%}"
        noise = f"{row['noise']:.2%} +- {row['noise_spread']:.2%}"
        table.add_row(f"{row['plane']} (bit of {row['value']})", noise, f"{row['constant']:.2%}", dropped)
    terminal().print(table)
    print("noise: its bits drawn anew with their own share of +1; constant: its more frequent bit everywhere;")
    print("dropped: smaller first layer, batch norms re-estimated, no fine-tuning")
    if "steps" not in found:
        return
    for step in found["steps"]:
        print(f"{step['kept']['planes']} planes left: {_accuracies(step)}")
    (weights, fewer), (macs, less) = found["first_layer_weights"], found["macs"]
    print(
        f"kept {found['kept']['planes']} of {len(found['planes'])} planes: test accuracy "
        f"{found['test_accuracy']:.2%} to {found['reduced_test_accuracy']:.2%}, "
        f"weights of the first layer {weights:,} to {fewer:,}, operations {macs:,} to {less:,}"
    )
    print_files(found["files"])


def print_blocks(found: Mapping[str, Any]) -> None:
    """Print what every residual unit is worth, and what dropping some gave."""
    print(f"accuracy on {found['images']:,} held training images, {found['accuracy']:.2%} with all units")
    table = Table("unit", "operations", "weights", "accuracy without it")
    whole, weights = found["macs"][0], found["weights"]
    for row in found["blocks"]:
        shares = (f"{row['macs'] / whole:.1%}", f"{row['weights'] / weights:.1%}")
        table.add_row(row["name"], *shares, f"{row['without']:.2%}")
    terminal().print(table)
    print("operations, weights: share of the network's that goes with the unit; accuracy: batch norms re-estimated, no")
    print("fine-tuning. Units that must stay are not listed: the first of every later stage shrinks the map.")
    if "steps" not in found:
        return
    for step in found["steps"]:
        undone = "; undone" if step["rolled_back"] else ""
        print(f"{step['dropped']} dropped, {step['kept']['blocks']} units left: {_accuracies(step)}{undone}")
    macs, less = found["macs"]
    print(
        f"dropped {', '.join(found['dropped']) or 'none'}: test accuracy {found['test_accuracy']:.2%} to "
        f"{found['reduced_test_accuracy']:.2%}, operations {macs:,} to {less:,}"
    )
    print_files(found["files"])


def _accuracies(step: Mapping[str, Any]) -> str:
    return f"{step['accuracy_before']:.2%}, with fine-tuning {step['accuracy_after']:.2%}"


def print_files(files: list[str]) -> None:
    """Say where the smaller network lies."""
    if files:
        print(f"wrote {', '.join(files)}")


def print_synapses(found: Mapping[str, Any]) -> None:
    """Print the steps of removing synapses, and what is left of each layer."""
    print(f"accuracy on held training images {found['accuracy']:.2%}")
    for step in found["steps"]:
        share = sum(step["kept"].values()) / sum(found["whole"].values())
        print(f"{share:.1%} of synapses left: {_accuracies(step)}")
    print("kept: " + ", ".join(f"{name} {count:,}" for name, count in found["kept"].items()))
    print(f"test accuracy {found['test_accuracy']:.2%} to {found['reduced_test_accuracy']:.2%}")
    print_files(found["files"])
    if found["files"]:
        print(f"its hardware: flow estimate {found['files'][-1]} --unrolled")


def print_assigned(found: Mapping[str, Any]) -> None:
    """Print what the assigned weights of every layer code to."""
    title = f"weights of {found['bits']} bits, relevance {found['relevance']}"
    table = Table("layer", "weights", "zeros", "stored bits", "entropy bits", "lzma bytes", title=title)
    table.title_justify = "left"
    for name, row in found["after"].items():
        numbers = (f"{row['plain_bits']:,}", f"{row['entropy_bits']:,.0f}", f"{row['lzma_bytes']:,}")
        table.add_row(name, f"{row['weights']:,}", f"{row['zeros']:.0%}", *numbers)
    terminal().print(table)
    before, after = (sum(row["entropy_bits"] for row in found[key].values()) / 8 for key in ("before", "after"))
    floats = 4 * sum(row["weights"] for row in found["after"].values())
    packed = sum(row["lzma_bytes"] for row in found["after"].values())
    print(
        f"all weights: {floats:,} bytes in float32, {before:,.0f} by entropy before, {after:,.0f} now "
        f"({packed:,} packed by lzma, {floats / packed:.1f} times less than float32)"
    )
    print(f"test accuracy {found['test_accuracy']:.2%} to {found['reduced_test_accuracy']:.2%}")
    print_files(found["files"])


def print_masks(found: Mapping[str, Any]) -> None:
    """Print the widths that trained masks chose."""
    print(", ".join(f"{name} {found['whole'][name]} to {now}" for name, now in found["kept"].items()))
    before, after = found["macs"]
    print(f"operations {before:,} to {after:,} ({after / before:.1%})")
    print(
        f"accuracy on held training images {found['accuracy']:.2%}, cut {_accuracies(found['steps'][0])}; "
        f"test accuracy {found['test_accuracy']:.2%} to {found['reduced_test_accuracy']:.2%}"
    )
    print_files(found["files"])
