"""Simulation of generated hardware, cycle by cycle, by Verilator."""
