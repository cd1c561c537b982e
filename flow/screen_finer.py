"""What the commands of `cli_finer` show; it prints, as `screen` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from .screen import _console


def print_planes(found: Mapping[str, Any]) -> None:
    """Print what every input plane is worth, and what dropping some gave."""
    title = f"accuracy on {found['images']:,} held training images, {found['accuracy']:.2%} with all planes"
    table = Table("plane", "noise", "constant", "this and lower ones dropped", title=title, title_justify="left")
    for row in found["planes"]:
        dropped = "" if row["dropped"] is None else f"{row['dropped']:.2%}"
        noise = f"{row['noise']:.2%} +- {row['noise_spread']:.2%}"
        table.add_row(f"{row['plane']} (bit of {row['value']})", noise, f"{row['constant']:.2%}", dropped)
    _console().print(table)
    print("noise: its bits drawn anew with their own share of +1; constant: its more frequent bit everywhere;")
    print("dropped: smaller first layer, batch norms re-estimated, no fine-tuning")
    if "steps" not in found:
        return
    for step in found["steps"]:
        print(f"{step['planes']} planes left: {step['before']:.2%}, with fine-tuning {step['after']:.2%}")
    (weights, fewer), (macs, less) = found["first_layer_weights"], found["macs"]
    print(
        f"kept {found['planes_left']} of {len(found['planes'])} planes: test accuracy {found['test_accuracy']:.2%} to "
        f"{found['reduced_test_accuracy']:.2%}, weights of the first layer {weights:,} to {fewer:,}, operations "
        f"{macs:,} to {less:,}"
    )
    print_files(found["files"])


def print_files(files: list[str]) -> None:
    """Say where the smaller network lies."""
    if files:
        print(f"wrote {', '.join(files)}")
