"""Arguments of the Python API: each is what its annotation says, or refused, before any work.

`@checked_arguments` reads the annotations of a function: `Annotated[int, Bounds(least=1)]` is a number within bounds,
of Python or of numpy; `Sequence[float]` any iterable of numbers but text, handed on as a list; `np.ndarray | PathLike`
an array, what numpy makes one of, or the path of its file. `Void` and `Either` refuse arguments that would change
nothing beside the others, as the commands refuse such options.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin

from bnnflow import Problem

from ..recipe.bounds import Bounds, checked

if TYPE_CHECKING:
    import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

PathLike = str | os.PathLike[str]
Changes = Mapping[str, Any] | Sequence[str]
Natural = Annotated[int, Bounds(least=0)]
Count = Annotated[int, Bounds(least=1)]
Jobs = Annotated[int, Bounds(least=1, most=4096)]
Segment = Annotated[int, Bounds(least=1, most=65_536)]
Bit = Annotated[int, Bounds(least=0, most=1)]
Share = Annotated[float, Bounds(least=0, most=1)]
Rate = Annotated[float, Bounds(above=0, most=1)]
Positive = Annotated[float, Bounds(above=0)]


@dataclass(frozen=True, slots=True)
class Void:
    """Arguments that change nothing unless others are given.

    Attributes:
        names: of the arguments.
        unless: others, of which one suffices, or what says of all values by name that the arguments have an effect.
        why: goes on "draws changes nothing ..."; none: "without" the others.
    """

    names: tuple[str, ...]
    unless: tuple[str, ...] | Callable[[Mapping[str, Any]], bool]
    why: str = ""

    def check(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Refuse those of `names` that are given in vain; `values` has the defaults of all others, too.

        Raises:
            Problem: names them.
        """
        needed = self.unless
        void = [name for name in self.names if name in given]
        if void and not (needed(values) if callable(needed) else any(name in given for name in needed)):
            why = self.why or f"without {' or '.join(needed if not callable(needed) else ())}"
            what = f"{', '.join(void)} {'changes' if len(void) == 1 else 'change'} nothing {why}"
            raise Problem(what, key=void[0], hint=f"leave {'it' if len(void) == 1 else 'them'} out")


@dataclass(frozen=True, slots=True)
class Either:
    """Arguments of which each says what the others do.

    Attributes:
        names: of the arguments.
    """

    names: tuple[str, ...]

    def check(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Refuse more than one of them.

        Raises:
            Problem: names those that are given.
        """
        found = [name for name in self.names if name in given]
        if len(found) > 1:
            raise Problem(f"{' and '.join(found)} contradict each other", key=found[0], hint="give one of them")


# Of a data set's files; of foldings, as faults take them.
DATA = Void(("data_dir",), ("data",))
FOLDED = (Either(("fps", "folding", "pe_simd")), Void(("part", "clock_mhz"), ("fps",)))


def checked_arguments(*rules: Void | Either) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that is called with arguments as its annotations say, none of them in vain by `rules`.

    Raises:
        Problem: of the call: an argument is of another kind, out of range, or changes nothing.
    """

    def of(function: Callable[P, R]) -> Callable[P, R]:
        declared = signature(function)
        kinds: dict[str, Any] = {}

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not kinds:
                kinds.update(kinds_of(function, declared.parameters))
            bound = declared.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                if name not in kinds:
                    continue
                if declared.parameters[name].kind is Parameter.VAR_POSITIONAL:
                    bound.arguments[name] = tuple(of_kind(name, one, kinds[name]) for one in value)
                else:
                    bound.arguments[name] = of_kind(name, value, kinds[name])
            given = {
                name: value
                for name, value in bound.arguments.items()
                if _is_other(value, declared.parameters[name].default)
            }
            values = {name: one.default for name, one in declared.parameters.items()} | bound.arguments
            for rule in rules:
                rule.check(values, given)
            return function(*bound.args, **bound.kwargs)

        return call

    return of


def _is_other(value: Any, default: Any) -> bool:
    """Whether a value is another one than its default, and not nothing; arrays are."""
    if value is None or (isinstance(value, (str, Sequence)) and not value):
        return False
    if isinstance(default, tuple):
        return list(value) != list(default)
    return not isinstance(default, (str, int, float)) or bool(value != default)


class _Numpy:
    """What annotations name of numpy, which modules of the API know by its name alone."""

    class ndarray:
        """Stands for numpy's."""


def kinds_of(function: Callable[..., Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Annotations by name; numpy, which takes its time, is not loaded for them."""
    names = {**function.__globals__, "np": _Numpy}
    return {
        name: eval(one.annotation, names)
        for name, one in parameters.items()
        if isinstance(one.annotation, str) and one.kind is not Parameter.VAR_KEYWORD
    }


def of_kind(name: str, value: Any, kind: Any) -> Any:
    """A value as an annotation says.

    Raises:
        Problem: it is of another kind, or out of range.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _of_one(name, value, inner)
    if origin is Annotated:
        plain = of_kind(name, value, inner[0])
        return checked(name, plain, (), inner[1], inner[0] is int)
    if kind in (int, float):
        return _number(name, value, kind)
    if origin is Sequence:
        return [of_kind(name, one, inner[0]) for one in _listed(name, value)]
    if origin is tuple:
        listed = _listed(name, value)
        if len(listed) != len(inner):
            raise Problem(f"{name}: {len(listed)} values are given", key=name, hint=f"give {len(inner)}")
        return tuple(of_kind(name, one, each) for one, each in zip(listed, inner, strict=True))
    if kind is _Numpy.ndarray:
        return _array(name, value)
    return _of_class(name, value, origin or kind)


def _of_one(name: str, value: Any, kinds: Sequence[Any]) -> Any:
    """A value of one of several kinds."""
    if value is None and NoneType in kinds:
        return None
    path = any(get_origin(one) is os.PathLike for one in kinds)
    problems: list[Problem] = []
    for kind in kinds:
        # Text that is no path stands for itself.
        if kind is NoneType or (kind is str and path):
            continue
        try:
            return of_kind(name, value, kind)
        except Problem as problem:
            problems.append(problem)
    raise max(problems, key=lambda problem: bool(problem.hint))


def _of_class(name: str, value: Any, kind: Any) -> Any:
    stands_for: dict[Any, tuple[Any, str]] = {
        bool: (bool, "true or false"),
        str: (str, "text"),
        os.PathLike: ((str, os.PathLike), "a path"),
        Mapping: (Mapping, "a mapping"),
        Callable: (Callable, "a function"),
    }
    wanted, words = stands_for[kind]
    if isinstance(value, wanted):
        return value
    if kind is bool and isinstance(value, _numpy_bool()):
        return bool(value)
    raise Problem(f"{name}: {_short(value)} is not {words}", key=name)


def _numpy_bool() -> type:
    import numpy as np

    return np.bool_


def _number(name: str, value: Any, kind: type) -> Any:
    wanted, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    plain = type(value) in (int, float)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise Problem(f"{name}: {_short(value)} is not {words}", key=name)
    return value if plain else kind(value)


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise Problem(f"{name}: {_short(value)} is not a list", key=name, hint=f"give [{_short(value)}]")
    return list(value)


def _array(name: str, value: Any) -> np.ndarray:
    import numpy as np

    try:
        made = value if isinstance(value, np.ndarray) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Problem(f"{name}: {_short(value)} makes no array", key=name, hint=str(error)) from error
    if made.ndim < 1 or made.dtype == object:
        hint = "give a numpy array, or the path of an .npy file"
        raise Problem(f"{name}: {_short(value)} is no array of numbers", key=name, hint=hint)
    return made


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
