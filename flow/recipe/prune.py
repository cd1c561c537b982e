"""The section `prune` of a recipe: what is removed, by which method, and how the network recovers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model

from .methods.all import METHODS, heeding_loss
from .methods.filters import Filters
from .methods.method import Method
from .section import Batch, Rate, Section

PARTS_OF_COST = ("lut", "bram18", "cycles", "energy", "ops", "weight_bits")
_DOC = "Removal of filters and neurons, least important first, or of what another method removes, then fine-tuning."
_METHOD = "filters: by the keys from criterion to jobs; the others by the sections of their names"


class _Which(Section):
    enabled: bool = Field(default=True, description="false: build the unpruned network only")
    method: str = "filters"


class _Recovery(Section):
    """How every method lets the network recover, and what it may lose."""

    epochs: Annotated[int, Field(ge=0, le=10_000)] = Field(default=2, description="fine-tuning passes after each round")
    batch: Batch = Field(default=100, description="images per fine-tuning step")
    learning_rate: Rate = Field(default=0.001, description="of fine-tuning")
    optimizer: Literal["adam", "sgd", "bop"] | None = Field(
        default=None, description="of fine-tuning; this and the next five: null as in train"
    )
    loss: Literal["cross-entropy", "squared-hinge", "mhl", "mcel"] | None = Field(
        default=None, description="of fine-tuning"
    )
    margin: Annotated[float, Field(gt=0, le=1e6)] | None = Field(default=None, description="of the loss")
    schedule: Literal["cosine", "step", "constant"] | None = Field(
        default=None, description="how the learning rate falls in each round"
    )
    augment: Literal["none", "crop", "flip", "crop-flip"] | None = Field(default=None, description="of images")
    precision: Literal["float32", "bfloat16"] | None = Field(default=None, description="of products")
    max_loss: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None,
        description=f"points ({', '.join(heeding_loss())}); the first round that loses more is undone, and the last",
    )


class _Prune(_Recovery, Filters, _Which):
    @property
    def chosen(self) -> Method:
        """The settings of the method."""
        chosen: Method = self if METHODS[self.method].in_prune else getattr(self, self.method)
        return chosen

    @classmethod
    def name(cls) -> str:
        """Of the method whose keys stand here."""
        return Filters.name()


if TYPE_CHECKING:

    class Prune(_Prune):
        """The section, with one of `METHODS` a key."""
else:
    # Defaults as they are: to check them would build each section once more, and a recipe is to be read at once.
    _sections = {
        name: (one, Field(default=one.model_construct(), description=f"of method {name}"))
        for name, one in METHODS.items()
        if not one.in_prune
    }
    _words = (Literal[tuple(METHODS)], Field(default="filters", description=_METHOD))
    Prune = create_model("Prune", __base__=_Prune, __doc__=_DOC, __module__=__name__, method=_words, **_sections)
