"""People's verdicts: what reviewers are given to read, and what their answers are counted for."""
