"""What is taken from reviewers: verdicts, what they are counted for, and rewrites."""
