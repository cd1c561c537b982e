"""What the tests of commands and builds share."""

from __future__ import annotations

import pytest

from bnnflow.flow.graphs import finn_base

# Where finn-base judges builds; elsewhere it would say the same of other networks, at seconds a build.
JUDGED = ("test_build", "test_input_contract")


@pytest.fixture(autouse=True)
def judged_by_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some tests run finn-base in the builds that they start."""
    if request.module.__name__.rpartition(".")[2] not in JUDGED:
        monkeypatch.setattr(finn_base, "version", lambda: None)
