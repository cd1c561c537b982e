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
    if folder and folder not in sys.path and Path(folder).is_dir():
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        hint = "give package.module:name, importable from the recipe's folder or installed"
        raise Problem(f"the module {name!r} cannot be imported: {error}", where, hint) from error
