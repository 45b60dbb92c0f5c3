"""How much of its training data a fine-tuned model gives away."""
