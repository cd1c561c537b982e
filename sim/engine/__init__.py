"""The packed simulator."""
