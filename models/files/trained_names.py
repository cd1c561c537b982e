"""The trained networks that come with the package: their names, without what reading one takes."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".bnn"
FOLDER = Path(__file__).parents[1] / "trained"


def trained_files() -> dict[str, Path]:
    """The files, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob(f"*{SUFFIX}"))}
