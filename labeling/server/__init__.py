"""The embedded Argilla: a labelling server that needs no other service.

`python -m labeling.server --help` is the way in. This package knows nothing of the rest of the
suite. `host/` runs under the suite's Python, with the standard library alone; `inside/` runs in the
server's own virtual environment, around Argilla. Neither imports the other: both know `folder.py`.
"""
