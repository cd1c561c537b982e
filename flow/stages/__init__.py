"""The stages of `flow build`, and what is looked at before the first."""
