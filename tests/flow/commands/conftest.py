"""A small network's file for the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnflow.models.data.load import load_dataset
from tests.sim.test_norms import CNN, exported, lively


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two convolutions and dense layers for digits, untrained, with norms of both signs; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("net")
    exported(lively(CNN, load_dataset("digits").train_images[:300]), folder)
    return folder / "network.onnx"
