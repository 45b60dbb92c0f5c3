"""``review/report.pdf``: what stands on paper of the report, printed by a Chromium of the machine.

The printed page has no script and no list; the browser has a profile of its own that is deleted
again, and no name that it asks for is found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from inhouse.errors import InputError, words_of
from inhouse.files import write_atomically
from review.report.campaign import read_campaign
from review.report.page import render

NAME = "report.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MOST = 180  # seconds
QUIET = (
    *("--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def write_pdf(campaign: Path, house_rules: Path | None = None) -> Path:
    """Print the report; returns the file's path.

    Raises:
        InputError: there is no Chromium, or it does not print.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise InputError(
            "no Chromium on this machine, which prints the report: install one (on Debian "
            "`apt-get install chromium`), or open report.html and print it from a browser"
        )
    path = campaign / "review" / NAME
    with tempfile.TemporaryDirectory(prefix="report-") as place:
        page, printed = Path(place) / "report.html", Path(place) / NAME
        page.write_text(
            render(read_campaign(campaign, house_rules), to_print=True), encoding="utf-8"
        )
        words = [browser, *QUIET, f"--user-data-dir={place}/profile", f"--print-to-pdf={printed}"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium asks that of root
        try:
            subprocess.run([*words, page.as_uri()], check=True, capture_output=True, timeout=MOST)
        except (subprocess.SubprocessError, OSError) as error:
            raise InputError(f"{browser} does not print the report: {words_of(error)}") from None
        if not printed.is_file():
            raise InputError(f"{browser} printed nothing: open report.html and print it from there")
        write_atomically(path, printed.read_bytes())
    return path
