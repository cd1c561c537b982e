"""The help of every command, and the one declaration of options and recipe keys behind it."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.cli.commands import COMMANDS, Command, all_examples, command_of, function_of, summary_of
from bnnflow.flow.cli.declare import KEY, Key, Own, typed
from bnnflow.flow.cli.options import Json
from bnnflow.flow.recipe.bounds import Bounds, checked
from bnnflow.flow.recipe.fields import default, field_facts, keys, recipe_page
from tests.places import ROOT

Golden = Callable[[str, str], None]
NAMES = [name for group in COMMANDS.values() for name in group]
DAILY = {"build", "check", "compile", "simulate", "estimate", "faults", "prune", "rank", "compare"}


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert cli.run([*words, "--help"]) == 0
    return capsys.readouterr().out


def options(name: str) -> dict[str, Any]:
    return {one.name: one for one in command_of(name).params if one.name != "help"}


def declared(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function_of(name), eval_str=True).parameters)


def said_of(parameter: inspect.Parameter, kind: type) -> Any:
    found = get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else ()
    return next((one for one in found if isinstance(one, kind)), None)


def test_the_list_of_commands(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("help", shown(capsys))


@pytest.mark.parametrize("name", ["estimate", "faults"])
def test_the_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden(f"help_{name}", shown(capsys, name))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option has a help, and 80 columns show all of it, its choices and its names; sentences end."""
    text = shown(capsys, name)
    joined = re.sub(r"-\s+|\s+", lambda found: found[0].strip(), text)
    listed = re.sub(r"-\s+|\s+", lambda found: found[0].strip(), shown(capsys))
    summary = summary_of(name)
    assert re.sub(r"\s+", "", summary) in joined and re.sub(r"\s+", "", summary) in listed
    assert "..." not in summary and summary.endswith(".")
    for option in options(name).values():
        assert option.help and option.help.strip(), option.name
        assert re.sub(r"\s+", "", option.help) in joined, option.name
        assert all(word in joined for word in (*option.opts, option.metavar or ""))
    body = text.partition("Examples:")[0]
    assert max(map(len, body.splitlines())) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_choices_are_shown_and_others_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for key, parameter in declared(name).items():
        one, field = said_of(parameter, Own), said_of(parameter, Key)
        choices = one.words if one else field_facts(field.key).choices if field else ()
        if not choices:
            continue
        option = options(name)[key]
        assert option.metavar == f"[{'|'.join(map(str, choices))}]"
        assert parameter.default in (None, "", KEY, *choices)
        for word in choices:
            assert option.callback(None, option, word) == word
        with pytest.raises(Problem, match=max(option.opts, key=len)):
            option.callback(None, option, "zx81")


def test_daily_commands_have_examples() -> None:
    have = {name for name, _ in all_examples()}
    assert have >= DAILY


@pytest.mark.parametrize(("name", "line"), list(all_examples()))
def test_examples_parse(name: str, line: str) -> None:
    """Every example is a command with options that are there; it is not run."""
    flow, command, *words = shlex.split(line.partition("  # ")[0])
    assert flow == "flow" and (not name or command == name)
    if "--help" in words:
        return
    words = words[: words.index(">")] if ">" in words else words
    made = command_of(command).make_context(command, words)
    assert made.info_name == command


@pytest.mark.parametrize("name", NAMES)
def test_keys_take_everything_from_their_field(name: str) -> None:
    for key, parameter in declared(name).items():
        said = said_of(parameter, Key)
        if said is None:
            continue
        facts, option = field_facts(said.key), options(name)[key]
        kind = get_args(parameter.annotation)[0]
        assert _fits(kind, facts.kind, facts.many), f"{key} is no {facts.kind.__name__}"
        if str(facts.bounds):
            assert str(facts.bounds) in option.help
        if parameter.default is KEY:
            value = option.default
            assert _same(value, facts.default), said.key
            assert said.key in option.help or said.default
        else:
            assert parameter.default in (None, "")


def _fits(option: Any, kind: type, many: bool) -> bool:
    kinds = {one for one in (option, *get_args(option)) if one is not type(None)}
    flat = {inner for one in kinds for inner in (get_args(one) or (one,)) if inner is not type(None)}
    return kind in flat or (many and str in flat) or (kind is dict and str in flat)


def _same(option: Any, field: Any) -> bool:
    if isinstance(option, str) and isinstance(field, tuple):
        return tuple(float(part) for part in option.split(",") if part) == field
    if isinstance(option, (list, tuple)):
        return list(option) == (list(field) if isinstance(field, tuple) else [field])
    return bool(option == field)


