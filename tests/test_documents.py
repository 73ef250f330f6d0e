"""Commands in the documents run as they are written, and their figures are those of the runs.

`make commands` runs everything in a shell, except what is listed in EXCEPTIONS. `make test` only
parses the commands: bash all of them, dstrun its own. Figures in the pages are computed again.
"""

import re
import runpy
import shlex
import subprocess
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import claims
import kept
import pytest
import results

from dstrun.cli import arguments, view_arguments
from dstrun.compare.report import report
from dstrun.compare.run_tables import Store
from dstrun.config.command_line import normalize_words
from dstrun.config.groups import choices, is_of_package
from dstrun.config.options import GROUPS
from dstrun.config.overrides import words_for_hydra
from tests.helpers.blocks import Step, steps_of
from tests.helpers.commands import Command
from tests.helpers.folders import leave, status
from tests.helpers.sweeps import RUNS
from tests.helpers.walk import Walk

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

EXCEPTIONS = {
    "make *": "a target of the Makefile, which a test checks; CI runs three on a clone",
    "python benchmarks/epoch.py --authors *": "needs the authors' code; see test_benchmarks.py",
    "python benchmarks/dashboard.py *": "needs Chromium; test_browser.py runs it with few runs",
    "python benchmarks/gpu.py --parts *": "needs a GPU",
    "python benchmarks/gpu.py --device cpu --tiny *": "takes minutes; see test_gpu_kit.py",
    "python -m tests.helpers.fake_*": "takes minutes; test_fake_cuda.py, test_generated_code.py",
    "bash build/gpu*": "on a machine with a GPU; a test is in test_gpu_kit.py",
    "dstrun sweep=* hydra/launcher=slurm *": "needs SLURM",
    "dstrun sweep=gpt_text *": "needs a text that is no part of the repository",
    "dstrun sweep=table3 * devices=*": "needs ImageNet and GPUs",
    "dstrun sweep=* hydra/launcher=ray_cluster *": "needs a Ray cluster",
    "pip install wandb-workspaces": "a download",
    "apt-get download bible-kjv *": "a download, of Debian",
    "for file in bible-kjv*": "needs that download",
    "mkdir -p texts/kjv *": "needs that download",
    "dstrun model=gpt data=text *": "trains for minutes; see test_text_runs.py",
    "pip install '.[tensorboard*": "a download; dev has two of them, so CI runs what they show",
    "tensorboard --logdir *": "a server",
    "mlflow ui *": "a server",
    "TRACKIO_DIR=* trackio show": "a server",
    "python docs/wandb_workspace.py ENTITY PROJECT": "needs a W&B account; a test is below",
    "wandb sync *": "uploads to W&B's server",
    "wandb leet *": "fills a terminal until it is closed",
    "wandb sweep *": "needs W&B's server",
    "wandb agent *": "needs W&B's server",
}  # pattern of fnmatch for a command: reason why it is not run


def why_not(step: Step) -> str | None:
    """Return the entry of EXCEPTIONS that matches a command, if any."""
    return next(
        (
            entry
            for entry in EXCEPTIONS
            if step.kind == "shell" and fnmatchcase(step.command, entry)
        ),
        None,
    )


def steps(page: Path) -> list[Step]:
    return [step for step in steps_of(page) if why_not(step) is None]


def test_every_command_is_one_that_a_shell_can_read() -> None:
    """Catch, for example, `seed=range(5)` without quotes."""
    commands = [step for page in PAGES for step in steps_of(page) if step.kind == "shell"]
    script = "".join(f"function _{at} {{\n{step.text}\n}}\n" for at, step in enumerate(commands))
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


