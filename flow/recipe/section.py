"""What the sections of a recipe share: strictness, ranges, and the error for keys that do not fit together."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from .positions import KeyPath

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Batch = Annotated[int, Field(ge=2, le=65_536)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
# YAML gives lists; strict mode would refuse to make tuples of them.
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=65_536)], ...], Field(strict=False, max_length=64)]
Kernels = Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(strict=False, max_length=64)]
Pools = Annotated[tuple[Annotated[int, Field(ge=1, le=2)], ...], Field(strict=False, max_length=64)]
Rates = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False, min_length=1, max_length=100)]
Voltages = Annotated[tuple[Annotated[float, Field(gt=0, lt=3)], ...], Field(strict=False, max_length=100)]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, min_length=1, max_length=100)]


class Section(BaseModel):
    """A frozen part of the recipe; unknown keys and silent type changes are refused."""

    # Built once, as parts of the whole recipe.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


def cross_faults(faults: list[tuple[KeyPath, str, str]]) -> PydanticCustomError:
    """The error for keys that do not fit together: carries (key, what, hint) for each."""
    return PydanticCustomError("cross_faults", "keys that do not fit together", {"faults": faults})
