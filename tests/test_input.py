"""Bad input: one line that names the option, what came and what was expected; exit code 2; nothing left behind."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import Command, made_up

BAD = [
    ("reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("+reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("++reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("modle=vgg16", "modle: there is no such option; did you mean model"),
    ("model=vg16", "model: there is no 'vg16'; did you mean vgg16? (choices: lenet5, "),
    ("data=minst", "data: there is no 'minst'; did you mean mnist?"),
    ("experiment=bets_lenet_300_100", "did you mean best_lenet_300_100?"),
    ("sweep=quik", "sweep: there is no 'quik'; did you mean quick?"),
    ("schedule=cosin", "schedule: there is no 'cosin'; did you mean cosine?"),
    ("reg=3", "reg: got 3, expected the name of a choice"),
    ("recipe=vgg16-cifar10", "recipe: it follows from model and data"),
    ("schedule.epochs=abc", "schedule.epochs: got 'abc', expected a whole number ≥ 0"),
    ("schedule.epochs=1.5", "schedule.epochs: got 1.5, expected a whole number ≥ 0"),
    ("schedule.epochs=-1", "schedule.epochs: got -1, expected a whole number ≥ 0"),
    ("schedule.milestones=[a]", "schedule.milestones: got 'a', expected a list of whole numbers ≥ 1"),
    ("reg.alpha=-1", "reg.alpha: got -1.0, expected a number ≥ 0"),
    ("reg.alpha=nan", "reg.alpha: got nan, expected a number ≥ 0"),
    ("reg.alpha=1e-3,1e-4", "reg.alpha: got '1e-3,1e-4', expected a number ≥ 0; several need -m"),
    ("reg.floor=null", "reg.floor: got null, expected a number ≥ 0 and < 1"),
    ("reg.exclude=[fc9]", "reg.exclude: 'fc9' matches no layer; the layers are fc1, fc2, fc3"),
    ("device=cuda:77", "device: got 'cuda:77', expected auto or a device of this machine: cpu"),
    ("device=meta", "device: got 'meta', expected auto or a device of this machine: cpu"),
    ("schedule.compile=masks", "schedule.compile: got 'masks', expected one of off, mask, step; did you mean mask?"),
    ("schedule.nesterov=true schedule.momentum=0", "schedule.nesterov: got true with schedule.momentum=0"),
    ("reg=dense reg.exclude=[fc*]", "reg.exclude: nothing to mask in this model; left dense: fc1.weight (excluded), "),
    ("model=lstm_a model.args.hidden=0", "model=lstm_a: hidden is 0, expected at least 1"),
    ("--experimental-rerun x.pickle", "--experimental-rerun: it runs what a file holds; `dstrun rerun RUN` does not"),
    ("device=gpu", "device: got 'gpu', expected auto or a device of this machine: cpu"),
    ("model.args.width=3", "model.args: lenet_300_100() got an unexpected keyword argument 'width'"),
    ("data.args.width=3", "data.args: digits() got an unexpected keyword argument 'width'"),
    ("model.builder=lenet", "model.builder: there is no 'lenet'; did you mean lenet5"),
    ("data.mean=[0,0,0]", "data.mean: got 3 values, expected 1, the images have one channel"),
    ("data.validation=1e-9", "data.validation: 1e-09 of each class of 1438 images leaves none to hold out"),
    (
        "data.root=${oc.env:NOT_SET_ANYWHERE}",
        "data.root: KeyError raised while resolving interpolation: \"Environment variable 'NOT_SET_ANYWHERE' not found",
    ),
    ("data=mnist data.root=nowhere", "data.root: MNIST is not there: expected its files in nowhere/MNIST/raw"),
    ("data=folder data.root=nowhere", "data.root: there is no folder nowhere"),
    ("model=wrn_16_8 model.args.depth=17", "model=wrn_16_8: depth is 17 and width 8, expected depth 10, 16"),
    ("init=nowhere", "init: there is no checkpoint nowhere/checkpoint.pt"),
    ("outputs=/proc/nowhere", "outputs: "),
    ("trian", "trian: neither a verb (rerun, eval, report, dashboard, export) nor KEY=VALUE"),
    ("evla run", "evla: neither a verb (rerun, eval, report, dashboard, export) nor KEY=VALUE; did you mean eval?"),
    ("rerun nowhere", "nowhere: expected the folder of a run, with a config.yaml in it"),
    ("eval nowhere", "nowhere: expected the folder of a run"),
    ("reg.alpha=[1", "reg.alpha=[1: expected KEY=VALUE"),
    ("~reg.alpha", "reg.alpha: "),
]


@pytest.mark.parametrize(("words", "line"), BAD, ids=[words for words, _ in BAD])
def test_one_line_and_exit_code_2(command: Command, words: str, line: str) -> None:
    outcome = command(*words.split())
    assert outcome.code == 2
    assert outcome.out == ""
    (said,) = outcome.err.splitlines()
    assert said.startswith("dstrun: ")
    assert line in said
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("model", ["lenet5", "vgg16"])
def test_a_model_that_cannot_take_the_images(command: Command, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    from dstrun.data import BUILDERS

    monkeypatch.setitem(BUILDERS, "mnist", lambda root, **_: made_up((1, 8, 8)))
    outcome = command(f"model={model}", "data=mnist")
    assert outcome.code == 2
    assert f"model={model}: images are 8×8" in outcome.err
    assert list(Path().iterdir()) == []


def test_a_damaged_data_root(command: Command) -> None:
    Path("root/MNIST/raw").mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        Path(f"root/MNIST/raw/{name}-ubyte").write_bytes(b"\0" * 40)
    outcome = command("data=mnist", "data.root=root")
    assert outcome.code == 2
    assert outcome.err.startswith("dstrun: data.root: MNIST is damaged: root/MNIST/raw/train-images-idx3-ubyte is cut")
    assert [path.name for path in Path().iterdir()] == ["root"]


def test_a_bad_value_in_a_grid_stops_it(command: Command) -> None:
    outcome = command("-m", "seed=0", "reg.alpha=-1,-2")
    assert (outcome.code, outcome.err) == (2, "dstrun: reg.alpha: got -1.0, expected a number ≥ 0\n")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("words", ["seed=0", "report", "eval run"])
def test_a_current_folder_that_is_gone_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    answer = command(*words.split())
    assert (answer.code, answer.err) == (2, "dstrun: the current folder has been removed; `cd` to one that is there\n")


def test_a_run_is_no_folder_of_configs(command: Command) -> None:
    Path("run").mkdir()
    Path("run/status.json").touch()
    outcome = command("--config-dir", "run")
    assert (outcome.code, "run is a run, its config would not be used" in outcome.err) == (2, True)


def test_a_typo_in_a_file_of_the_user_is_named(command: Command) -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\nreg:\n  alhpa: 1\n")
    outcome = command("experiment=mine")
    assert outcome.code == 2
    assert outcome.err == "dstrun: reg.alhpa: there is no such option; did you mean reg.alpha?\n"


@pytest.mark.parametrize("group", ["experiment", "recipe", "sweep"])
def test_a_file_of_the_user_without_its_first_line_is_told_so(command: Command, group: str) -> None:
    file = {"recipe": "conf/recipe/lenet5-mnist.yaml", "sweep": "sweeps/mine.yaml"}.get(
        group, "conf/experiment/mine.yaml"
    )
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text("seed: 1\n")
    outcome = command("model=lenet5", "data=mnist") if group == "recipe" else command(f"{group}=mine")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"dstrun: {group}: its file must begin with the line `# @package _global_`\n"


def test_yaml_that_is_none_is_one_line(command: Command) -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/broken.yaml").write_text("name: [oops\n")
    outcome = command("model=broken")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "broken.yaml" in line


def test_the_traceback_is_there_for_who_asks() -> None:
    command = [sys.executable, "-m", "dstrun", "reg.alpha=-1"]
    environment = {**os.environ, "HYDRA_FULL_ERROR": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 2
    assert "Traceback" in answer.stderr
    assert "InputError: reg.alpha: got -1.0" in answer.stderr


def test_compiling_without_a_compiler_is_refused_before_anything_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    ended = command("schedule.compile=step")
    assert ended.code == 2
    assert ended.err == (
        "dstrun: schedule.compile: got 'step', which needs a C++ compiler (no-such-compiler);"
        " schedule.compile=off does not\n"
    )
    assert not Path("outputs").exists()


def test_a_bare_off_in_yaml_is_the_word_off(command: Command) -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/plain.yaml").write_text("# @package _global_\nschedule:\n  compile: off\n")
    assert "new" in command("experiment=plain", "dry_run=true").out


@pytest.mark.parametrize("launcher", ["slurm", "submitit_local", "ray", "ray_cluster"])
def test_a_launcher_whose_package_is_missing_says_which(command: Command, launcher: str) -> None:
    package = "ray" if "ray" in launcher else "submitit"
    if find_spec(f"hydra_plugins.hydra_{package}_launcher"):
        pytest.skip("it is installed")
    extra = "ray" if package == "ray" else "slurm"
    outcome = command("-m", f"hydra/launcher={launcher}", "seed=0")
    assert (outcome.code, outcome.err) == (
        2, f"dstrun: hydra/launcher: needs a package that is not installed: pip install 'dstrun[{extra}]'\n",
    )  # fmt: skip
