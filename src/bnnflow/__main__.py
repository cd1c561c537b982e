"""`python -m bnnflow` is `flow`."""

from .flow.cli.app import main

main()
