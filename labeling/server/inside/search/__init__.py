"""Argilla's search as queries over its own SQL tables."""
