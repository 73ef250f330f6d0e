"""Write the results into the pages, from the runs in docs/runs.

    python docs/results.py [--pictures] [FOLDER ...]

FOLDER, such as outputs/table1: first copy the small files of its finished runs to docs/runs.

A line `<!-- $ dstrun … -->` in a page is a command, followed by its output up to `<!-- end -->`.
`sizes`, `speeds`, `table1` and `defaults` in place of dstrun are the tables of this module, the
first two from docs/inference.json; `gpu_…` are those of benchmarks/gpu_table.py, from
docs/runs/gpu/results.json. Figures in the text are in claims.py. Pictures are drawn by Chromium,
through Playwright.
"""

import argparse
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import claims
import kept
import pandas as pd
import yaml

from dstrun.compare.figures.alpha import against_alpha
from dstrun.compare.figures.layers import final_density, layer_density
from dstrun.compare.figures.panels import Figure
from dstrun.compare.figures.style import template
from dstrun.compare.filters import where
from dstrun.compare.headlines import written
from dstrun.compare.labels import with_labels
from dstrun.compare.paper import published_rows
from dstrun.compare.report.sheet import markdown_table
from dstrun.methods import METHODS
from dstrun.runs.tasks import ACCURACY
from dstrun.system.files import sha256
from dstrun.system.run_files import RESULT_FILES

DOCS, RUNS = kept.DOCS, kept.RUNS
ROOT = DOCS.parent
PAGES = (
    ROOT / "README.md",
    *(
        DOCS / f"{name}.md"
        for name in (
            "alpha",
            "compare",
            "methods",
            "results",
            "recipes",
            "stability",
            "inference",
            "performance",
        )
    ),
)
BLOCK = re.compile(r"(<!-- \$ (\w+)(?: ([^\n]*))? -->\n)(.*?)(<!-- end -->)", re.S)


