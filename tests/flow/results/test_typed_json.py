"""Dataclasses to JSON and back, and the published schema of summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow.flow import results
from bnnflow.flow.results import summary
from bnnflow.flow.run.typed_json import BESIDE, OPTIONAL, Misfit, extended, from_json, json_schema, to_json
from tests.places import ROOT

SCHEMA = ROOT / "docs" / "summary.schema.json"
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@dataclass(frozen=True)
class Leaf:
    """A leaf.

    Attributes:
        size: in mm.
        kind: word or number.
    """

    size: float
    kind: int | str | None


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A tree."""

    name: Literal["oak", "elm"]
    place: tuple[int, float]
    leaves: list[Leaf]
    by: Mapping[str, Leaf]
    old: bool | None = field(default=None, metadata=OPTIONAL)
    more: Mapping[str, int] = field(default_factory=dict, metadata=BESIDE)


LEAVES = st.builds(Leaf, NUMBERS, st.none() | st.integers() | st.text())
TREES = st.builds(
    Tree,
    name=st.sampled_from(["oak", "elm"]),
    place=st.tuples(st.integers(), NUMBERS),
    leaves=st.lists(LEAVES, max_size=3),
    by=st.dictionaries(st.text(), LEAVES, max_size=3),
    old=st.none() | st.booleans(),
    more=st.dictionaries(st.text().filter(lambda key: key not in {f.name for f in fields(Tree)}), st.integers()),
)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_there_and_back(tree: Tree) -> None:
    text = json.dumps(to_json(tree))
    assert from_json(Tree, json.loads(text)) == tree
    assert ("old" in json.loads(text)) == (tree.old is not None)


GOOD = {"name": "oak", "place": [1, 2.5], "leaves": [{"size": 1, "kind": None}], "by": {}, "rings": 3}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "ash"}, "name is none of 'oak', 'elm'"),
        ({"place": [1]}, "place has 1 entries, not 2"),
        ({"place": {}}, "place is no array"),
        ({"leaves": [{"size": "1", "kind": 1}]}, "leaves[0].size is no number"),
        ({"leaves": [{"size": 1}]}, "leaves[0].kind is missing"),
        ({"by": {"a": {"size": 1, "kind": True}}}, "by.a.kind fits none of 2 forms"),
        ({"by": {"a": {"size": 1, "kind": 1, "b": 2}}}, "by.a.b is not known"),
        ({"old": 1}, "old is no boolean"),
        ({"rings": True}, "rings is no integer"),
        ({"leaves": None}, "leaves is no array"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change: dict[str, Any], why: str) -> None:
    assert from_json(Tree, GOOD).more == {"rings": 3}
    with pytest.raises(Misfit) as caught:
        from_json(Tree, GOOD | change)
    assert str(caught.value) == why
    with pytest.raises(Misfit, match="it is no object"):
        from_json(Tree, [])


def test_fields_of_one_class_go_into_another() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Named(Leaf):
        name: str

    assert extended(Named, Leaf(1.0, 2), name="a") == Named(size=1.0, kind=2, name="a")


def test_a_schema_says_what_is_there_and_what_it_means() -> None:
    made = json_schema(Tree)
    leaf = {
        "description": "A leaf.",
        "type": "object",
        "properties": {
            "size": {"type": "number", "description": "in mm."},
            "kind": {
                "anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}],
                "description": "word or number.",
            },
        },
        "required": ["size", "kind"],
        "additionalProperties": False,
    }
    assert made["$defs"]["Leaf"] == leaf
    tree = made["$defs"]["Tree"]
    assert tree["required"] == ["name", "place", "leaves", "by"]
    assert tree["additionalProperties"] == {"type": "integer"}
    assert tree["properties"]["name"] == {"enum": ["oak", "elm"]}


RESULTS = [
    kind
    for module in (import_module(f"{results.__name__}.{found.name}") for found in iter_modules(results.__path__))
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_every_result_is_frozen_and_every_figure_is_described(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    schema = json_schema(kind)["$defs"][kind.__name__]
    assert schema["description"]
    described = {name for name, one in schema["properties"].items() if "description" in one}
    assert described == set(schema["properties"])


def test_the_published_schema_of_summaries_is_the_one_of_the_classes(request: pytest.FixtureRequest) -> None:
    made = json.dumps(summary.summary_schema(), indent=1) + "\n"
    if request.config.getoption("--update-golden"):
        SCHEMA.write_text(made)
    assert SCHEMA.read_text() == made
