from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from bnnflow.flow.run import tools
from bnnflow.flow.run.doctor import examine, release


def found(monkeypatch: pytest.MonkeyPatch, **versions: str) -> dict[str, tuple[bool, str, str]]:
    real = importlib.metadata.version

    def version(package: str) -> str:
        if versions.get(package) == "":
            raise importlib.metadata.PackageNotFoundError(package)
        return versions.get(package) or real(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    return {finding.name: (finding.ok, finding.detail, finding.hint) for finding in examine()}


def test_this_environment_is_fit() -> None:
    assert [finding for finding in examine() if finding.needed and not finding.ok] == []


def test_the_onnx_pair_that_does_not_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = found(monkeypatch, onnx="1.23.0", onnxruntime="1.31.1")
    assert pair["onnx"] == (False, "1.23.0, needs onnx>=1.19,<1.23", "pip install 'onnx>=1.19,<1.23'")
    assert pair["onnx pair"][0] is False
    assert found(monkeypatch, onnx="1.22.0", onnxruntime="1.31.1")["onnx pair"][0] is True


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = found(monkeypatch, captum="", numpy="1.26.4", torch="2.13.0+cpu")
    assert looked["captum"] == (False, "not installed", "pip install 'captum>=0.8'")
    assert looked["numpy"] == (False, "1.26.4, needs numpy>=2.0", "pip install 'numpy>=2.0'")
    assert looked["torch"][0]


def test_versions_compare_as_numbers() -> None:
    assert release("2.13.0+cpu") == (2, 13, 0)
    assert release("1.23rc1") == (1, 23)
    assert release("2.10") > release("2.9")


def test_a_unit_is_built_and_its_values_are_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if tools.verilator_place() is None or tools.compiler_place() is None:
        pytest.skip("Verilator or a C++ compiler is not installed")
    assert found(monkeypatch)["simulation"][0]
    broken = tmp_path / "compiler"
    broken.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(tools, "compiler_place", lambda: broken)
    monkeypatch.setattr(tools, "cache_folder", lambda: tmp_path / "cache")
    fit, said, hint = found(monkeypatch)["simulation"]
    assert not fit and "the disk is full" in said and "C++17" in hint
    monkeypatch.setattr(tools, "compiler_place", lambda: None)
    assert "simulation" not in found(monkeypatch)
