"""A reward model: one number for how well a reply answers a prompt, learned from ratings."""
