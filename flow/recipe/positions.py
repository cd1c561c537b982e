"""YAML text to plain data, with the line and column of every key and value."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from bnnflow import Problem

KeyPath = tuple[str | int, ...]

MAX_NESTING = 32
_SHOWN_COLUMNS = 96


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line: line and column counted from 0, length in characters, at least 1."""

    line: int
    column: int
    length: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what, where (with the source line) and a hint."""

    what: str
    where: str
    hint: str

    def __str__(self) -> str:
        return str(Problem(self.what, self.where, self.hint))


@dataclass(frozen=True, slots=True)
class RecipeText:
    """The lines of a YAML text and where its keys and values stand.

    Args:
        name: how the file is called in messages.
        lines: the text's lines, without line ends.
        keys: the span of every key, by path.
        values: the span of every value, by path; the root's path is ().
    """

    name: str
    lines: tuple[str, ...]
    keys: dict[KeyPath, Span] = field(default_factory=dict)
    values: dict[KeyPath, Span] = field(default_factory=dict)

    def place(self, span: Span) -> str:
        """`file:line:column`, then the source line and a caret line under the span."""
        head = f"{self.name}:{span.line + 1}:{span.column + 1}"
        if span.line >= len(self.lines):
            return head
        line = self.lines[span.line]
        start = max(0, min(span.column - _SHOWN_COLUMNS // 2, len(line) - _SHOWN_COLUMNS))
        shown = line[start : start + _SHOWN_COLUMNS]
        before = shown[: span.column - start]
        marked = shown[span.column - start : span.column - start + span.length]
        number = str(span.line + 1)
        return (
            f"{head}\n      {number} | {_printable(shown)}\n"
            f"      {' ' * len(number)} | {' ' * _width(before)}{'^' * max(1, _width(marked))}"
        )

    def place_of(self, path: KeyPath, of_key: bool = False) -> str:
        """The place of the value (or key) at `path`, or of the nearest enclosing key that exists."""
        if not of_key and path in self.values:
            return self.place(self.values[path])
        while path and path not in self.keys:
            if path in self.values:
                return self.place(self.values[path])
            path = path[:-1]
        if path:
            return self.place(self.keys[path])
        return self.place(next(iter(self.keys.values()), Span(0, 0, 1)))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def as_problem(faults: list[Fault], name: str) -> Problem:
    """One Problem for one fault; for several, one Problem that lists them all in order."""
    if len(faults) == 1:
        return Problem(faults[0].what, faults[0].where, faults[0].hint)
    listed = "\n\n".join(f"{number}. {fault}" for number, fault in enumerate(faults, start=1))
    return Problem(f"{len(faults)} faults in {name}\n\n{listed}")


def parse_yaml(text: str, name: str) -> tuple[Any, RecipeText, list[Fault]]:
    """Parse one YAML 1.2 document into dict, list and scalars.

    Nothing but plain data is built: no tags that make objects, no anchors or aliases.

    Args:
        text: the document.
        name: how the file is called in messages.

    Returns:
        the data (None for an empty text), its positions, and the faults that do not stop the reading
        (duplicate keys; the first one's value counts).

    Raises:
        Problem: the text is not YAML, or uses what a recipe may not use.
    """
    source = RecipeText(name, tuple(text.splitlines()))
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position)
        column = error.position - (text.rfind("\n", 0, error.position) + 1)
        place = source.place(Span(line, column, 1))
        raise Problem("a control character in the text", place, "remove the character; is this a text file?") from error
    except MarkedYAMLError as error:
        raise _syntax_problem(error, source) from error
    except RecursionError as error:
        raise _too_deep(source) from error
    except YAMLError as error:
        raise Problem(f"this is not valid YAML: {error}", name) from error
    if root is None:
        return None, source, []
    reader = _Reader(yaml, source)
    return reader.read(root, ()), source, reader.faults


def parse_value(text: str) -> Any:
    """The YAML value that `text` stands for (a scalar, list or mapping).

    Raises:
        Problem: the text is not YAML.
    """
    return parse_yaml(text, "value")[0]


def _too_deep(source: RecipeText) -> Problem:
    return Problem(f"more than {MAX_NESTING} levels of nesting", source.name, "a recipe needs 3")


class _Reader:
    """The walk over composed nodes that builds data and notes positions."""

    def __init__(self, yaml: YAML, source: RecipeText) -> None:
        self.yaml = yaml
        self.source = source
        self.faults: list[Fault] = []
        self.seen: set[int] = set()

    def read(self, node: Node, path: KeyPath) -> Any:
        span = self.span(node)
        self.source.values[path] = span
        if id(node) in self.seen or node.anchor:
            hint = "write the value out where it is needed"
            raise Problem("anchors (&name) and aliases (*name) are not supported", self.source.place(span), hint)
        self.seen.add(id(node))
        if len(path) > MAX_NESTING:
            raise _too_deep(self.source)
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            span = self.span(key_node)
            if not isinstance(key_node, ScalarNode):
                raise Problem("a key must be a word", self.source.place(span), "write `key: value`")
            key = str(key_node.value)
            if key in data:
                first = self.source.keys[(*path, key)].line + 1
                what = f"the key '{key}' is given twice"
                self.faults.append(Fault(what, self.source.place(span), f"it stands first on line {first}; keep one"))
                continue
            self.source.keys[(*path, key)] = span
            data[key] = self.read(value_node, (*path, key))
        return data

    def scalar(self, node: Node) -> Any:
        try:
            return self.yaml.constructor.construct_object(node, deep=True)
        except (YAMLError, ValueError, OverflowError) as error:
            place = self.source.place(self.span(node))
            if str(node.tag).rpartition(":")[2] in ("bool", "int", "float", "timestamp", "binary", "null"):
                raise Problem(
                    f"{node.value!r} is not a valid value", place, "put it in quotes if it is text"
                ) from error
            raise Problem(f"the tag {node.tag} is not supported", place, "remove the tag") from error

    def span(self, node: Node) -> Span:
        start, end = node.start_mark, node.end_mark
        line = self.source.lines[start.line] if start.line < len(self.source.lines) else ""
        stop = end.column if end.line == start.line else len(line.rstrip())
        return Span(start.line, start.column, max(1, stop - start.column))


_SYNTAX = (
    ("'\\t'", "a tab stands where only spaces may", "indent with spaces; YAML does not allow tabs"),
    (
        "mapping values are not allowed",
        "a ':' where no key can stand",
        "check the indentation of this line and the one above; put text with ': ' in it in quotes",
    ),
    (
        "expected <block end>",
        "the indentation of this line does not fit the lines above",
        "keys of one section start in the same column",
    ),
    ("could not find expected ':'", "a key without ':'", "write `key: value`, with a space after the colon"),
    ("expected ',' or ']'", "a list that is not closed", "a list looks like [1, 2, 3]"),
    ("expected ',' or '}'", "a mapping that is not closed", "a mapping on one line looks like {a: 1, b: 2}"),
    (
        "while scanning a quoted scalar",
        "a text in quotes that is not closed",
        "put the closing quote on the same line",
    ),
    ("but found another document", "more than one document ('---') in the file", "keep one recipe a file"),
    ("found undefined alias", "anchors (&name) and aliases (*name) are not supported", "write the value out"),
    (
        "found duplicate anchor",
        "anchors (&name) and aliases (*name) are not supported",
        "write the value out",
    ),
    ("cannot start any token", "a character that cannot start a value", "put the text in quotes"),
)


def _syntax_problem(error: MarkedYAMLError, source: RecipeText) -> Problem:
    text = f"{error.context or ''} {error.problem or ''}"
    mark = error.problem_mark or error.context_mark
    what, hint = f"this is not valid YAML: {text.strip()}", "see https://yaml.org/spec/1.2.2 for the syntax"
    known = next((entry for entry in _SYNTAX if entry[0] in text), None)
    if known is not None:
        _, what, hint = known
        if "not closed" in what:
            mark = error.context_mark or mark
    place = source.place(Span(mark.line, mark.column, 1)) if mark is not None else source.name
    return Problem(what, place, hint)
