"""The embedded Argilla: a labelling server that needs no other service.

`python -m labeling.server --help` is the way in. This package knows nothing of the rest of the
suite. Its command-line half runs under the suite's Python with the standard library alone; the
other half (`launch` and what it imports) runs in the server's own virtual environment.
"""
