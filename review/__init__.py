"""What the models say to prompts nobody trained on, for compliance reviewers to read."""
