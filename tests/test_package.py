"""The installed package: conf and sweeps in the wheel, plugins, help, agreement with the docs."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import options
import pytest
from setuptools import Distribution

import dstrun
from dstrun.config.groups import packaged_folder
from tests.helpers.commands import Command
from tests.helpers.least import least_versions
from tests.helpers.runs import LONG, QUICK, assert_broken_equals_whole, only_run, rows, stop_at

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the unpacked wheel, as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(pip, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_all_of_src_conf_and_sweeps_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask setuptools for the files of a wheel, by pyproject.toml alone."""
    monkeypatch.chdir(ROOT)
    project = Distribution({"script_name": "setup.py"})
    project.parse_config_files(["pyproject.toml"])
    project.include_package_data = False  # else setuptools expects a MANIFEST.in
    packing = project.get_command_obj("build_py")
    packing.ensure_finalized()
    packed = {
        str(Path(file).relative_to(packing.build_lib))
        for file in packing.get_outputs(include_bytecode=False)
    }
    there = {"src": "", "conf": "dstrun/conf/", "sweeps": "dstrun/sweeps/"}
    assert packed == {
        f"{place}{name}" for folder, place in there.items() for name in files_below(ROOT / folder)
    }


def files_below(folder: Path) -> list[str]:
    """Return the paths below a folder, without files that Python and pip create there."""
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return [str(file) for file in files if not {"__pycache__", "dstrun.egg-info"} & {*file.parts}]


@pytest.mark.slow
def test_the_wheel_holds_every_config_and_sweep(wheel: Path) -> None:
    for folder in ("conf", "sweeps"):
        there = {
            path.relative_to(wheel / "dstrun" / folder)
            for path in (wheel / "dstrun" / folder).rglob("*.yaml")
        }
        assert there == {
            path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.yaml")
        }
    assert not list(wheel.glob("tests*"))
    assets = "dstrun/compare/dashboard/assets"
    packed = {path.name for path in (wheel / assets).iterdir()}
    assert packed == {path.name for path in (ROOT / "src" / assets).iterdir()}


@pytest.mark.slow
def test_the_wheels_command_composes_from_any_folder(wheel: Path) -> None:
    command = [sys.executable, "-m", "dstrun", "--cfg", "job", "model=vgg16", "data=cifar10"]
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(wheel)},
    )
    assert "alpha: 5.0e-06" in answer.stdout
    script = "import dstrun.config.groups as c; print(c.packaged_folder('sweeps'))"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        check=True,
    )
    assert answer.stdout.strip() == str(wheel / "dstrun" / "sweeps")


