"""The half under the suite's Python, standard library alone: start, stop, users, backup."""
