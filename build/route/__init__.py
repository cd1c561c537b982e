"""Open placing and routing: the clock that a unit of hardware, or all of it, runs at on a part, by nextpnr."""
