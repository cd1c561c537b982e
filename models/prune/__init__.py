"""Structured pruning: whole filters and neurons are removed, the network becomes smaller, and recovers."""
