"""The program `flow`: its main function and exit status."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from bnnflow import TOOL_MISSING, Problem, __version__

from ..run.files import explain
from ..show import streams
from .commands import Commands

app = typer.Typer(
    name="flow",
    cls=Commands,
    help="From a trained binary neural network to verified FPGA dataflow hardware.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

OUR_BUG = 70
INTERRUPTED = 130


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """From a trained binary neural network to verified FPGA dataflow hardware."""


def main() -> NoReturn:
    """Run the program; the process ends with its exit status."""
    # Both for commands that end at once, on a misspelt key: imports make thousands of objects and free none, and
    # pydantic would look through all installed packages for plugins of its own.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    raise SystemExit(run(sys.argv[1:]))


def _interrupted(arguments: list[str]) -> int:
    """Say that Ctrl-C ended the command, and whether it can go on; returns the exit status."""
    goes_on = "build" in arguments or "--store" in arguments
    print("\ninterrupted" + "; the same command resumes where this one stopped" * goes_on, file=sys.stderr)
    return INTERRUPTED


def run(arguments: list[str]) -> int:
    """Run the program with arguments as on the command line.

    Returns:
        0 done, 1 a check or budget failed, 2 the user's input, 3 a tool is missing or failed, 70 our bug, 130
        interrupted.
    """
    debug = "--debug" in arguments
    if "--version" in arguments:
        print(f"bnnflow {__version__}")
        return 0
    if not debug:
        # Libraries warn about their callers' choices, which are not the user's.
        warnings.simplefilter("ignore")
    # Ctrl-C in the middle of a library's import may come back as some other error.
    interrupted: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        if callable(usual):
            usual(number, frame)

    with suppress(ValueError):  # Not in the main thread: there no signal arrives either.
        signal.signal(signal.SIGINT, note)
    try:
        with streams.shown():
            return _run(arguments, debug, interrupted)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, usual)


def _run(arguments: list[str], debug: bool, interrupted: list[int]) -> int:
    try:
        done = app(arguments, standalone_mode=False, prog_name="flow")
        if done == INTERRUPTED:  # Typer makes this of Ctrl-C.
            return _interrupted(arguments)
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            return 0
        if interrupted:
            return _interrupted(arguments)
        if debug:
            raise
        problem = explain(error, Path(str(error.filename or "output")))
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except Problem as problem:
        if debug:
            traceback.print_exc()
        print(f"error: {problem}", file=sys.stderr)
        return problem.status
    except ModuleNotFoundError as error:
        if debug or (error.name or "").startswith("bnnflow"):
            raise
        print(f"error: a package is missing: {error}\n  hint: `flow doctor` lists what is needed", file=sys.stderr)
        return TOOL_MISSING
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments)

    except Exception as error:
        if interrupted:
            return _interrupted(arguments)
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            # A complaint of the command-line parser: it prints the usage itself.
            error.show()
            return 2
        if debug:
            raise
        print(
            f"error: this is a fault in bnnflow: {type(error).__name__}: {error}\n"
            "  hint: please report it with what `flow --debug` and the same arguments print",
            file=sys.stderr,
        )
        return OUR_BUG