def test_a_model_and_a_data_set_of_another_package(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train the example of docs/extending.md as an installed package."""
    install("stripes", monkeypatch)
    outcome = command("model=tiny", "data=stripes", "model.args.width=8", "reg.target_density=0.1")
    note = (
        "dstrun: note: no recipe for tiny on stripes: base values are used "
        "(lr 0.01, alpha 5e-4, 20 epochs)\n"
    )
    assert (outcome.code, outcome.err) == (0, note)
    (folder,) = Path("outputs/single").iterdir()
    assert folder.name.startswith("tiny-stripes-d1e-1-s0-")
    found = json.loads((folder / "summary.json").read_text())
    assert (found["test_accuracy"], found["kept"], found["total"]) == (1, 53, 528), (
        "as docs/extending.md says: all, and 10 %"
    )
    assert "tiny" in command("model=tinny").err


SALIENCY = ["reg=saliency", "reg.density=0.1", "reg.every=4", "reg.args.power=0.5"]


def test_a_method_of_another_package(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with that of the README."""
    install("saliency", monkeypatch)
    trained = command(*QUICK, *SALIENCY)
    assert (trained.code, trained.err) == (0, "")
    assert "saliency, density 10.00% (erk), masks move every 4 steps to 75% of" in trained.out
    run = only_run()
    assert run.name.startswith("lenet_300_100-digits-saliency-d1e-1-s0-")
    assert sum(int(row["grown"]) for row in rows(run / "layers.csv")[3:]) > 1000
    assert json.loads((run / "summary.json").read_text())["kept"] == 26_620
    assert "did you mean saliency" in command("reg=salency").err
    other = command(*QUICK, *SALIENCY, "reg.args.powr=0.5")
    assert (other.code, other.err.count("'powr'")) == (2, 1)


def test_defaults_of_a_method_of_another_package_are_those_of_its_class(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saliency hands its options on to RigL, and that to SET, static and their base."""
    install("saliency", monkeypatch)
    shown = command("reg=saliency", "reg.density=0.1", "--cfg", "job").out
    for line in ("every: 100", "drop: 0.3", "drop_schedule: cosine", "until: 0.75"):
        assert f"\n  {line}\n" in shown
    rare = command(*QUICK, "reg=saliency", "reg.density=0.1", "reg.every=0")
    assert "masks move between epochs to 75% of the run" in rare.out


@pytest.mark.slow
def test_a_method_of_another_package_does_what_dstruns_own_do(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop, resume, sweep, report, evaluate and export."""
    install("saliency", monkeypatch)
    words = [*LONG, *SALIENCY]
    assert command(*words, "group=whole").code == 0
    stop_at(command, monkeypatch, 14, signal.SIGTERM, words)
    assert command(*words, "group=broken").code == 0
    assert_broken_equals_whole()
    run = only_run("outputs/whole")
    assert "density 10.00%" in command("eval", str(run), "threads=1").out
    assert command("export", str(run), "--to", "few.safetensors", "--format", "sparse").code == 0
    short = [*words, "schedule.epochs=1", "n_jobs=1"]
    swept = command("-m", *short, "reg=set,saliency", "reg.density=0.2,0.1")
    assert (swept.code, len([*Path("outputs/grid").glob("*/summary.json")])) == (0, 4)
    assert "saliency" in command("report", "outputs/grid").out
    assert "saliency" in command("--help").out


def test_the_example_of_a_method_is_short() -> None:
    (code,) = shown_files("saliency.py")
    assert len([*code.splitlines(), *pyproject("saliency").splitlines()]) < 60


def install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a package of the documents as pip would."""
    (source,) = shown_files(f"{name}.py")
    Path(f"{name}.py").write_text(source)
    metadata = Path(f"{name}-0.1.dist-info")
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    project = pyproject(name)
    entry_points = project[project.index("[project.entry-points") :]
    entry_points = entry_points.replace("project.entry-points.", "").replace('"', "")
    (metadata / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(sys.modules, name, raising=False)


def pyproject(name: str) -> str:
    """Return the `pyproject.toml` that is shown for a package."""
    return next(shown for shown in shown_files("pyproject.toml") if f'name = "{name}"' in shown)


def shown_files(name: str) -> list[str]:
    """Return the fenced blocks of the documents whose first line is the file's name."""
    pages = [ROOT / "README.md", ROOT / "docs" / "extending.md"]
    text = "\n".join(page.read_text() for page in pages)
    return [block[: block.index("```")] for block in text.split(f"# {name}\n")[1:]]


def test_a_users_sweep_is_found(command: Command) -> None:
    Path("sweeps").mkdir()
    Path("sweeps/mine.yaml").write_text(
        "# @package _global_\ngroup: mine\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    outcome = command("sweep=mine", "dry_run=true")
    assert (outcome.code, outcome.out) == (
        0,
        "outputs/mine:\n  seed 0  new\n  seed 1  new\n2 runs, 2 to do\n",
    )


def test_help_shows_verbs_choices_and_options(command: Command) -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("name: mine")
    said = command("--help").out
    for word in (
        "dstrun rerun RUN",
        "dstrun report [PATH ...]",
        "dstrun dashboard [PATH ...]",
        "lenet5, lenet_300_100, lstm_a",
        "quick",
        "best_",
        "Weight α of the penalty",
        "mine",
    ):
        assert word in said


def test_the_version_is_dstruns() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "dstrun", "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == dstrun.__version__
    assert "sparsify" in dir(dstrun)


@pytest.mark.parametrize("verb", ["rerun", "eval"])
def test_a_verb_has_help(command: Command, verb: str) -> None:
    assert f"dstrun {verb} RUN" in command(verb, "--help").out


def test_the_shell_completes_keys_and_choices(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def completed(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        return command("-sc", "query=bash").out.split()

    assert completed("dstrun model=l") == [
        f"model={name}" for name in ("lenet5", "lenet_300_100", "lstm_a", "lstm_b")
    ]
    assert "reg.alpha=" in completed("dstrun reg.al")
    assert completed("dstrun sweep=q") == ["sweep=quick"]


def test_where_conf_is_found_in_a_checkout() -> None:
    assert packaged_folder("conf") == ROOT / "conf"


def test_the_page_of_options_is_up_to_date() -> None:
    assert options.page() == (ROOT / "docs" / "options.md").read_text(), "make docs"


def test_the_least_versions_are_those_of_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = least_versions(project)
    assert {"torch==2.11", "omegaconf==2.3", "optuna==4", "pytest==9.2"} <= set(least)
    assert (
        len(least)
        == len(project["dependencies"])
        + sum(map(len, project["optional-dependencies"].values()))
        - 1
    )
    with pytest.raises(ValueError, match="'torch'"):
        least_versions({"name": "dstrun", "dependencies": ["torch"], "optional-dependencies": {}})
