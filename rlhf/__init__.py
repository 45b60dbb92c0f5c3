"""Aligning the fine-tuned model with what raters preferred."""
