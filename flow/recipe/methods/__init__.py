"""The methods of `prune.method`: one file each, and nothing else to edit for another."""
