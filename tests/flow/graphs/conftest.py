"""Tools that several tests of hardware need."""

from __future__ import annotations

import pytest

from bnnflow.build.cosim.verilator import Tools
from bnnflow.flow.run.tools import compiler_place, simulation_tools, verilator_place


@pytest.fixture(scope="module")
def tools() -> Tools:
    if verilator_place() is None or compiler_place() is None:
        pytest.skip("Verilator or a C++ compiler is not installed")
    return simulation_tools()
