"""The table of methods: every file of this folder that holds one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from .method import Method


def _found() -> dict[str, type[Method]]:
    found: dict[str, type[Method]] = {}
    package = __name__.rpartition(".")[0]
    for name in sorted(one.name for one in iter_modules(import_module(package).__path__)):
        for made in vars(import_module(f"{package}.{name}")).values():
            if isinstance(made, type) and issubclass(made, Method) and made.__module__.endswith(f".{name}"):
                found[name] = made
    del found["method"]
    # What is meant where nothing is said comes first.
    return {"filters": found.pop("filters"), **found}


METHODS: Mapping[str, type[Method]] = _found()


def heeding_loss() -> tuple[str, ...]:
    """The methods that `prune.max_loss` ends."""
    return tuple(name for name, method in METHODS.items() if method.heeds_loss)
