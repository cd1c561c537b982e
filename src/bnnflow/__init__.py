"""bnnflow: from a trained binary neural network to verified FPGA dataflow hardware.

`import bnnflow as bf` offers what `__all__` names (docs/api.md); all but errors is imported when it is first used.
The package's parts live in the folders `flow`, `models`, `transforms`, `build` and `sim`; this module itself holds only
what all of them share.
"""

from __future__ import annotations

import sys
import unicodedata
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .flow.api.approximation import approximate as approximate
    from .flow.api.faults import attack as attack
    from .flow.api.faults import criticality as criticality
    from .flow.api.faults import faults as faults
    from .flow.api.faults import margins as margins
    from .flow.api.faults import replay as replay
    from .flow.api.graphs import LoadedGraph as LoadedGraph
    from .flow.api.graphs import check as check
    from .flow.api.graphs import compile_file as compile_file
    from .flow.api.graphs import load as load
    from .flow.api.hardware import route as route
    from .flow.api.hardware import synth as synth
    from .flow.api.parts import part as part
    from .flow.api.parts import parts as parts
    from .flow.api.plans import permute as permute
    from .flow.api.plans import protect as protect
    from .flow.api.plans import replicate as replicate
    from .flow.api.plans import tolerance as tolerance
    from .flow.api.runs import build as build
    from .flow.api.runs import compare as compare
    from .flow.api.runs import compare_hardware as compare_hardware
    from .flow.api.runs import prune as prune
    from .flow.api.runs import rank as rank

__version__ = "0.1.0"
__all__ = [
    *("CHECK_FAILED", "TOOL_MISSING", "USER_INPUT", "LoadedGraph", "Problem", "__version__", "approximate", "attack"),
    *("build", "calibrate", "check", "compare", "compare_hardware", "compile_file", "criticality", "explore"),
    *("faults", "load", "margins", "part", "parts", "permute"),
    *("protect", "prune", "rank", "replay", "replicate", "route", "synth", "tolerance", "visible"),
]
# Names of the Python API, by the module of flow/api that holds them.
_API = {
    **dict.fromkeys(("LoadedGraph", "check", "compile_file", "load"), "graphs"),
    **dict.fromkeys(("build", "compare", "compare_hardware", "prune", "rank"), "runs"),
    "approximate": "approximation",
    **dict.fromkeys(("attack", "criticality", "faults", "margins", "replay"), "faults"),
    **dict.fromkeys(("permute", "protect", "replicate", "tolerance"), "plans"),
    "calibrate": "hardware",
    "explore": "hardware",
    "route": "hardware",
    "synth": "hardware",
    **dict.fromkeys(("part", "parts"), "parts"),
}

CHECK_FAILED = 1
USER_INPUT = 2
TOOL_MISSING = 3


# Controls, what turns the order of other characters or has no width, halves of characters, separators of lines.
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str, lines: bool = True) -> str:
    """Text of files as it may be shown: every character that a terminal would obey stands as its escape.

    Args:
        text: any.
        lines: leave line ends as they are; else they are escaped, too.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        one.encode("unicode_escape").decode() if unicodedata.category(one) in _OBEYED and one not in kept else one
        for one in text
    )


class Problem(Exception):
    """The one kind of error that is meant for users: printed once, without a traceback.

    Args:
        what: one sentence that says what is wrong, without a full stop at the end.
        where: the file, layer or tensor it was found in, for people to read; may be empty.
        hint: what the user can do about it; may be empty.
        status: the exit status of the program: `CHECK_FAILED` (1, a check or budget failed),
            `USER_INPUT` (2, the user's input) or `TOOL_MISSING` (3, a tool is not installed, or failed).
        key: the field, recipe key or option that it is about, for programs; it is shown where `where` is empty.

    Decisions are taken on `key`, `status` and the class, never on texts.
    """

    def __init__(self, what: str, where: str = "", hint: str = "", status: int = USER_INPUT, *, key: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where or key
        self.hint = hint
        self.status = status
        self.key = key

    @property
    def in_place(self) -> str:
        """What is wrong, behind where it is; for a place that is said within another."""
        return f"{self.where}: {self.what}" if self.where else self.what

    def at(self, where: str, what: str = "", *, key: str = "") -> Problem:
        """The same problem, status and hint, at another place.

        Args:
            where, key: of the new one.
            what: in place of its sentence, such as `in_place`.
        """
        return Problem(what or self.what, where, self.hint, self.status, key=key)

    def __str__(self) -> str:
        """The lines a user sees: `what`, then `at:` and `hint:` where there are any."""
        lines = [visible(self.what)]
        if self.where:
            lines.append(f"  at: {visible(self.where)}")
        if self.hint:
            lines.append(f"  hint: {visible(self.hint)}")
        return "\n".join(lines)


class _Build(ModuleType):
    """The package `bnnflow.build`, which is also the function `build`: both have this name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Build a recipe: see `bnnflow.flow.api.runs.build`."""
        return import_module(".flow.api.runs", __name__).build(*arguments, **options)


class _Package(ModuleType):
    """This module; the import of its package `build`, by whomever, makes that one callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "build" and isinstance(value, ModuleType):
            value.__class__ = _Build
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "build":
        return import_module(".build", __name__)
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".flow.api.{_API[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
