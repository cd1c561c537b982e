"""Importance of each filter and neuron, by many criteria."""
