"""Where data sets, their caches and compiled kernels lie on this computer, as its system has it.

On Linux these are $XDG_DATA_HOME (~/.local/share) and $XDG_CACHE_HOME (~/.cache).
"""

from __future__ import annotations

import os
from pathlib import Path


def data_home() -> Path:
    """Where `flow data get` puts data sets: $BNNFLOW_DATA, or bnnflow in the user's folder for data."""
    given = os.environ.get("BNNFLOW_DATA")
    if given:
        return Path(given)
    from platformdirs import user_data_path

    return user_data_path("bnnflow", appauthor=False)


def data_places() -> tuple[Path, ...]:
    """The folders in which data sets are looked for where a recipe names none."""
    return tuple(place for place in (data_home(),) if place.is_dir())


def cache_folder() -> Path:
    """Where decoded data sets and compiled kernels are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("bnnflow", appauthor=False)
