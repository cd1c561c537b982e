"""Options of `flow prune` made of the settings of every method; a method's file alone says them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bnnflow import Problem

from .commands import Command
from .declare import option_row
from .options import option

_Text = Annotated[str | None, typer.Option(show_default=False)]
_META = "bnnflow.flow.cli.method_options"
SHARED = ("criterion", "steps", "amount", "allocation")
"""Options that the command itself declares; with a method that has such a setting they are that one."""


class PruneCommand(Command):
    """A command that has the settings of all methods as options, made when it is asked for and not before."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Parse, with these options."""
        known = {one.name for one in self.params}
        self.params = [*self.params, *(one for one in _options() if one.name not in known)]
        return super().make_context(*arguments, **named)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The command's own options, then those of each method."""
        every, self.params = self.params, [one for one in self.params if one.expose_value or one.name == "help"]
        super().format_options(ctx, formatter)
        self.params = every
        from ..recipe.methods.all import METHODS

        for name, method in METHODS.items():
            if method.in_prune:
                continue
            about = " ".join((method.__doc__ or "").split()).removeprefix(f"Method {name}: ")
            with formatter.section(f"With --method {name}"):
                formatter.write_text(f"{about[:1].upper()}{about[1:]}")
                rows = [option_row(f"prune.{name}.{key}") for key in method.model_fields]
                formatter.write_dl(rows)


def _options() -> list[Any]:
    """One option of text a setting that no option of the command stands for; the recipe says what texts are allowed."""
    from inspect import Parameter, Signature

    from ..recipe.methods.all import METHODS

    keys = {key: name for name, one in METHODS.items() if not one.in_prune for key in one.model_fields}
    names = keys.keys() - {*SHARED}

    def settings(**_: Any) -> None:
        """Takes them; only the options that typer makes of it are used."""

    taken = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_Text) for name in sorted(names)]
    settings.__signature__ = Signature(taken)  # type: ignore[attr-defined]
    settings.__annotations__ = dict.fromkeys(names, _Text)
    app = typer.Typer(add_completion=False)
    app.command()(settings)
    made = [one for one in typer.main.get_command(app).params if one.name in names]
    for one in made:
        one.expose_value, one.callback = False, _note
        _, told = option_row(f"prune.{keys[str(one.name)]}.{one.name}")
        one.help = told.partition("  [")[0]  # type: ignore[attr-defined]
    return made


def _note(context: Any, parameter: Any, value: str | None) -> str | None:
    if value is not None:
        context.meta.setdefault(_META, {})[parameter.name] = value
    return value


def learns(method: str) -> bool:
    """Whether a method trains by itself, whatever is fine-tuned."""
    from ..recipe.methods.all import METHODS

    return method in METHODS and METHODS[method].learns


def refuse_settings(context: typer.Context, why: str) -> None:
    """Refuse options that are settings of methods.

    Raises:
        Problem: one was given.
    """
    for name in context.meta.get(_META, {}):
        word = option(context, name)
        raise Problem(f"{word} changes nothing {why}", word, "leave it out")


def method_settings(context: typer.Context, method: str, shared: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of methods that are given as options, as a recipe would read them, by their names.

    Args:
        context: of a `PruneCommand`.
        method: that is asked for.
        shared: values of `SHARED`, None or "" where not given.
    """
    from ..recipe.methods.all import METHODS
    from ..recipe.positions import parse_value

    fields = METHODS[method].model_fields if method in METHODS else {}
    lists = {name for name, field in fields.items() if isinstance(field.default, tuple)}
    made = {name: value for name, value in shared.items() if value not in ("", None)}
    for name, text in context.meta.get(_META, {}).items():
        made[name] = tuple(parse_value(f"[{text}]")) if name in lists else parse_value(text)
    return made


def method_changes(
    context: typer.Context, source: Path, method: str, shared: Mapping[str, Any], overrides: list[str]
) -> list[str]:
    """The overrides of a recipe that the options of a method are.

    Args:
        context: of a `PruneCommand`.
        source: run folder or recipe, which names the method where no option does.
        method: as the option says it; "" where it does not.
        shared: values of `SHARED`, None where not given.
        overrides: of the command line.

    Raises:
        Problem: an option that is not of this method.
    """
    said = {name: value for name, value in shared.items() if value not in ("", None)} | context.meta.get(_META, {})
    changes = [f"prune.method={method}"] if method else []
    if not said:
        return changes
    from ..recipe.methods.all import METHODS

    name = method or _method_of(source, overrides)
    if name not in METHODS:  # What the recipe says of such a name is better.
        return changes
    chosen = METHODS[name]
    for key, value in said.items():
        if key not in chosen.model_fields:
            word = option(context, key)
            others = " and ".join(one for one, made in METHODS.items() if key in made.model_fields)
            hint = f"it is of {others}: give --method, or leave it out"
            raise Problem(f"{word} is no setting of method {name}", word, hint)
        plain = isinstance(value, str) and isinstance(chosen.model_fields[key].default, tuple)
        changes.append(f"{chosen.key(key)}={f'[{value}]' if plain else value}")
    return changes


def _method_of(source: Path, overrides: list[str]) -> str:
    from ..recipe.file import load_recipe

    said = [text.partition("=")[2].strip() for text in overrides if text.partition("=")[0].strip() == "prune.method"]
    if said:
        return said[-1]
    path = source / "model.yaml" if source.is_dir() else source
    return load_recipe(path).prune.method if path.is_file() else "filters"
