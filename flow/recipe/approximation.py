"""The recipe's section `approximation`; its keys are those of `models.training.approximation_spec.Approximation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from bnnflow import Problem

from .section import Section, cross_faults

if TYPE_CHECKING:
    from ...models.training.approximation_spec import Approximation


class ApproximateSums(Section):
    """Sums of XNOR products as in-memory hardware approximates them, that training computes with."""

    lta: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="local thresholds: products of a segment, whose majority is the bit; 0: none"
    )
    balanced: bool = Field(
        default=False, description="lta: neighbouring segments differ by one, so that votes are even"
    )
    capmin: Annotated[int, Field(ge=0, le=65_537)] = Field(
        default=0, description="levels, around half, that a segment's popcount is read with; 0: all of them"
    )
    array: Annotated[int, Field(ge=1, le=65_536)] = Field(default=32, description="capmin: products of a segment")

    @model_validator(mode="after")
    def _fits_together(self) -> ApproximateSums:
        if self.used:
            try:
                self.approximation()
            except Problem as problem:
                raise cross_faults([((problem.key,), problem.what, problem.hint)]) from problem
        return self

    def __str__(self) -> str:
        """Which, for people: "lta 32", "capmin 3 of segments of 32"."""
        balanced = ", balanced" if self.balanced else ""
        return f"lta {self.lta}{balanced}" if self.lta else f"capmin {self.capmin} of segments of {self.array}"

    @property
    def used(self) -> bool:
        """Whether any sum is approximate."""
        return self.lta > 0 or self.capmin > 0

    def approximation(self) -> Approximation:
        """As training takes it."""
        from ...models.training.approximation_spec import Approximation

        return Approximation(self.lta, self.capmin, self.array, self.balanced)
