"""The half that runs in the server's own environment, around Argilla itself."""
