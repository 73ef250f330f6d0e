"""Take the screenshots of the dashboard for docs/compare.md.

    python docs/screenshots.py docs/runs/lenet_alpha [FOLDER]

Needs Playwright and Chromium.
"""

import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from dstrun.compare.dashboard.app import make_app
from dstrun.compare.dashboard.watch import Watch

PICTURES = {  # name: view, theme, height
    "overview": ("overview", "light", 1180),
    "layers": ("layers", "dark", 1440),
}


def main(outputs: Path, folder: Path) -> None:
    watch = Watch([outputs])
    server = make_server("127.0.0.1", 0, make_app(watch, "outputs").server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, (view, theme, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1240, "height": height})
            conditions = quote("alpha<1e-3") if view == "layers" else ""
            page.goto(
                f"http://127.0.0.1:{server.server_port}/?view={view}&theme={theme}&filter={conditions}"
            )
            page.locator("section .main-svg").first.wait_for()
            page.wait_for_timeout(3000)
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs"))
