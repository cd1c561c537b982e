"""What no other test runs, the oracles, the proofs and the benchmarks, names what there is."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from .places import ROOT

# Those that run in environments of their own import other programs.
SCRIPTS = [
    path
    for folder in ("benchmarks", "tests/oracles", "tests/proofs")
    for path in sorted((ROOT / folder).glob("*.py"))
    if not path.name.startswith("in_")
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_script_loads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.parent.parent.name == "tests":
        importlib.import_module(f"tests.{path.parent.name}.{path.stem}")
        return
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
