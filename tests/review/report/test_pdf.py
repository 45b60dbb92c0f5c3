"""The report on paper: by a Chromium, and without one it says what is missing."""

import re
import shutil
import subprocess

import pytest

from inhouse.errors import InputError
from review.report import pdf
from tests.review.report.said import output

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_without_a_browser_it_says_what_is_missing(reviewed, monkeypatch, run_stage):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    run_dir = reviewed(output())
    with pytest.raises(InputError, match="no Chromium on this machine"):
        pdf.write_pdf(run_dir)
    ended = run_stage("review.report.__main__", "--run_dir", run_dir, "--pdf")
    assert ended.code == 3 and "print it from a browser" in ended.err
    assert (run_dir / "review" / "report.html").is_file()  # which is drawn all the same


def test_a_browser_that_fails_is_named(reviewed, monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("false",))
    with pytest.raises(InputError, match="false does not print"):
        pdf.write_pdf(reviewed(output()))


@pytest.mark.slow
@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
def test_the_first_page_is_on_paper(made):
    path = pdf.write_pdf(made)
    content = path.read_bytes()
    assert path.name == "report.pdf" and content.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 40
    if reader := shutil.which("pdftotext"):
        words = [reader, "-f", "1", "-l", "1", str(path), "-"]
        first = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert "Not enough evidence" in first and "At a glance" in first
