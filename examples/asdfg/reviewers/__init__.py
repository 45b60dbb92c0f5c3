"""Simulated compliance reviewers of the demonstration house."""
