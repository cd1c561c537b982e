"""Faults: models, rates, maps, memory layouts, protections, trials."""
