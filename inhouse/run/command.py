"""How a command ends: the suite's exit codes, whatever was raised."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from inhouse.errors import GateError, InputError
from inhouse.run.allocator import keep_freed_memory
from inhouse.run.console import fit_console


class UpToDate(Exception):
    """The stage was already run with these settings and inputs."""


# Undone when a command is refused or fails: a folder that was claimed, and nothing put in it.
on_refusal: list[Callable[[], None]] = []


def command(main: Callable[[], None]) -> NoReturn:
    """Run a stage's ``main`` and turn how it ended into the suite's exit codes.

    0 done or up to date, 1 unexpected, 2 a gate said no, 3 something to mend first.
    """
    fit_console()
    keep_freed_memory()
    on_refusal.clear()
    try:
        main()
        leave_group()
    except UpToDate as done:
        print(f"up to date: {done}")
    except (InputError, GateError) as refusal:
        _undo()
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(refusal.exit_code)
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        _undo()
        sys.exit(1)
    sys.exit(0)


def _undo() -> None:
    for undo in on_refusal:
        undo()


def leave_group() -> None:
    """Leave the process group of `accelerate launch` together with the others, if there is one.

    A process that just ends is now and then aborted: the group's threads want Python's lock to let
    go of tensors, and Python is gone ("terminate called without an active exception").
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def is_main_process() -> bool:
    """Whether this process writes: the only one, or rank 0 under ``accelerate launch``."""
    return os.environ.get("RANK", "0") == "0"
