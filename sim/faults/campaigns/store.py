"""Results of trials in an SQLite file: appended, never counted twice, whole after a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bnnflow import CHECK_FAILED, Problem

from ..injection.metrics import ClassCount, MarginSum
from ..injection.trials import Outcome

_VERSION = 1
_WAIT_S = 60.0
# What not every trial tells has a table of its own: files without it are files of the same version.
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS trials (
    subject TEXT NOT NULL, point TEXT NOT NULL, trial INTEGER NOT NULL,
    images INTEGER NOT NULL, "right" INTEGER NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (subject, point, trial)) WITHOUT ROWID;
""",
    """
CREATE TABLE IF NOT EXISTS figures (
    subject TEXT NOT NULL, point TEXT NOT NULL, trial INTEGER NOT NULL, metric TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (subject, point, trial, metric)) WITHOUT ROWID;
""",
)


def _patiently(work: Callable[[], None]) -> None:
    """Do it again while another program has the file: what changes its journal does not wait by itself."""
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > end:
                raise
        time.sleep(0.01)


class Store:
    """Outcomes by subject (`Subject.digest`), point (`Point.key`) and trial.

    Each call of `add` is one transaction: after a kill, a trial is there or it is not.

    Args:
        path: SQLite file, made where there is none; None keeps results in memory.

    Raises:
        Problem: the file cannot be written or is not such a file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        try:
            self._base = sqlite3.connect(":memory:" if path is None else path, timeout=_WAIT_S, isolation_level=None)
            _patiently(self._prepare)
        except sqlite3.Error as error:
            hint = "give the name of an SQLite file that can be written, or of a new one"
            raise Problem(f"the results cannot be kept: {error}", str(path), hint) from error

    def _prepare(self) -> None:
        """Make the tables where there are none: looked at and made in one transaction, so that one program does it."""
        # Before anything is changed in a file that is not ours; both looks at it in one transaction.
        self._base.execute("BEGIN")
        try:
            self._check()
        finally:
            self._base.execute("ROLLBACK")
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=NORMAL")
        self._base.execute("BEGIN IMMEDIATE")
        try:
            self._check()
            for table in _TABLES:
                self._base.execute(table)
            self._base.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def _check(self) -> None:
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        tables = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != _VERSION and (version or tables):
            raise Problem("this is not a file of fault results", str(self.path), "give another file name")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, subject: str, point: str, outcomes: Iterable[Outcome]) -> None:
        """Append outcomes; a trial that is there stays as it is.

        Raises:
            Problem: the file cannot be written; status 1.
        """
        kept = list(outcomes)
        rows = [(subject, point, one.trial, one.images, one.right, one.changed) for one in kept]
        figures = [(subject, point, one.trial, *figure) for one in kept for figure in _figures(one)]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            with self._base:
                self._base.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._base.executemany("INSERT OR IGNORE INTO figures VALUES (?, ?, ?, ?, ?)", figures)
        except sqlite3.Error as error:
            hint = "free some space; the same command resumes where this one stopped"
            raise Problem(f"the results cannot be kept: {error}", str(self.path), hint, CHECK_FAILED) from error

    def outcomes(self, subject: str, point: str, metrics: Sequence[str] = ()) -> dict[int, Outcome]:
        """The outcomes of one series, by trial.

        Args:
            subject, point: of the series.
            metrics: that an outcome must tell; trials that were run without one of them are left out.
        """
        query = 'SELECT trial, images, "right", changed FROM trials WHERE subject = ? AND point = ? ORDER BY trial'
        found = {row[0]: Outcome(*row) for row in self._base.execute(query, (subject, point))}
        for metric in metrics:
            if metric in _READ:
                query = "SELECT trial, value FROM figures WHERE subject = ? AND point = ? AND metric = ?"
                told = dict(self._base.execute(query, (subject, point, metric)))
                found = {trial: _READ[metric](one, told[trial]) for trial, one in found.items() if trial in told}
        return found


def _figures(one: Outcome) -> Iterator[tuple[str, str]]:
    """Metric and value of what an outcome tells beyond its counts."""
    if one.classes is not None:
        yield "classes", json.dumps([astuple(each) for each in one.classes])
    if one.margin is not None:
        yield "margin", json.dumps(astuple(one.margin))


_READ: dict[str, Callable[[Outcome, str], Outcome]] = {
    "classes": lambda one, text: replace(one, classes=tuple(ClassCount(*row) for row in json.loads(text))),
    "margin": lambda one, text: replace(one, margin=MarginSum(*json.loads(text))),
}
