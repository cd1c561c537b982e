"""Where a recipe, and each of its keys, was read."""

from __future__ import annotations

from dataclasses import dataclass, field

from .positions import KeyPath, RecipeText


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a recipe was read.

    All origins are equal, so that recipes compare by what they say.

    Attributes:
        source: the file.
        overrides: the `-s` text of every overridden key.
        made_void: one sentence for each key of the file that has no effect beside an override.
    """

    source: RecipeText | None = field(default=None, compare=False)
    overrides: dict[KeyPath, str] = field(default_factory=dict, compare=False)
    made_void: tuple[str, ...] = field(default=(), compare=False)


def place_of(path: KeyPath, origin: Origin, of_key: bool = False) -> str:
    """Where a key was given: `-s key=value`, or file:line:column with the line and a caret."""
    for length in range(len(path), 0, -1):
        if path[:length] in origin.overrides:
            return f"-s {origin.overrides[path[:length]]}"
    return origin.source.place_of(path, of_key) if origin.source is not None else ".".join(map(str, path))
