"""Bit-accurate simulation of any exported graph, fault injection and speed measurement."""
