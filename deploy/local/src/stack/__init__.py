"""Runs the whole product on one machine without Docker: `python -m stack up`."""
