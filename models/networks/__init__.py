"""Networks and their shapes: built-in, the user's own, and their plain twins."""
