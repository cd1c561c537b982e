"""Passes from a network to FINN's dataflow units."""
