"""How much each filter and neuron matters, by many criteria."""

from .sample import Relevance, Sample
from .scores import attributions, borda, ranks, score

__all__ = ["Relevance", "Sample", "attributions", "borda", "ranks", "score"]
