"""Recipes: their keys, reading, writing, errors, and what they name."""
