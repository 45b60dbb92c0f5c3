"""Supervised fine-tuning: a model learns the house's tone from demonstrations."""
