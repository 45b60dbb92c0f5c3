"""A stage's run: its folder, its manifest, how its command ends.

python -m inhouse.run show runs/asdfg       # the chain back to the raw data
python -m inhouse.run verify runs/asdfg     # re-hash it; names the first file that differs
"""

from inhouse.run.command import (
    UpToDate,
    command,
    is_main_process,
    leave_group,
    on_refusal,
)
from inhouse.run.folder import Run, open_run, require
from inhouse.run.manifest import BEGUN, CHECKPOINTS, MANIFEST, show, verify

__all__ = [
    "BEGUN",
    "CHECKPOINTS",
    "MANIFEST",
    "Run",
    "UpToDate",
    "command",
    "is_main_process",
    "leave_group",
    "on_refusal",
    "open_run",
    "require",
    "show",
    "verify",
]
