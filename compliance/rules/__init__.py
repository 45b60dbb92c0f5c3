"""A firm's house rules: data in a strict schema, run against replies."""
