"""What reviewers are given: which answers, which planted breaches, and how they are shown."""
