"""What a command prints with --json."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bnnflow.flow.cli import app as cli


def answer(capsys: pytest.CaptureFixture[str], command: str, *arguments: object) -> dict[str, Any]:
    """The JSON of a command, which must succeed."""
    capsys.readouterr()
    status = cli.run([command, *map(str, arguments), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found
