"""How each kind of personal data is found: one file for each family of kinds, and their table."""
