"""How large the report is, how long it takes to draw, to open and to scroll, in a real Chromium.

    python benchmarks/report.py
    python benchmarks/report.py --outputs 20000 --length 8      # long replies: most are shortened

Campaigns of each size are made without a model (`benchmarks/made_campaign.py`). Opening is from the
navigation until a row of the list has taken a key; the best of three counts, as other work may have
the cores. Scrolling goes through the list 150 pixels a frame. Exit 2 where a page is larger than
15 MB, or 2,000 outputs take more than 2 s to open.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.made_campaign import make  # noqa: E402
from review.report import write_report  # noqa: E402

MOST_BYTES, MOST_SECONDS, SMALL = 15_000_000, 2.0, 2_000
FRAMES = """async (frames) => {
  const rows = document.getElementById("rows");
  window.scrollTo(0, rows.getBoundingClientRect().top + window.scrollY);
  const [between, drawing] = [[], []];
  let before = await new Promise(requestAnimationFrame);
  for (let frame = 0; frame < frames; frame++) {
    window.scrollBy(0, 150);
    const began = performance.now();
    draw();
    drawing.push(performance.now() - began);
    const now = await new Promise(requestAnimationFrame);
    between.push(now - before);
    before = now;
  }
  return [between, drawing].map((times) => times.sort((a, b) => a - b));
}"""


def main() -> int:
    """Make, draw, open, scroll; say what each took."""
    parser = argparse.ArgumentParser(description="Size and speed of the report.")
    parser.add_argument("--outputs", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--length", type=int, default=1, help="Replies put together to one.")
    words = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory() as place:
        for outputs in words.outputs:
            run_dir = make(Path(place) / str(outputs), outputs, length=words.length)
            began = time.process_time()
            path = write_report(run_dir)
            seconds, size = time.process_time() - began, path.stat().st_size
            print(f"{outputs} outputs: {size / 1e6:.1f} MB, drawn in {seconds:.1f} s of a core")
            opened = in_browser(path)
            kept &= size <= MOST_BYTES and (outputs > SMALL or opened <= MOST_SECONDS)
    return 0 if kept else 2


def in_browser(path: Path) -> float:
    """Open and scroll; seconds until the page took a key, or 0 without a Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("no Chromium on this machine: opening and scrolling were not measured")
        return 0.0
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        opened = min(open_once(running, path) for _ in range(3))
        page = running.new_page(viewport={"width": 1200, "height": 900})
        page.goto(path.as_uri())
        between, drawing = page.evaluate(FRAMES, 300)
        search = min(searched(page) for _ in range(3))
        running.close()
    print(
        f"  opens in {opened:.2f} s; a frame of scrolling takes {middle(between):.0f} ms, 95 % of "
        f"them {most(between):.0f} ms or less; of it drawing rows {middle(drawing):.1f} and "
        f"{most(drawing):.1f} ms; a search takes {search:.0f} ms"
    )
    return opened


def open_once(running: Any, path: Path) -> float:
    """From the navigation until `j` has given the first row the focus."""
    page = running.new_page(viewport={"width": 1200, "height": 900})
    began = time.monotonic()
    page.goto(path.as_uri())
    page.keyboard.press("j")
    page.wait_for_selector("#row-0:focus")
    seconds = time.monotonic() - began
    page.close()
    return seconds


def searched(page: Any) -> float:
    """Milliseconds of a search through every question and answer."""
    page.evaluate("controls.text.value = 'wallet'")
    return page.evaluate(
        "(() => { const at = performance.now(); apply(); return performance.now() - at; })()"
    )


def middle(times: list[float]) -> float:
    """The median of sorted times."""
    return times[len(times) // 2]


def most(times: list[float]) -> float:
    """What 95 % of sorted times are not above."""
    return times[int(0.95 * len(times))]


if __name__ == "__main__":
    sys.exit(main())
