"""How much each filter and neuron matters, by many criteria."""
