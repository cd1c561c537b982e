"""How much each filter and neuron matters, by many criteria."""

from .deep_lift import deeplift
from .scores import Relevance, random_scores

__all__ = ["Relevance", "deeplift", "random_scores"]
