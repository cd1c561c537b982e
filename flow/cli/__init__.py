"""The command line: commands, options and help. The only place that knows typer."""
