"""Which commands there are, and how they are listed: each is loaded when it is called, all when they are listed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from .declare import WORDS, typed

# Groups in the order of the work: a command's name, and the function that it is.
COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Build": {
        "new": "runs:new",
        "check": "runs:check",
        "build": "runs:build",
        "show": "runs:show",
        "compare": "runs:compare",
    },
    "Graphs": {
        "compile": "graphs:compile_command",
        "simulate": "graphs:simulate",
        "estimate": "graphs:estimate",
        "cycles": "graphs:cycles",
        "speed": "graphs:speed",
        "ops": "graphs:ops",
    },
    "Hardware": {
        "rtl": "hardware:rtl",
        "cosim": "hardware:cosim",
        "activity": "hardware:activity",
        "synth": "hardware:synth",
        "route": "hardware:route",
        "explore": "costs:explore",
        "calibrate": "costs:calibrate",
        "parts": "hardware:parts",
    },
    "Faults": {
        "faults": "faults:faults",
        "tolerance": "fault_plans:tolerance",
        "protect": "fault_plans:protect",
        "permute": "fault_plans:permute",
        "replicate": "fault_plans:replicate",
        "approximate": "approximation:approximate",
        "placement": "fault_analysis:placement",
        "criticality": "fault_analysis:criticality",
        "margins": "fault_analysis:margins",
        "attack": "fault_analysis:attack",
    },
    "Pruning": {
        "rank": "rank:rank",
        "sensitivity": "pruning:sensitivity",
        "prune": "pruning:prune",
        "study": "pruning:study",
    },
    "Networks and data": {
        "models": "models:models",
        "data": "models:data",
        "pack": "models:pack",
        "formats": "models:formats",
    },
    "Tools": {
        "schema": "tools:schema",
        "doctor": "tools:doctor",
    },
}
# What `examples` and `made_as` leave on a command's function.
_EXAMPLES, _CLASS = "examples", "command_class"
_PLACES = {name: place for group in COMMANDS.values() for name, place in group.items()}


def examples(*lines: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Command lines that the help of a command shows; each may end in "  # what it does"."""

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _EXAMPLES, lines)
        return function

    return put


def made_as(kind: type[Command]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The class of a command that makes options or help of its own."""

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _CLASS, kind)
        return function

    return put


def function_of(name: str) -> Callable[..., Any]:
    """The function that a command is, imported."""
    module, function = _PLACES[name].split(":")
    return cast(Callable[..., Any], getattr(import_module(f"{__package__}.{module}"), function))


def summary_of(name: str) -> str:
    """The first paragraph of a command's help."""
    return " ".join((inspect.getdoc(function_of(name)) or "").split("\n\n")[0].split())


@cache
def command_of(name: str) -> Any:
    """A command with its options, as typer runs it."""
    function = function_of(name)
    one = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    kind, lines = getattr(function, _CLASS, Command), getattr(function, _EXAMPLES, ())
    one.command(name, cls=kind, epilog="\n".join(lines))(typed(function))
    return typer.main.get_command(one)


class Command(TyperCommand):
    """A command whose examples are shown as they are written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was written, and read it."""
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        if self.epilog:
            with formatter.section("Examples"):
                _write_examples(formatter, self.epilog.splitlines())


def _write_examples(formatter: Any, lines: list[str]) -> None:
    for line in lines:
        command, _, note = line.partition("  # ")
        if note:
            formatter.write(f"{'':{formatter.current_indent}}# {note}\n")
        formatter.write(f"{'':{formatter.current_indent}}{command}\n")


class Commands(TyperGroup):
    """All commands; only the one that is called is loaded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Their names, for hints on misspelt ones.
        self.commands = cast(Any, dict.fromkeys(_PLACES))

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the work."""
        return list(_PLACES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of them; None where there is no such command."""
        return command_of(cmd_name) if cmd_name in _PLACES else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group with the first sentence of its commands, whole."""
        width = max(map(len, _PLACES))
        for group, names in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:{width}}", summary_of(name)) for name in names])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write how to go on."""
        with formatter.section("Examples"):
            _write_examples(formatter, list(_FIRST))


_FIRST = (
    "flow new model.yaml  # A recipe to start from, and the network that it describes.",
    "flow build model.yaml",
    "flow check net.onnx --input uint8  # A network of yours: does it compile, is it right, what does it cost?",
    "flow simulate net.onnx --data digits",
    "flow estimate net.onnx --fps 10000",
    "flow faults --help  # The options of a command, with examples.",
)


def all_examples() -> Iterator[tuple[str, str]]:
    """Every example with the name of the command whose help shows it; "" for the list of commands."""
    yield from (("", line) for line in _FIRST)
    for name in _PLACES:
        yield from ((name, line) for line in getattr(function_of(name), _EXAMPLES, ()))
