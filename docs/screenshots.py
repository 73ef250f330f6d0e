r"""Take the screenshots of the dashboard for the README and docs/compare.md, light and dark.

    python docs/screenshots.py RUNS [FOLDER]

Needs Playwright and Chromium. RUNS is a folder of `sweep=methods` with checkpoints. Those of the
pictures are shortened; C is data.train_limit=10000 data.test_limit=5000 group=methods:

    dstrun sweep=methods model=lenet_300_100 reg=dense schedule.epochs=8 C
    dstrun sweep=methods model=lenet_300_100 reg=dst,static,set,rigl,snfs,dsr,granet,gmp,one_shot,\
acdc,l1,snip,grasp,synflow reg.density=0.1,0.05,0.02 schedule.epochs=8 C
    dstrun sweep=methods model=lenet_300_100 reg=imp reg.rounds=3 reg.density=0.1,0.05,0.02 \
schedule.epochs=2 C
    dstrun sweep=methods model=lenet5 reg=dense schedule.epochs=4 C
    dstrun sweep=methods model=lenet5 reg=dst,static,set,rigl,snfs,gmp,one_shot,snip \
reg.density=0.1,0.02 schedule.epochs=4 C
"""

import io
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from dstrun.compare.dashboard.app import make_app
from dstrun.compare.dashboard.watch import Watch
from dstrun.export.masks import read_masks

WIDTH = 1240
PICTURES = {  # name: the page's address, its height, a heading to wait for
    "overview": ({"filter": "model=lenet_300_100"}, 1120, "Means over seeds"),
    "groups": ({"view": "groups", "group": "dst", "against": "gmp"}, 1400, "In figures"),
}


def main(outputs: Path, folder: Path) -> None:
    watch = Watch([outputs], read_masks)
    server = make_server("127.0.0.1", 0, make_app(watch, outputs.name).server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for theme in ("light", "dark"):
            for name, (query, height, heading) in PICTURES.items():
                page = browser.new_page(viewport={"width": WIDTH, "height": height})
                address = f"http://127.0.0.1:{server.server_port}/"
                page.goto(f"{address}?{urlencode({**query, 'theme': theme})}")
                page.get_by_role("heading", name=heading).first.wait_for()
                page.wait_for_timeout(4000)  # for what is drawn after the first figure
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                small = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
                small.save(folder / f"{name}-{theme}.png", optimize=True)
                page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs"))
