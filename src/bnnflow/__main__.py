"""`python -m bnnflow` is `flow`."""

from .flow.cli import main

main()
