"""Worked examples of the suite; not installed, run from the clone."""