def take_over(folder: Path) -> None:
    """Copy the finished runs of a sweep, without weights, logs, and names of users and hosts."""
    for status_file in sorted(folder.glob("*/status.json")):
        status = json.loads(status_file.read_text())
        if status["state"] != "finished":
            continue
        there = RUNS / folder.name / status_file.parent.name
        there.mkdir(parents=True, exist_ok=True)
        for name in RESULT_FILES:
            shutil.copyfile(status_file.parent / name, there / name)
        config = yaml.safe_load((status_file.parent / "config.yaml").read_text())
        config["data"]["root"], config["outputs"] = "data", "outputs"
        (there / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        digests = {name: sha256(there / name) for name in RESULT_FILES}
        status |= {"owner": None, "git_commit": None, "files": digests}
        (there / "status.json").write_text(json.dumps(status, indent=2) + "\n")


def fill_page(page: Path, answer: Callable[[str], str]) -> str:
    """Return the page's text with the output of its commands and the figures of its claims.

    `answer` returns what dstrun prints for the words of a command. Raises ValueError for a sentence
    that is not true, or no longer in the page.
    """

    def put(block: re.Match[str]) -> str:
        text = TABLES[block[2]]() if block[2] in TABLES else answer(block[3])
        return f"{block[1]}\n{text.strip()}\n\n{block[5]}"

    figures = claims.CLAIMS.get(page.name, list)()
    return claims.fill_in(BLOCK.sub(put, page.read_text()), figures)


def output_of(words: str) -> str:
    """Return what `dstrun WORDS` prints at the top of the checkout."""
    command = [sys.executable, "-m", "dstrun", *shlex.split(words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def sizes() -> str:
    """Return the table of every exported network: kept parameters, bytes, largest difference."""
    rows = []
    for file, export in kept.exports().items():
        shrunk = f"{export['parameters_shrunk']:,}" if export["shrunk"] else ""
        rows.append(
            [
                file,
                f"{export['parameters_kept']:,} of {export['parameters']:,}",
                f"{export['multiply_adds_kept'] / export['multiply_adds']:.2%}",
                f"{export['bytes_dense']:,}",
                f"{export['bytes']:,}",
                f"{export['bytes'] / export['bytes_dense']:.1%}",
                shrunk,
                f"{export['images']:,}",
                f"{export['largest_difference']:.2g}",
                str(export["top1_differs"]),
            ]
        )
    heads = [
        "file",
        "parameters kept",
        "multiply-adds kept",
        "bytes of the dense file",
        "bytes",
        "of dense",
        "parameters shrunk to",
        "test images",
        "largest difference",
        "other classes",
    ]
    return markdown_table([heads, *rows])


def speeds() -> str:
    """Return the table of every timed network: ms of the dense one, and relative speeds."""
    rows = []
    for (file, threads, batch), times in kept.bench().iterrows():
        ratios = ["" if pd.isna(time) else f"{times['dense'] / time:.1f}" for time in times[1:]]
        rows.append([Path(file).stem, str(threads), str(batch), f"{times['dense']:.3g}", *ratios])
    return markdown_table(
        [["network", "threads", "batch", "dense, ms", *kept.bench().columns[1:]], *rows]
    )


def table1() -> str:
    """Return table 1 of the paper beside our runs by the paper's recipe and by ours."""
    sweeps = [kept.fractions(name) for name in ("table1", "best_table1")]
    rows = []
    for pair, ours in sweeps[0].groupby(["model.name", "data.name"], sort=False):
        paper = published_rows([pair]).query("method == 'DST' or method == 'dense (DST)'")
        paper = paper.assign(
            **{
                "reg.method": paper["density"].map(
                    lambda density: "dense" if density == 1 else "dst"
                )
            }
        )
        best = sweeps[1][sweeps[1]["model.name"] == pair[0]]
        rows.append([f"`{pair[0]}`", *(_arrow(some) for some in (paper, ours, best))])
    return markdown_table(
        [["network", "the paper", "the paper's recipe, here", "our recipe, here"], *rows]
    )


def _arrow(settings: pd.DataFrame) -> str:
    """Return a cell: accuracy dense → sparse at its density, and the number of runs if under 3."""
    words, counts = {}, {}
    for row in settings.to_dict("records"):
        words[row["reg.method"]] = written(ACCURACY, row["accuracy"], row["accuracy_std"])
        counts[row["reg.method"]] = int(row["runs"]) if pd.notna(row.get("runs")) else None
        if row["reg.method"] == "dst":
            kept = written(ACCURACY, row["density"], row["density_std"])
    few = [f"n = {n} {method}" for method, n in counts.items() if n is not None and n < 3]
    return f"{words.get('dense', 'not run')} → {words['dst']} at {kept}" + (
        f" ({', '.join(few)})" if few else ""
    )


def defaults() -> str:
    """Return the table of the options that each choice of `reg` sets, and where they come from."""
    rows = []
    for name in METHODS:
        file = ROOT / "conf" / "reg" / f"{name}.yaml"
        text = file.read_text()
        found = {key: value for key, value in yaml.safe_load(text).items() if key != "method"}
        values = " ".join(f"{key}={str(value).lower()}" for key, value in found.items())
        lines = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        source = " ".join(lines).replace("|", r"\|")
        rows.append([f"`{name}`", f"`{values}`" if values else "", source])
    return markdown_table([["`reg=`", "options of `reg` that it sets", "source"], *rows])


def gpu_tables(file: Path = RUNS / "gpu" / "results.json") -> dict[str, Callable[[], str]]:
    """Return the tables of a measurement on a GPU; without one they say that there is none."""
    content = json.loads(file.read_text()) if file.is_file() else {}
    made = runpy.run_path(str(ROOT / "benchmarks" / "gpu_table.py"))["TABLES"]
    return {f"gpu_{name}": partial(make, content) for name, make in made.items()}


TABLES = {
    "sizes": sizes,
    "speeds": speeds,
    "table1": table1,
    "defaults": defaults,
    **gpu_tables(),
}


def pictures() -> dict[str, Figure]:
    """Return each picture's figure, by the name of its file."""
    short, guarded = "model=vgg16 alpha=2e-3", "model=lenet5 method=dst seed=1"
    with_target, spread = (
        "model=wrn_16_8 rate=onecycle target_density>0",
        "method=dst seed=0 alpha<1e-3",
    )
    return {
        "figure3": against_alpha(kept.fractions("lenet_alpha")),
        "figure4": layer_density(*layers_of("figure4", "")),
        "figure5": layer_density(*layers_of("short_table2", short)),
        "figure7": final_density(*layers_of("short_table2", with_target)),
        "guard": layer_density(*layers_of("table1", guarded)),
        "density": layer_density(*layers_of("lenet_alpha", spread)),
    }


def layers_of(sweep: str, conditions: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the layers' rows and the runs, of which a figure of layers is made."""
    store = kept.store(sweep)
    runs = with_labels(where(store.runs, conditions))
    return store.layers(runs["run"]), runs


def draw(found: dict[str, Figure]) -> None:
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, figure in found.items():
            layout = figure["layout"] | {"template": template(dark=False), "paper_bgcolor": "white"}
            if layout.pop("updatemenus", None):  # buttons, and the space that they take
                layout |= {"height": layout["height"] - 50, "margin": layout["margin"] | {"t": 40}}
            page = browser.new_page(viewport={"width": 1100, "height": layout["height"]})
            page.set_content("<body style='margin:0'><div id=place></div></body>")
            page.add_script_tag(content=get_plotlyjs())
            page.evaluate(
                "([data, layout]) => Plotly.newPlot('place', data, layout, {staticPlot: true})",
                [json.loads(json.dumps(figure["data"], default=list)), layout],
            )
            page.wait_for_timeout(500)
            page.screenshot(path=DOCS / f"{name}.png")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--pictures", action="store_true")
    given = parser.parse_args()
    for folder in given.folders:
        take_over(folder)
    for page in PAGES:
        page.write_text(fill_page(page, output_of))
    if given.pictures:
        draw(pictures())


if __name__ == "__main__":
    main()
