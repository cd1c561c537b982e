"""Threads of torch: what is said, one for small networks, else what the process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from bnnflow.flow.recipe.objects import set_threads, step_products
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.training.ensemble import EnsembleSpec

TFC = NetworkSpec("mlp", (1, 28, 28), 10, (64, 64, 64))
VOTER = replace(TFC, scores="one")
LARGE = 10**9


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def threads(*said: int | None) -> int:
    set_threads(*said)
    return torch.get_num_threads()


def test_what_is_said_is_taken() -> None:
    assert threads(3) == threads(3, 1) == threads(3, LARGE) == 3


def test_small_steps_take_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads(None, step_products(TFC, 100)) == 1
    assert threads(None, step_products(TFC, 10_000)) == 4


def test_others_take_what_the_process_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number in the environment, else the processors that it may run on, which may be fewer than there are."""
    for said, number in (("2", 2), ("5,3", 5)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert threads(None) == threads(None, LARGE) == number
    for said in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert threads(None) == len(os.sched_getaffinity(0))


def test_products_of_a_step() -> None:
    assert step_products(TFC, 100) == step_products(EnsembleSpec(VOTER, (1, 1)), 100) == 100 * TFC.macs()
    assert step_products(object(), 100) is None
