"""Personal data in text: found, and replaced."""
