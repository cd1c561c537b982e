"""Fixtures and flags that all tests share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from . import golden_tables

# Texts as on no terminal, 100 columns wide, whatever the caller's terminal or CI service asks for; of one process.
for _name in ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)
for _name in ("COLUMNS", "LINES", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
    os.environ.pop(_name, None)

# The same examples on every machine and run.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the tables beside test modules")
    parser.addoption("--target", default="host", help="compile the simulator's kernels as for a lesser processor: avx2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest of all first: begun last, one process would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_packaging.py")


@pytest.fixture(autouse=True, scope="session")
def kernels_for(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--target avx2` (any of `kernels.llvm.TARGETS`), "host" means that processor in all tests."""
    target = request.config.getoption("--target")
    if target == "host":
        yield
        return
    from bnnflow.sim.engine.kernels import llvm

    made = llvm.native
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llvm, "native", lambda name, folder=None: made(target if name == "host" else name, folder))
        yield


@pytest.fixture(autouse=True, scope="session")
def kept_kernels() -> None:
    """Every process of a test run would compile them."""
    from bnnflow.flow.run.places import cache_folder
    from bnnflow.sim.engine.kept import keep_in

    keep_in(cache_folder)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small products are slower on two threads, and much slower on a busy machine."""
    import numpy as np  # noqa: F401  (its BLAS must be loaded to be limited)

    with threadpool_limits(1):
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], None]:
    """`golden(name, text)` compares text with the one of that name in the test module's table; see `golden_tables`.

    The test's temporary folder is written as TMP, so that texts are the same everywhere.
    """
    table = golden_tables.table_of(request.path)

    def compare(name: str, text: str) -> None:
        found = re.sub(re.escape(str(tmp_path)) + r"\b", "TMP", text).rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            golden_tables.write(table, name, found)
        elif different := golden_tables.difference(table, name, found):
            pytest.fail(different)

    return compare
