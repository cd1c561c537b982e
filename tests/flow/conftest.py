"""What the tests of commands and builds share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bnnflow.flow.graphs import finn_base
from bnnflow.flow.show import plots, pruning_plots
from bnnflow.sim import speed

# Where finn-base judges builds; elsewhere it would say the same of other networks, at seconds a build.
JUDGED = ("test_build", "test_input_contract")
# Where the plots of builds are drawn, beside those of module fixtures; elsewhere matplotlib prepares them and no more.
DRAWN = ("test_methods", "test_pruning_commands", "test_report")
# Where programs are timed as users have it; elsewhere nothing asks how good their medians are.
TIMED = ("test_speed",)


def _module(request: pytest.FixtureRequest) -> str:
    name: str = request.module.__name__
    return name.rpartition(".")[2]


@pytest.fixture(autouse=True)
def judged_by_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some tests run finn-base in the builds that they start."""
    if _module(request) not in JUDGED:
        monkeypatch.setattr(finn_base, "version", lambda: None)


@pytest.fixture(autouse=True)
def drawn_by_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some tests have their plots laid out and written, a quarter of a small build's time."""
    if _module(request) not in DRAWN:
        for module in (plots, pruning_plots):
            monkeypatch.setattr(module, "as_svg", lambda figure, prefix: f'<svg id="{prefix}"></svg>')


@pytest.fixture(autouse=True, scope="module")
def timed_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """A program runs twice for its median, not up to a hundred times."""
    if _module(request) in TIMED:
        yield
        return
    median = speed._median_seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            speed,
            "_median_seconds",
            lambda run, images, repeats, seconds: median(run, images, min(repeats, 2), seconds),
        )
        yield
