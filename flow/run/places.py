"""Where data sets and their caches lie on this computer."""

from __future__ import annotations

import os
from pathlib import Path


def _home(variable: str, usual: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else Path.home() / usual


def data_home() -> Path:
    """Where `flow data get` puts data sets: $BNNFLOW_DATA, or bnnflow in the user's folder for data."""
    given = os.environ.get("BNNFLOW_DATA")
    return Path(given) if given else _home("XDG_DATA_HOME", ".local/share") / "bnnflow"


def data_places() -> tuple[Path, ...]:
    """The folders in which data sets are looked for where a recipe names none."""
    return tuple(place for place in (data_home(),) if place.is_dir())


def cache_folder() -> Path:
    """Where decoded data sets are kept."""
    return _home("XDG_CACHE_HOME", ".cache") / "bnnflow"
