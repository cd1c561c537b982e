"""Import of modules that a recipe names."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from bnnflow import Problem


def import_user_module(name: str, folder: str, where: str) -> Any:
    """Import a module of the user's, from `folder` first.

    Raises:
        Problem: it cannot be imported.
    """
    if folder and Path(folder).is_dir():
        if folder not in sys.path:
            sys.path.insert(0, folder)
        _forget_namesake(name.partition(".")[0], Path(folder))
    try:
        return importlib.import_module(name)
    except Exception as error:
        hint = "give package.module:name, importable from the recipe's folder or installed"
        raise Problem(f"the module {name!r} cannot be imported: {error}", key=where, hint=hint) from error


def _forget_namesake(name: str, folder: Path) -> None:
    """Drop a loaded module of the same name from another folder, where this folder has one."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    mine = [path for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.is_file()]
    if loaded and mine and Path(loaded).resolve() != mine[0].resolve():
        for key in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[key]
        sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def sources(names: Iterable[str]) -> dict[str, Path]:
    """Files of modules and of all that they import, also within functions; libraries and Python's own are left out.

    Args:
        names: of modules that are imported.

    Returns:
        files by the names of their modules, sorted.
    """
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _own_file(name)
        if path is not None:
            found[name] = path
            # A module's packages run before it.
            waiting += [name.rpartition(".")[0], *_imports(name, path)]
    return dict(sorted(found.items()))


def is_library(name: str) -> bool:
    """Whether a module is Python's, or of the libraries that networks are made of, wherever these are installed."""
    return name.partition(".")[0] in (*sys.stdlib_module_names, "bnnflow", "brevitas", "numpy", "torch")


def _own_file(name: str) -> Path | None:
    """The source of a module, which is not run; None where there is none, or it is a library's."""
    if not name or is_library(name):
        return None
    place = getattr(sys.modules.get(name), "__file__", None) or _on_path(name)
    if place is None:
        return None
    path = Path(place)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return path if path.suffix == ".py" and path.is_file() and not installed else None


def _on_path(name: str) -> str | None:
    """Where Python would find a module: `importlib.util.find_spec` would run the packages that it lies in."""
    folders: Sequence[str] | None = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:number]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations or []
    return spec.origin if spec is not None and spec.has_location else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Names that may be modules which a source file imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        # No Python that runs can import it.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            front = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*front, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
