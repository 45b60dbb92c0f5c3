"""Sampling from a model, and scoring with one."""
