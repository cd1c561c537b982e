"""The program: commands, recipe, stages, runs and reports. The only folder that imports the others."""

from pathlib import Path

from ..sim.engine.kept import keep_in


def _cache() -> Path:
    from .run.places import cache_folder

    return cache_folder()


keep_in(_cache)
