"""Import of modules that a recipe names."""

from __future__ import annotations

import importlib
import sys
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
