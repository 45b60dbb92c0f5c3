"""What may be said and what may be learned: house rules, personal data. Imports inhouse only."""
