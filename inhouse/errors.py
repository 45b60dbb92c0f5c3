"""The two ways a command says no without a traceback, and the exit code of each.

An :class:`InputError` is something to mend first: config, data, a missing parent stage. A
:class:`GateError` is a measured no: a reward model too poor, a review that failed. Every message
names the value, what was expected, and the command that mends it.
"""


class InputError(ValueError):
    """Something the user can mend before running again."""

    exit_code = 3


class GateError(ValueError):
    """A gate that looked at a measured value and said no."""

    exit_code = 2