def test_numbers_of_recipe_keys_stand_in_no_command() -> None:
    """An option of a command by the name of a key of `target` or `faults` is that key."""
    for name in NAMES:
        for key, parameter in declared(name).items():
            if key in ("part", "clock_mhz", "fps", "maps", "rates", "max_maps", "fifo_depth", "interval", "table"):
                assert said_of(parameter, Key) is not None, f"{name} --{key}"


def test_the_list_of_keys_is_the_code(request: pytest.FixtureRequest) -> None:
    """docs/recipe.md is made from the recipe's fields; --update-golden writes it."""
    path = ROOT / "docs" / "recipe.md"
    if request.config.getoption("--update-golden"):
        path.write_text(recipe_page())
    assert path.read_text() == recipe_page()
    assert all(field_facts(key).description for key in keys())


def test_defaults_are_those_of_a_recipe() -> None:
    from bnnflow.flow.recipe.schema import Recipe

    recipe = Recipe.model_validate({"data": {"name": "digits"}, "model": {"arch": "mlp"}})
    for key in keys():
        if key in ("data.name", "model.arch"):
            continue
        value: Any = recipe
        for part in key.split("."):
            value = getattr(value, part)
        assert value == default(key), key


@given(st.data())
def test_bounds_are_those_of_the_field(data: st.DataObject) -> None:
    """What an option accepts, the recipe accepts, and the other way round."""
    from pydantic import ValidationError

    from bnnflow.flow.recipe.schema import Recipe

    scalars = [key for key in keys() if str(field_facts(key).bounds) and not field_facts(key).many]
    key = data.draw(st.sampled_from(scalars))
    facts = field_facts(key)
    near = [
        one + step
        for one in (facts.bounds.least, facts.bounds.above, facts.bounds.most, facts.bounds.below)
        if one is not None
        for step in (-1, 0, 1)
    ]
    value = data.draw(st.sampled_from(near) | st.integers(-10, 10**8))
    value = int(value) if facts.kind is int else float(value)
    made: dict[str, Any] = {"data": {"name": "digits"}, "model": {"arch": "resnet"}}
    inner = made
    *sections, name = key.split(".")
    for part in sections:
        inner = inner.setdefault(part, {})
    inner[name] = value
    try:
        Recipe.model_validate(made)
        ours = True
    except ValidationError as error:
        kinds = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
        ours = not any(one["type"] in kinds and one["loc"] == (*sections, name) for one in error.errors())
    assert ours == facts.bounds.holds(value)
    if not ours:
        with pytest.raises(Problem):
            checked(key, value, (), facts.bounds)


def test_defaults_below_the_commands_are_the_same() -> None:
    from bnnflow.flow.graphs.fault_folding import Folding
    from bnnflow.flow.graphs.folding import FPS

    assert default("target.fps") == FPS
    assert (Folding().part, Folding().clock_mhz) == (default("target.part"), default("target.clock_mhz"))


def test_intervals_as_text() -> None:
    texts = [
        Bounds(),
        Bounds(1),
        Bounds(None, 0),
        Bounds(None, None, 7),
        Bounds(None, None, None, 7),
        Bounds(0, None, None, 1),
    ]
    assert list(map(str, texts)) == ["", "1 or more", "above 0", "at most 7", "below 7", "0 to below 1"]


def test_a_key_of_the_recipe_at_hand_has_no_default_of_its_own() -> None:
    def command(amount: Annotated[float | None, Key("prune.amount")] = None) -> None:
        """Prune."""

    made = inspect.signature(typed(command)).parameters["amount"]
    assert made.default is None
    assert "default: the recipe's prune.amount, or 0.25" in get_args(made.annotation)[1].help


def test_a_flag_in_place_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    def command(graph: Annotated[Path, Own("Graph.", argument=True)], listed: Flag = False, json: Json = False) -> None:
        """Never reached."""
        raise AssertionError

    one = typer.Typer(add_completion=False)
    one.command(cls=Command)(typed(command))
    for words, json in ((["--list"], False), (["--list", "--json"], True), (["--json", "--list"], True)):
        assert typer.main.get_command(one).main(words, standalone_mode=False) in (None, 0)
        assert capsys.readouterr().out == f"listed {json}\n"


Flag = Annotated[bool, Own("List.", ("--list",), instead=lambda json: print("listed", json))]


def test_misspelt_commands_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["estimat"]) == 2
    assert "estimate" in capsys.readouterr().err