VERBS = {
    "report": view_arguments.parse_report,
    "figure": view_arguments.parse_figure,
    "dashboard": view_arguments.parse_dashboard,
    "rerun": arguments.parse_rerun,
    "eval": arguments.parse_eval,
    "export": arguments.parse_export,
}
OF_A_PAGE = ("tiny", "stripes", "saliency")  # of the packages that are shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_dstruns_has_verbs_options_and_choices_that_there_are(page: Path) -> None:
    run = leave(Path("outputs/single"))
    for step in steps_of(page):
        if step.kind != "shell" or not step.command.startswith("dstrun"):
            continue
        _, *words = shlex.split(step.text.replace("RUN", str(run)), comments=True)
        if words and words[0] in VERBS:
            VERBS[words[0]](words[1:])
            continue
        for word in words_for_hydra(normalize_words(words)):
            group, _, name = word.partition("=")
            known = {*choices(group), *OF_A_PAGE} if group in GROUPS else set()
            for one in name.split(",") if group in GROUPS else []:
                assert one in known or is_of_package(group, one.strip("'")), step


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if steps(page)], ids=lambda page: page.name
)
def test_everything_on_a_page_does_what_it_says(page: Path) -> None:
    walk = Walk()
    for step in steps(page):
        walk.take(step)


@pytest.mark.slow
def test_the_output_shown_of_the_first_command_and_of_the_loop_is_what_they_print(
    command: Command, capfd: Any
) -> None:
    """Compare figures to a tenth, without speed and time: they differ between machines in the last
    bits.
    """
    readme, library = (ROOT / "README.md").read_text(), (DOCS / "library.md").read_text()
    (first,) = re.findall(r"```text\n(outputs/single/.*?)```", readme, re.DOTALL)
    ((code, printed),) = re.findall(
        r"```python\n(import dstrun\n.*?)```\n\n```text\n(.*?)```", library, re.DOTALL
    )
    exec(code, {})
    for shown, said in ((printed, capfd.readouterr().out), (first, command().out)):
        said = re.sub(r"(epoch  2/20.*\n)(?:epoch.*\n)*(?=epoch 20/20)", r"\1…\n", said)
        words, numbers = zip(*(apart(lines) for lines in (shown, said)), strict=True)
        assert words[0] == words[1]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.1)


def apart(lines: str) -> tuple[str, list[float]]:
    """Split the output of a command into its text and its figures.

    Bar charts are dropped from the text; threads, speed and time from the figures.
    """
    lines = re.sub(r"\d+ threads?|[\d,]+ images/s.*|\d+ s$|[▁-█]", "", lines, flags=re.MULTILINE)
    return re.sub(r" *[\d.,]+", " #", lines), [
        float(n.replace(",", "")) for n in re.findall(r"\d[\d.,]*\d|\d", lines)
    ]


def test_the_list_of_exceptions_has_only_what_documents_have() -> None:
    """Print, with -s, how many commands are run and how many are not."""
    everything = [step for page in PAGES for step in steps_of(page)]
    excepted = Counter(why_not(step) for step in everything)
    assert sorted(EXCEPTIONS) == sorted(entry for entry in excepted if entry)
    kinds = Counter(step.kind for step in everything if why_not(step) is None)
    blocks = f"{kinds['python']} blocks of Python, {kinds['file']} files"
    print(f"\nrun: {kinds['shell']} commands, {blocks}")
    print(f"not run: {excepted.total() - excepted[None]}")
    for entry, reason in EXCEPTIONS.items():
        print(f"{excepted[entry]:4}  {entry:50} {reason}")


