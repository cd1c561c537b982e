"""The table of methods: of every file of this folder the class of its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from .method import Method


def _found() -> dict[str, type[Method]]:
    package = __name__.rpartition(".")[0]
    found: dict[str, type[Method]] = {}
    for name in sorted(one.name for one in iter_modules(import_module(package).__path__)):
        for made in vars(import_module(f"{package}.{name}")).values():
            if isinstance(made, type) and issubclass(made, Method) and made.__name__.lower() == name != "method":
                found[name] = made
    # What is meant where nothing is said comes first.
    return {"filters": found.pop("filters"), **found}


METHODS: Mapping[str, type[Method]] = _found()


def heeding_loss() -> tuple[str, ...]:
    """The methods that `prune.max_loss` ends."""
    return tuple(name for name, method in METHODS.items() if method.heeds_loss)
