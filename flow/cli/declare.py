"""How options are declared: as a key of the recipe, or with a range and choices of their own.

`Annotated[int, Key("faults.maps")] = KEY` is an option with the range, the choices, the default and the description of
that field; `Annotated[str, Own("Number format.", choices=("a", "b"))] = "a"` one that no recipe has. Both are checked
in the recipe's words, and the help shows range, choices and default of each. Nothing of the recipe is imported before a
command with such options is built. Options that several commands share are fields of a dataclass: a parameter of that
class stands for all of them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from ..recipe.bounds import Bounds, checked, shown

# The default of a parameter that is a key: that of its field. `None` in its place leaves the key to the recipe at hand.
KEY: Any = object()
_ANY = Bounds()
JSON = "--json"
WORDS = f"{__name__}.words"
"""In a context's `meta`: what stands behind the command's name. Flags that are looked at first ask it for others."""


@dataclass(frozen=True, slots=True)
class Own:
    """An option, or with `argument` an argument, that is no key of the recipe.

    Attributes:
        help: what it does: sentences.
        names: as on the command line; none: made of the parameter's name.
        choices: words that are allowed, or what gives them when the command is built; empty: any.
        least, above, most: range of numbers.
        metavar: in place of its kind in the help.
        default: says in words what no value means.
        argument: whether it stands without a name.
        instead: of a flag: what is done in place of the command's work, before other options are looked at; it is told
            whether --json is among them.
    """

    help: str
    names: tuple[str, ...] = ()
    choices: tuple[str, ...] | Callable[[], Iterable[str]] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    metavar: str = ""
    default: str = ""
    argument: bool = False
    instead: Callable[[bool], None] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The words that are allowed."""
        return tuple(self.choices() if callable(self.choices) else self.choices)


@dataclass(frozen=True, slots=True)
class Key:
    """An option that is a key of the recipe.

    Attributes:
        key: dotted path, such as "prune.amount".
        names: as on the command line; none: made of the parameter's name.
        help: in place of the field's description, where a command means something else by it.
        more: sentences behind the description.
        metavar: in place of its kind in the help.
        default: says in words what no value means here, where that is not the field's default; {field} stands for it.
    """

    key: str
    names: tuple[str, ...] = ()
    help: str = ""
    more: str = ""
    metavar: str = ""
    default: str = ""


def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a signature that typer reads: every `Key` and `Own` as its option, shared ones one by one."""
    signature = inspect.signature(function, eval_str=True)
    shared: dict[str, Any] = {
        one.name: one.annotation for one in signature.parameters.values() if is_dataclass(one.annotation)
    }
    apart = (_apart(shared[one.name]) if one.name in shared else [one] for one in signature.parameters.values())
    parameters = [_read(parameter) for group in apart for parameter in group]

    def command(**values: Any) -> Any:
        for name, kind in shared.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        return function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _apart(shared: Any) -> list[inspect.Parameter]:
    """Shared options as parameters."""
    hints, kind = get_type_hints(shared, include_extras=True), inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in fields(shared)
    ]


def _read(parameter: inspect.Parameter) -> inspect.Parameter:
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, *found = get_args(parameter.annotation)
    said = next((one for one in found if isinstance(one, (Own, Key))), None)
    if said is None:
        return parameter
    made, default = _own(said, parameter) if isinstance(said, Own) else _key(said, parameter)
    return parameter.replace(annotation=Annotated.__class_getitem__((kind, made)), default=default)


def _own(said: Own, parameter: inspect.Parameter) -> tuple[Any, Any]:
    bounds = Bounds(said.least, said.above, said.most)
    given = parameter.default
    default = said.default or _text(given)
    if said.instead is not None:
        once = _once(said.instead)
        return typer.Option(*said.names, help=said.help, is_eager=True, callback=once, show_default=False), given
    made = typer.Argument if said.argument else typer.Option
    return _option(made, parameter, said.names, said.help, said.words, bounds, said.metavar, default), given


def option_row(key: str) -> tuple[str, str]:
    """An option by the name of a key's last part, and its help, for options that a command makes of its own."""
    from ..recipe.fields import field_facts

    facts = field_facts(key)
    beside = "; ".join(filter(None, (str(facts.bounds), facts.default_text and f"default: {facts.default_text}")))
    words = f" [{'|'.join(map(str, facts.choices))}]" if facts.choices else ""
    said = _sentence(facts.description) + (f"  [{beside}]" if beside else "")
    return f"--{key.rpartition('.')[2].replace('_', '-')}{words}", said


def _once(work: Callable[[bool], None]) -> Callable[[typer.Context, bool], None]:
    def do(context: typer.Context, wanted: bool) -> None:
        if wanted:
            work(JSON in context.meta.get(WORDS, ()))
            raise typer.Exit

    return do


def _key(said: Key, parameter: inspect.Parameter) -> tuple[Any, Any]:
    from ..recipe.fields import field_facts

    facts = field_facts(said.key)
    listed, given = _is_list(parameter), parameter.default
    of_field = f"{facts.default_text} ({said.key})".lstrip()
    default = said.default.replace("{field}", of_field)
    if given is KEY:
        assert facts.default is not ..., f"{said.key} has no default"
        given = facts.default
        if listed:
            given = list(given) if facts.many else [given]
        elif facts.many:
            given = shown(given)
        default = default or of_field
    elif not default:
        default = f"the recipe's {said.key}" + (f", or {facts.default_text}" if facts.default_text else "")
    several = "May be given several times." if listed else ""
    described = said.help or _sentence(facts.description.removeprefix("sensitivity: "))
    help = " ".join(filter(None, (described, said.more, several)))
    choices = tuple(str(word) for word in facts.choices)
    return (
        _option(typer.Option, parameter, said.names, help, choices, facts.bounds, said.metavar, default),
        given,
    )


def _option(
    made: Callable[..., Any],
    parameter: inspect.Parameter,
    names: Sequence[str],
    help: str,
    choices: tuple[str, ...],
    bounds: Bounds,
    metavar: str,
    default: str,
) -> Any:
    beside = "; ".join(filter(None, (str(bounds), default and f"default: {default}")))
    more: dict[str, Any] = {}
    if choices or metavar:
        more["metavar"] = metavar or f"[{'|'.join(choices)}]"
    if choices or bounds != _ANY:
        name = max(names, key=len) if names else f"--{parameter.name.replace('_', '-')}"
        more["callback"] = _checker(name if made is typer.Option else parameter.name, choices, bounds)
    return made(*names, help=f"{help}  [{beside}]" if beside else help, show_default=False, **more)


def _checker(name: str, choices: tuple[str, ...], bounds: Bounds) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        return checked(name, value, choices, bounds)

    return check


def _is_list(parameter: inspect.Parameter) -> bool:
    kind, *_ = get_args(parameter.annotation)
    return get_origin(kind) is list or any(get_origin(one) is list for one in get_args(kind))


def _text(default: Any) -> str:
    """A parameter's default as its help shows it; what is nothing or off is not shown."""
    nothing = default is inspect.Parameter.empty or default is None or default is False or default in ("", [])
    return "" if nothing else shown(default)


def _sentence(text: str) -> str:
    """A description as a sentence; one that begins with a value keeps it as it is written."""
    begins_with_value = re.match(r"[\w|-]+(,|:| \()", text)
    return f"{text if begins_with_value else text[:1].upper() + text[1:]}." if text else ""
