"""Data sets: what they are, where they are looked for, and how they are read."""
