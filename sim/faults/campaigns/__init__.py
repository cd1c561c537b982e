"""Campaigns and sweeps of trials, their statistics, stores and workers."""
