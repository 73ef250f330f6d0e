"""Time of the dashboard's first page and of clicks in it, with many runs, in headless Chromium.

    python benchmarks/dashboard.py [--runs 1000 --epochs 20 --layers 16 --repeats 3]

Writes that many made-up finished runs to a temporary folder and serves them as `dstrun dashboard`
does. A time is that from the request or the click until the table and the first figure are drawn:
the least of the repeats, since other work on the machine only adds to it. Needs Playwright and
Chromium.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from compare import make
from playwright.sync_api import sync_playwright

SETTLE = 2500  # milliseconds between two measurements
BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
DRAWN = """async ([place, figure, runs]) => {
  const start = performance.now();
  if (place) {
    const target = document.querySelector(place);
    target.dispatchEvent(new MouseEvent('mousedown', {bubbles: true}));
    target.click();
  }
  for (;;) {
    await new Promise(requestAnimationFrame);
    if (performance.now() - start > 20000) return Infinity;
    const section = document.querySelector('#content section');
    const title = section && section.querySelector('h2').textContent;
    const plot = title === figure && section.querySelector('.js-plotly-plot');
    if (!plot || !plot.querySelector('.scatterlayer path')) continue;
    const marks = plot.data.filter(trace => trace.customdata);
    const shown = marks.reduce((sum, trace) => sum + trace.x.length, 0);
    if (!runs || shown === runs) return (performance.now() - (place ? start : 0)) / 1000;
  }
}"""
OVERVIEW = "Accuracy against what remains"
VIEWS = {
    "Layers": "Density of every layer by epoch",
    "Curves": "Density and accuracy",
    "One run": "Density of every layer",
    "Overview": OVERVIEW,
}
BOX = ".ag-pinned-left-cols-container [row-index='0'] input[type=checkbox]"
VALUE = ".ag-center-cols-container [row-index='0'] [col-id='seed']"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("runs", 1000), ("epochs", 20), ("layers", 16), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", help="of runs that were made before")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or made
        if not given.folder:
            make(Path(folder), given.runs, given.epochs, given.layers)
        command = [sys.executable, "-m", "dstrun", "dashboard", folder, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout
        address = server.stdout.readline().split()[0]
        try:
            found = measure(address, given.runs, given.repeats)
        finally:
            server.terminate()
            server.wait()
    print(f"{given.runs} runs, load of the machine {os.getloadavg()[0]:.1f}")
    for what, seconds in found.items():
        print(f"{what:<24}{min(seconds):5.1f} s    ({', '.join(f'{one:.1f}' for one in seconds)})")


def measure(address: str, runs: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each action, once a repeat."""
    found: dict[str, list[float]] = {}
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.goto(address, wait_until="commit")
            found.setdefault("first page", []).append(page.evaluate(DRAWN, ["", OVERVIEW, runs]))
            for what, place, figure, count in actions(runs):
                page.wait_for_timeout(SETTLE)
                found.setdefault(what, []).append(page.evaluate(DRAWN, [place, figure, count]))
            page.close()
        browser.close()
    return found


def actions(runs: int) -> list[tuple[str, str, str, int]]:
    """Return what is measured: its name, the place to click, the first figure and its runs."""
    views: list[Any] = []
    for number, (view, figure) in enumerate(VIEWS.items()):
        place = f"#view label:nth-child({(2, 3, 4, 1)[number]})"
        views.append((f"view {view}", place, figure, 0))
    return [
        ("tick a run", BOX, OVERVIEW, 1),
        ("untick it", BOX, OVERVIEW, runs),
        ("filter by a value", VALUE, OVERVIEW, runs // 4),
        ("filter no more", VALUE, OVERVIEW, runs),
        *views,
    ]


if __name__ == "__main__":
    main()
