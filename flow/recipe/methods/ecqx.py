"""Weights of few levels, many of them 0, that code to few bits.

Weights are assigned while they are trained, which is the fine-tuning, too, and become those of `weight_kind: steps`.
Needs latent weights, so that bop does not do, and joins that take such weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bnnflow import Problem

from .method import Columns, LatentUse, Lines, Method, MethodInput, MethodRequest, Pruned, RemovalStep

if TYPE_CHECKING:
    from ...results.stages import PruningResult


class Ecqx(Method):
    """Method ecqx: weights of few levels, assigned by distance, entropy and relevance."""

    bits: Annotated[int, Field(ge=2, le=5)] = Field(default=2, description="of weights; 2: -1, 0 and +1")
    strength: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="squared steps that a bit of code is worth"
    )
    extra: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="share of zeros that relevance may add; 0: none"
    )
    relevance: Literal["taylor", "lrp"] = Field(default="taylor", description="of weights: |w dL/dw|, or LRP")

    counts: ClassVar[str] = "weights that are not 0"
    leaves_zeros: ClassVar[bool] = True
    why_no_classes: ClassVar[str] = "weights become those of another quantizer than the class has"
    why_no_files: ClassVar[str] = "it assigns the latent weights that training left, and no file holds these"

    def check(self, asked: MethodRequest) -> None:
        """Refuse optimizers without latent weights, and networks whose joins do not take such weights."""
        self.latent_use().refuse(asked.optimizer, asked.tuner)
        try:
            replace(asked.shape, weight_kind="steps", weight_bits=self.bits, weight_scale="none")
        except Problem as problem:
            raise problem.at("", key="prune.method") from problem

    def remarks(self, asked: MethodRequest) -> Iterable[str]:
        """That weights of one bit become more, not fewer."""
        if asked.shape.weight_bits == 1:
            yield (
                f"ecqx gives weights of {self.bits} bits to a network whose weights have 1: its memories grow, layers "
                "are no XNOR layers any more, and what -1 and +1 learned is assigned anew; it helps networks of 2 bits "
                "and more (prune.method: filters makes this one smaller)"
            )

    def unused(self) -> Iterable[tuple[str, str, str]]:
        """Relevance that may add nothing."""
        if self.extra == 0:
            yield "relevance", "with `extra: 0` relevance adds nothing", "or raise extra"

    def latent_use(self) -> LatentUse:
        """Always."""
        return LatentUse("prune.method", "ecqx assigns latent weights", "use another optimizer")

    def prune(self, given: MethodInput) -> Pruned:
        """Train with assigned weights, which is the fine-tuning, too; and say what they code to."""
        from ....models.prune.coding import coded_sizes
        from ....models.prune.ecqx import EcqxSpec, ecqx
        from ....models.training.evaluate import accuracy

        spec = EcqxSpec(self.bits, self.strength, self.extra, self.relevance, seed=given.seed)
        network, images, labels, held = given.work
        made = ecqx(
            network, images, labels, spec, given.plan, given.progress, given.checkpoint, memories=given.memories
        )
        before, after = coded_sizes(network), coded_sizes(made)
        kept = {name: round(size.weights * (1 - size.zeros)) for name, size in after.items()}
        facts = {
            "bits": self.bits,
            "relevance": self.relevance,
            "whole": {name: size.weights for name, size in after.items()},
            "before": {name: asdict(size) for name, size in before.items()},
            "after": {name: asdict(size) for name, size in after.items()},
        }
        return Pruned(made, kept, [RemovalStep(kept, made.spec.macs(), None, accuracy(made, *held))], facts)

    @classmethod
    def headline(cls, found: PruningResult) -> str:
        """For the report."""
        return "Weights assigned to few levels by distance, entropy and relevance while training"

    @classmethod
    def lines(cls, found: PruningResult) -> Lines:
        """What the weights of every layer code to."""
        rows = []
        for name, row in found.more["after"].items():
            numbers = (f"{row['plain_bits']:,}", f"{row['entropy_bits']:,.0f}", f"{row['lzma_bytes']:,}")
            rows.append((name, f"{row['weights']:,}", f"{row['zeros']:.0%}", *numbers))
        title = f"weights of {found.more['bits']} bits, relevance {found.relevance}"
        headings = ("layer", "weights", "zeros", "stored bits", "entropy bits", "lzma bytes")
        both = (found.more["before"], found.more["after"])
        before, after = (sum(row["entropy_bits"] for row in sizes.values()) / 8 for sizes in both)
        floats = 4 * sum(row["weights"] for row in found.more["after"].values())
        packed = sum(row["lzma_bytes"] for row in found.more["after"].values())
        return (
            Columns(title, headings, tuple(rows)),
            f"all weights: {floats:,} bytes in float32, {before:,.0f} by entropy before, {after:,.0f} now "
            f"({packed:,} packed by lzma, {floats / packed:.1f} times less than float32)",
        )
