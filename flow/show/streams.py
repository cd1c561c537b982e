"""Standard output and error on which no text of a file is obeyed by a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from bnnflow import visible


class _Shown:
    """A stream of text that makes controls visible; rich, which writes its own, takes the stream behind it."""

    def __init__(self, raw: TextIO) -> None:
        self._raw = raw

    @property
    def rich_proxied_file(self) -> TextIO:
        """Where rich writes; `screen.terminal` makes text visible before it is coloured."""
        return self._raw

    def write(self, text: str) -> int:
        """Write text, its controls as escapes."""
        self._raw.write(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def shown() -> Iterator[None]:
    """What is printed inside goes through `visible`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Shown(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