def test_what_documents_make_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = {
        step.command.split()[1]
        for page in PAGES
        for step in steps_of(page)
        if step.command.startswith("make ")
    }
    assert made <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_heading_of_the_checkout(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(page: Path) -> list[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_file_that_a_page_names_exists(page: Path) -> None:
    """Search names below the checkout, src/dstrun, docs and tests; skip a page's own examples."""
    own = {step.name for step in steps_of(page) if step.kind == "file"}
    for name in set(re.findall(r"`([\w/]+\.py)`", page.read_text())) - own:
        places = (ROOT, ROOT / "src/dstrun", DOCS)
        named_test = list((ROOT / "tests").rglob(name))
        assert named_test or any((place / name).is_file() for place in places), name


def test_the_table_of_sweeps_has_their_numbers_of_runs() -> None:
    lines = re.findall(
        r"^\| ((?:`\w+` ?)+)\|.*\| (\d+)(?: each)? \|$",
        (DOCS / "sweeps.md").read_text(),
        re.MULTILINE,
    )
    assert {
        name: int(count) for names, count in lines for name in re.findall(r"\w+", names)
    } == RUNS
    assert f"sweeps/quick.yaml: {RUNS['quick']} runs" in (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pydantic, from the package
def test_the_workspace_for_wandb_has_the_dashboards_views() -> None:
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
    workspace = runpy.run_path(str(DOCS / "wandb_workspace.py"))["workspace"]("me", "mine")
    assert {section.name: len(section.panels) for section in workspace.sections} == {
        "Compare": 4,
        "Layers": 3,
        "Training": 3,
    }
    assert workspace.sections[1].panels[0].metric_regex == r"density/\d+\..*"


@pytest.mark.slow  # .ci/run runs it: it reads all of docs/runs
def test_results_and_what_is_said_of_them_are_what_the_runs_come_to(
    command: Command, monkeypatch: Any
) -> None:
    """Compute every table and every claim again; each folder of runs is read once."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(report, "Store", lambda paths: kept.store(paths[0].name))
    for page in results.PAGES:
        filled = results.fill_page(page, lambda words: command(*shlex.split(words)).out)
        changed = [
            line
            for line in zip(page.read_text().splitlines(), filled.splitlines(), strict=True)
            if len({*line}) > 1
        ]
        assert not changed, "make docs"


PAGE = (
    "A page.\n\n- LeNet keeps 8.55 % of its\n"
    "  weights, and loses −0.29 points, in all three runs.\n"
)


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        (("LeNet keeps {:.2f} % of its weights", 8.554), PAGE),
        (
            ("LeNet keeps {:.1f} % of its weights, and loses {:.0f} points", 12.34, -1.0),
            PAGE.replace("8.55", "12.3").replace("−0.29", "−1"),
        ),
        (("in all {} runs", "six"), PAGE.replace("three", "six")),
        (("loses {:.2f} points", -0.29, True), PAGE),
    ],
)
def test_a_claims_values_are_written_into_the_page(claim: claims.Claim, text: str) -> None:
    assert claims.fill_in(PAGE, [claim]) == text


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (("in all three runs", False), "not true: in all three runs"),
        (
            ("LeNet holds {:.2f} % of its weights", 1.0),
            "in the page 0 times: LeNet holds {:.2f} % of its weights 1.00",
        ),
        (("s", True), "in the page 7 times: s"),
    ],
)
def test_a_claim_that_is_not_true_or_not_there_is_told(claim: claims.Claim, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        claims.fill_in(PAGE, [claim])


def test_what_is_taken_over_of_runs_tells_nothing_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave(Path("outputs/mine"), data__root="/home/me/data", outputs="/home/me/outputs")
    leave(Path("outputs/mine"), seed=1, state="interrupted")
    (run,) = Path("outputs/mine").glob("*-s0-*")
    status(run, owner={"host": "mine", "pid": 1}, git_commit="abc")
    monkeypatch.setattr(results, "RUNS", Path("runs"))
    results.take_over(Path("outputs/mine"))
    (taken,) = Path("runs/mine").iterdir()
    assert sorted(file.name for file in taken.iterdir()) == [
        "config.yaml",
        "layers.csv",
        "metrics.csv",
        "status.json",
        "summary.json",
    ]
    assert not any(
        word in file.read_text()
        for file in taken.iterdir()
        for word in ("/home/me", '"mine"', "abc")
    )
    assert Store([Path("runs")]).runs.loc[f"mine/{run.name}", "state"] == "finished"
