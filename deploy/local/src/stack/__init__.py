"""Runs the whole product on one machine without Docker: `python -m stack up`."""

from pathlib import Path

__all__ = ["ROOT"]

# The repository, whose files a stack runs; this package is installed from it in editable mode.
ROOT = Path(__file__).resolve().parents[4]
