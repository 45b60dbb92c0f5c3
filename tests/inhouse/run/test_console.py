"""Consoles that are not UTF-8, and what is piped in."""

import io
import sys

import pytest

from inhouse.run.console import fit_console

OURS = "⟦ok⟧ █ 1 – 2 … → ✓ é € 😀"


def printed(monkeypatch, encoding: str, errors: str = "strict") -> bytes:
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(kept, encoding, errors))
    fit_console()
    print(OURS, "caf\udce9", flush=True)
    return kept.getvalue().rstrip()


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the second is LC_ALL=C's own
def test_what_ascii_lacks_is_shown_in_plain_or_by_its_code(monkeypatch, errors):
    expected = b"[[ok]] # 1 - 2 ... -> ok \\xe9 \\u20ac \\U0001f600 caf\\udce9"
    assert printed(monkeypatch, "ascii", errors) == expected


def test_what_an_encoding_has_stays(monkeypatch):
    assert printed(monkeypatch, "cp1252").decode("cp1252").startswith("[[ok]] # 1 – 2 … -> ok é €")
    assert printed(monkeypatch, "utf-8").decode() == OURS + " caf\\udce9"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_is_piped_in_is_utf8_whatever_the_console_speaks(monkeypatch, encoding):
    piped = io.TextIOWrapper(io.BytesIO("żółw?\n".encode()), encoding, "surrogateescape")
    monkeypatch.setattr(sys, "stdin", piped)
    fit_console()
    assert input() == "żółw?"


def test_streams_that_are_closed_or_not_of_a_console_are_left(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    fit_console()
    print(OURS)
