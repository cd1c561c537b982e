from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console

from bnnflow.flow.show.report import change, headline, number, render
from bnnflow.flow.show.tables import tables
from bnnflow.flow.show.terminal import terminal

from .sample_summary import sample_summary


def without(*keys: str) -> dict[str, Any]:
    summary = sample_summary()
    for key in keys:
        if key == "pruned":
            del summary["networks"]["pruned"]
            for part in (summary["verify"], (summary.get("faults") or {}).get("networks", {})):
                part.pop("pruned", None)
        else:
            summary[key] = None
    return summary


def said(summary: dict[str, Any]) -> str:
    """The tables as commands print them."""
    console = terminal()
    with console.capture() as captured:
        for table in tables(summary):
            console.print(table)
    return captured.get()


def test_tables_show_no_markup_and_a_terminal_has_colours() -> None:
    assert "[/]" not in said(sample_summary()) and "[green" not in said(sample_summary())
    console = Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(tables(sample_summary())[0])
    assert re.search(r"\x1b\[32m\s*−51\.6", captured.get()), "better is green"


def test_change_has_a_sign_and_a_meaning() -> None:
    assert change(200, 100) == "−50.0\u00a0%"
    assert change(100, 150) == "+50.0\u00a0%"
    assert change(100, 100) == "±0.0\u00a0%"
    assert change(0, 3) == change(None, 3) == "–"
    assert number(-1234567.0) == "−1,234,567"


def test_headline_knows_better_from_worse() -> None:
    rows = {row.label: row for row in headline(sample_summary())}
    assert rows["test accuracy"].change == "−0.56\u00a0points"
    assert (rows["test accuracy"].better, rows["LUT"].better, rows["throughput"].better) == (-1, 1, 1)
    assert all(row.source for row in rows.values())


def test_the_page_is_one_file_without_links_or_scripts() -> None:
    page = render(sample_summary())
    assert page == render(sample_summary())
    assert not re.search(r"<script|<link|<img|@import|https?:|url\((?!#)", page)
    assert page.count("<svg") == 3
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(ids)
    for text in ("−51.6\u00a0%", "95.83", "xc7z020clg400-1", "3f" * 32, "estimated (FINN formulas)"):
        assert text in page


def with_costs() -> dict[str, Any]:
    """A pruning of which the second round was undone, as the stages `prune` and `cost` tell of it."""
    summary = sample_summary()
    keys = ("ops", "lut", "bram18", "cycles", "energy")
    cost = [dict(zip(keys, row, strict=True)) for row in ((83e3, 6120, 9, 960, 31.5), (61e3, 5210, 8, 900, 22.25))]
    pruning = summary["pruning"] | {"unpruned": cost[0], "held_out_accuracy": 0.97, "method": "filters"}
    pruning["relevance"] = {"method": "deeplift", "layers": ["conv1"]}
    for step, undone in zip(pruning["steps"], (False, True), strict=True):
        step |= {"cost": cost[1], "rolled_back": undone, "filters": {"conv1": [0, 3]}}
    return summary | {"pruning": pruning}


def test_a_pruning_is_drawn_with_what_it_costs() -> None:
    page = render(with_costs(), b"\x89PNG")
    assert page.count("<svg") == 5
    assert "data:image/png;base64,iVBORw" in page
    assert not re.search(r"<script|<link|@import|https?:|url\((?!#)", page)
    for text in (">undone<", ">pruned<", ">unpruned<", "31.50", "22.25", "deeplift finds relevance", "2 of"):
        assert text in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("undone", [[False, False], [True, True]])
def test_the_points_are_the_rounds(undone: list[bool]) -> None:
    from bnnflow.flow.show.pruning_plots import costs

    pruning = with_costs()["pruning"]
    for step, one in zip(pruning["steps"], undone, strict=True):
        step["rolled_back"] = one
    drawn = costs(pruning)
    assert (">round<" in drawn, ">pruned<" in drawn, ">undone<" in drawn) == (not undone[0], not undone[0], undone[0])
    assert costs({**pruning, "unpruned": None}) == costs(None) == ""


@pytest.mark.parametrize(
    ("method", "said"),
    [("masks", "masks trained"), ("ecqx", "assigned"), ("synapses", "ranked by latent"), ("planes", "bit planes")],
)
def test_other_methods_have_no_scores_and_no_check(method: str, said: str) -> None:
    summary = sample_summary()
    steps = [{"kept": {"conv1": 1200}, "accuracy_before": None, "accuracy_after": 0.9, "rolled_back": False}]
    summary["pruning"] = {"method": method, "criterion": "latent", "steps": steps, "stop": "", "unit": "synapses"}
    page = render(summary)
    assert said in page
    assert "conv1 1,200" in page
    assert "Self-check" not in page


def test_what_users_wrote_is_escaped() -> None:
    summary = sample_summary()
    summary["networks"]["base"]["layers"][0]["name"] = "<script>alert(1)</script> $x$ & y"
    assert "<script" not in render(summary)


@pytest.mark.parametrize("keys", [("pruned", "pruning"), ("faults",), ("speed",), ("pruned", "faults", "speed",
                         "pruning", "training", "stages", "sources", "versions")])  # fmt: skip
def test_parts_may_be_missing(keys: tuple[str, ...]) -> None:
    summary = without(*keys)
    page, text = render(summary), said(summary)
    assert ("bit error rate" in text) == ("bit error rate" in page) == ("faults" not in keys)
    assert ("<h2>Speed</h2>" in page) == ("speed" not in keys)
    assert ("layers, pruned" in text) == ('<th class="n">pruned</th>' in page) == ("pruned" not in keys)
    assert "None" not in page


def test_the_terminal_tables_fit_and_mark_the_bottleneck() -> None:
    text = said(sample_summary())
    assert max(map(len, text.splitlines())) <= 100
    marked = [line for line in text.splitlines() if "▶" in line and "conv2" in line]
    assert len(marked) == 2
    assert "◀" not in text
    assert re.search(r"LUT +6,120 +4,310 +−29.6\u00a0% +estimated", text)


def test_rates_of_zero_and_one_network_of_any_name() -> None:
    summary = sample_summary()
    summary["faults"]["rates"][0] = 0
    assert render(summary).count("<svg") == 3
    summary["faults"]["rates"] = [0] * 5
    assert render(summary).count("<svg") == 2
