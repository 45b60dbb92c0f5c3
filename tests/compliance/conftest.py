"""What tests of compliance's commands share."""

import sys

import pytest

from inhouse.errors import GateError, InputError


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Run a command's ``main`` in this process: what it printed, and how it said no, if it did."""

    def call(main, *words):
        monkeypatch.setattr(sys, "argv", [main.__module__, *map(str, words)])
        raised = None
        try:
            main()
        except (InputError, GateError) as error:
            raised = error
        return capsys.readouterr(), raised

    return call
