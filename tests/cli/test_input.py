"""Bad input: exit code 2, one line with the option, its value and what is expected, no files."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from dstrun.cli.main import VERBS
from dstrun.config.command_line import normalize_words
from dstrun.config.overrides import normalize_override, words_for_hydra
from dstrun.config.stray_arguments import refuse_strays
from dstrun.config.values import parse_overrides
from dstrun.system.errors import InputError
from tests.helpers.commands import Command
from tests.helpers.data import made_up

BAD = [
    ("reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("+reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("++reg.alhpa=1", "reg.alhpa: there is no such option; did you mean reg.alpha?"),
    ("modle=vgg16", "modle: there is no such option; did you mean model"),
    ("model=vg16", "model: there is no 'vg16'; did you mean vgg16? (choices: deit_small, "),
    ("data=minst", "data: there is no 'minst'; did you mean mnist?"),
    ("experiment=bets_lenet_300_100", "did you mean best_lenet_300_100"),
    ("sweep=quik", "sweep: there is no 'quik'; did you mean quick?"),
    ("schedule=cosin", "schedule: there is no 'cosin'; did you mean cosine?"),
    ("reg=3", "reg: got 3, expected the name of a choice"),
    ("recipe=vgg16-cifar10", "recipe: it follows from model and data"),
    ("schedule.epochs=abc", "schedule.epochs: got 'abc', expected a whole number ≥ 0"),
    ("schedule.epochs=1.5", "schedule.epochs: got 1.5, expected a whole number ≥ 0"),
    ("schedule.epochs=-1", "schedule.epochs: got -1, expected a whole number ≥ 0"),
    (
        "schedule.milestones=[a]",
        "schedule.milestones: got 'a', expected a list of whole numbers ≥ 1",
    ),
    ("reg.alpha=-1", "reg.alpha: got -1.0, expected a number ≥ 0"),
    ("reg.alpha=nan", "reg.alpha: got nan, expected a number ≥ 0"),
    ("reg.alpha=1e-3,1e-4", "reg.alpha: got '1e-3,1e-4', expected a number ≥ 0; several need -m"),
    ("reg.floor=null", "reg.floor: got null, expected a number ≥ 0 and < 1"),
    ("reg.exclude=[fc9]", "reg.exclude: 'fc9' matches no layer; the layers are fc1, fc2, fc3"),
    ("device=cuda:77", "device: got 'cuda:77', expected auto or a device of this machine: cpu"),
    ("device=meta", "device: got 'meta', expected auto or a device of this machine: cpu"),
    (
        "schedule.compile=masks",
        "schedule.compile: got 'masks', expected one of off, mask, step; did you mean mask?",
    ),
    (
        "schedule.nesterov=true schedule.momentum=0",
        "schedule.nesterov: got true with schedule.momentum=0",
    ),
    (
        "reg=granet reg.density=0.5 reg.initial_density=0.1",
        "reg.initial_density: got 0.1 with reg.density=0.5, expected at least that",
    ),
    (
        "reg=snfs reg.density=0.5 schedule.momentum=0",
        "schedule.momentum: got 0 with reg=snfs, which grows weights by their momentum",
    ),
    ("reg=rigel", "reg: there is no 'rigel'; did you mean rigl? (choices: acdc, dense, dsr, "),
    ("reg.method=rigel", "reg: there is no 'rigel'; did you mean rigl? (choices: acdc, dense, "),
    ("reg.sparsity=0.95", "reg.sparsity: there is no such option; did you mean reg.density=0.05?"),
    ("sparsity=high", "sparsity: there is no such option; did you mean reg.density?"),
    ("reg=static", "reg.density: reg=static needs one, expected 0 < number < 1, such as "),
    (
        "reg=static reg.density=0.001",
        "reg.density: got 0.001, which keeps 267 of 266,200 weights; "
        "expected at least one for each of 410 rows, 0.0015",
    ),
    (
        "reg.density=0.1 reg.target_density=0.2",
        "reg.density: got 0.1 with reg.target_density=0.2, which is another word for it",
    ),
    ("reg.density=0.1 reg.alpha=0", "reg.alpha: got 0 with a target density, whose search for α"),
    ("reg=imp reg.density=0.1 reg.rounds=0", "reg.rounds: reg=imp needs a number of prunings"),
    ("reg=set reg.structure=2x4", "reg.structure: got '2x4', expected none, fan_in, or N:M such"),
    (
        "reg=rigl reg.structure=2:4 reg.density=0.3",
        "reg.density: got 0.3 with reg.structure=2:4, which keeps 0.5",
    ),
    (
        "reg=gmp reg.structure=2:4 model=lenet5",
        "reg.structure: got 2:4, and 4 does not divide the number of inputs of conv1 (1); "
        "reg.exclude leaves layers dense",
    ),
    (
        "reg=rigl reg.density=0.1 reg.layer_densities={fc9:0.5}",
        "reg.layer_densities: 'fc9' matches no layer; the layers are fc1, fc2, fc3",
    ),
    (
        "reg=dense reg.exclude=[fc*]",
        "reg.exclude: nothing to mask in this model; left dense: fc1.weight (excluded), ",
    ),
    ("model=lstm_a model.args.hidden=0", "model=lstm_a: hidden is 0, expected at least 1"),
    (
        "--experimental-rerun x.pickle",
        "--experimental-rerun: it runs code from a file; `dstrun rerun RUN` does not",
    ),
    ("device=gpu", "device: got 'gpu', expected auto or a device of this machine: cpu"),
    (
        "model.args.width=3",
        "model.args: lenet_300_100() got an unexpected keyword argument 'width'",
    ),
    ("data.args.width=3", "data.args: digits() got an unexpected keyword argument 'width'"),
    ("model.builder=lenet", "model.builder: there is no 'lenet'; did you mean lenet5"),
    ("data.mean=[0,0,0]", "data.mean: got 3 values, expected 1, the images have one channel"),
    (
        "data.validation=1e-9",
        "data.validation: 1e-09 of each class of 1438 images leaves none to hold out",
    ),
    (
        "data.root=${oc.env:NOT_SET_ANYWHERE}",
        "data.root: KeyError raised while resolving interpolation: "
        "\"Environment variable 'NOT_SET_ANYWHERE' not found",
    ),
    (
        "data=mnist data.root=nowhere",
        "data.root: MNIST is not there: expected its files in nowhere/MNIST/raw",
    ),
    ("data=folder data.root=nowhere", "data.root: there is no folder nowhere"),
    (
        "model=wrn_16_8 model.args.depth=17",
        "model=wrn_16_8: depth is 17 and width 8, expected depth 10, 16",
    ),
    ("init=nowhere", "init: there is no checkpoint nowhere/checkpoint.pt"),
    ("outputs=/proc/nowhere", "outputs: "),
    (
        "trian",
        "trian: neither a command (rerun, eval, report, figure, dashboard, export) nor KEY=VALUE",
    ),
    (
        "evla run",
        "evla: neither a command (rerun, eval, report, figure, dashboard, export) nor KEY=VALUE; "
        "did you mean eval?",
    ),
    ("rerun nowhere", "nowhere: expected the folder of a run, with a config.yaml in it"),
    ("eval nowhere", "nowhere: expected the folder of a run"),
    ("reg.alpha=[1", "reg.alpha: got '[1', expected a number ≥ 0"),
    ("~reg.alpha", "reg.alpha: "),
    (
        "data=folder data.root=my images",
        "images: a value with blanks needs quotes: 'data.root=my images'",
    ),
    ("-m seed=0, 1", "1: values are separated by commas without blanks: seed=0,1"),
    ("lr=0.1", "lr: there is no such option; did you mean schedule.lr=0.1?"),
    ("alpha=1e-4", "alpha: there is no such option; did you mean reg.alpha=1e-4?"),
    ("epochs=3", "epochs: there is no such option; did you mean schedule.epochs=3?"),
    ("learning_rate=0.1", "did you mean schedule.lr=0.1?"),
    ("schedule.optimizer=adam", "did you mean schedule.optimiser=adam?"),
    (
        "lr 0.1",
        "lr: neither a command (rerun, eval, report, figure, dashboard, export) nor KEY=VALUE; "
        "did you mean schedule.lr=0.1?",
    ),
    (
        "--lr 0.1",
        "--lr: there is no such flag; options are written KEY=VALUE; did you mean schedule.lr=0.1?",
    ),
    (
        "--lr=0.1",
        "--lr: there is no such flag; options are written KEY=VALUE; did you mean schedule.lr=0.1?",
    ),
    (
        "--multrun",
        "--multrun: there is no such flag; options are written KEY=VALUE; did you mean --multirun?",
    ),
    ("--cfg jbo", "--cfg: got jbo, expected job, hydra or all"),
    ("--cfg=jbo", "--cfg: got jbo, expected job, hydra or all"),
    ("--info=jbo", "--info=jbo: expected --info=all|config|defaults"),
    ("--multirun=3", "--multirun=3: expected --multirun alone"),
    ("--config-dir", "--config-dir: got nothing, expected a folder"),
    ("model", "model: expected model=VALUE, one of deit_small, "),
    (
        "seed=1 schedule.epochs",
        "schedule.epochs: expected schedule.epochs=VALUE, a whole number ≥ 0",
    ),
    ("seed:1", "seed:1: expected KEY=VALUE: seed=1"),
    ("=3", "=3: expected KEY=VALUE"),
    ("vgg16", "nor KEY=VALUE; did you mean model=vgg16?"),
    ("table1", "nor KEY=VALUE; did you mean sweep=table1?"),
    ("evaluate run", "nor KEY=VALUE; did you mean eval?"),
    ("seed=1 report", "report: a verb comes first: dstrun report …"),
    (
        "list",
        "list: `dstrun --help` lists models, data sets and options, `dstrun report` lists runs",
    ),
    ("run outputs/x", "outputs/x: neither a command"),
    ("sweep=sweeps/quik.yaml", "sweep: there is no 'quik'; did you mean quick?"),
    ("sweep=quick,table1", "sweep: got quick,table1, expected one sweep"),
    ("model=null", "model: got null, expected the name of a choice"),
    ("model=lenet5,vgg16", "model: got 'lenet5,vgg16', expected one choice; several need -m"),
    ("~model", "~model: a run needs one; model=CHOICE chooses another"),
    ("-m ~model=range(3)", "~model: a run needs one; model=CHOICE chooses another"),
    ("-m model=glob(zz*)", "model: got an empty axis, expected at least one value"),
    (
        "-m schedule.milestones=10,20",
        "got '10,20', which is several values here; one list is schedule.milestones=[10,20]",
    ),
    (
        "schedule.milestones=[10",
        "schedule.milestones: got '[10', expected a list of whole numbers ≥ 1",
    ),
    (
        "schedule.lr=0,1",
        "got '0,1', expected a number > 0; one number is written 0.1, several need -m",
    ),
    (
        "-m reg.alpha=0,0005 seed=0,1",
        "reg.alpha: got '0,0005', expected a number ≥ 0; one number is written 0.0005",
    ),
    (
        "data.train_limit=1,000",
        "expected a whole number ≥ 0; one number is written 1000, several need -m",
    ),
    ("schedule.lr=5%", "schedule.lr: got '5%', expected a number > 0"),
    ("schedule.epochs=1.5k%", "schedule.epochs: got '1.5k%', expected a whole number ≥ 0"),
    ("seed=true", "seed: got True, expected a whole number"),
    ("data.flip=maybe", "data.flip: got 'maybe', expected true or false"),
    ("name=range(3)", "several need -m; as text: 'name=\"range(3)\"'"),
    ("group=a,b", "group: got 'a,b', expected one word of letters"),
    ("name=${", "name: got text with ${ in it, which begins an interpolation such as ${seed}"),
    ("name=a\udce9", r"name: got 'a\udce9', expected text in UTF-8"),
    (
        "model.args.x=(a",
        "model.args.x: got '(a', which Hydra's grammar cannot read; as text: 'model.args.x=\"(a\"'",
    ),
    (
        "model.args.x=1,2",
        "model.args.x: got '1,2', expected one value, or a list in brackets; several need -m",
    ),
]

UNDERSTOOD = [  # what is typed, a space between words and _ for a space in one, and what Hydra gets
    ("train seed=1", "seed=1"),
    ("run", ""),
    ("model vgg16", "model=vgg16"),
    ("model=vgg16 data cifar10 seed 3", "model=vgg16 data=cifar10 seed=3"),
    ("--model vgg16 --data=cifar10", "model=vgg16 data=cifar10"),
    ("--seed 1 --dry-run -seed=2", "seed=1 dry_run=true seed=2"),
    ("--overwrite false --n-jobs 2", "overwrite=false n_jobs=2"),
    ("seed = 1 model= lenet5 data =mnist", "seed=1 model=lenet5 data=mnist"),
    ("seed_=_1", "seed=1"),
    ("reg.alpha= -1", "reg.alpha=-1"),
    ("name= seed=1", "name= seed=1"),
    ("SEED=1 Schedule.Batch-Size=32", "seed=1 schedule.batch_size=32"),
    ("'seed=1' \"data=mnist\"", "seed=1 data=mnist"),
    ("–m seed=0,1", "-m seed=0,1"),
    ("schedule.compile=false", "schedule.compile=off"),
    ("model.args={depth:11}", "++model.args={depth:11}"),
    ("seed=0,1 --multirun", "-m seed=0,1"),
    ("model=VGG16", "model=vgg16"),
    ("model=vgg-16 data=CIFAR-10 reg=DST", "model=vgg16 data=cifar10 reg=dst"),
    ("model=LeNet-300-100 data=FashionMNIST", "model=lenet_300_100 data=fashion_mnist"),
    ("-m model=VGG16,'lenet-5'", "-m model=vgg16,lenet5"),
    ("-m model=choice(VGG16,lenet5)", "-m model=vgg16,lenet5"),
    ("model='vgg16' data=“mnist”", "model=vgg16 data=mnist"),
    ("sweep=quick.yaml", "-m sweep=quick"),
    ("sweep=sweeps/quick.yaml", "-m sweep=quick"),
    ("experiment=conf/experiment/best_vgg16.yaml", "experiment=best_vgg16"),
    (
        "schedule.optimiser=SGD schedule.rate=one-cycle",
        "schedule.optimiser=sgd schedule.rate=onecycle",
    ),
    ("schedule.milestones=10,20", "schedule.milestones=[10,20]"),
    (
        "schedule.milestones=(10,_20) data.mean=0.5;0.4",
        "schedule.milestones=[10,20] data.mean=[0.5,0.4]",
    ),
    ("-m schedule.milestones=[10],[20,30]", "-m schedule.milestones=[10],[20,30]"),
    ("schedule.milestones=10 wandb.tags=a", "schedule.milestones=[10] wandb.tags=[a]"),
    ("reg.alpha=1E-4 schedule.lr=.1", "reg.alpha=1E-4 schedule.lr=.1"),
    ("reg.alpha=1e−4 schedule.lr=1×10^-4", "reg.alpha=0.0001 schedule.lr=0.0001"),
    ("reg.alpha=10^-4", "reg.alpha=0.0001"),
    ("-m reg.method=rigl,set", "-m reg=rigl,set"),  # with the defaults of their authors
    (
        "reg.target_density=5% data.validation=12.5%",
        "reg.target_density=0.05 data.validation=0.125",
    ),
    ("data.train_limit=10k schedule.epochs=1e2", "data.train_limit=10000 schedule.epochs=100"),
    ("model.args.width=(1,2)", None),
    ("-m seed=range(3)", "-m seed=range(3)"),
    ("reg.alpha=${schedule.lr}", "reg.alpha=${schedule.lr}"),
    ("--info seed=1", "--info=all seed=1"),
    ("seed=1 --info config", "--info=config seed=1"),
    ("seed=1 --cfg job model=lenet5 --package reg", "--cfg job --package reg seed=1 model=lenet5"),
]

TEXT = [  # what is typed for an option of text, and what it is
    ("outputs=/home/josé/out", "/home/josé/out"),
    ("data.root=/mnt/Drive (Personal)/x", "/mnt/Drive (Personal)/x"),
    ("data.root=/mnt/run=3/x", "/mnt/run=3/x"),
    ("data.root=/mnt/a,b", "/mnt/a,b"),
    ("init=outputs/run [1]/{x}", "outputs/run [1]/{x}"),
    ("name=it's fine", "it's fine"),
    ("name=#1", "#1"),
    ("name=[red]x[/red]", "[red]x[/red]"),
    ("name=a: b", "a: b"),
    ("name=1e10", "1e10"),
    ("group=123e456", "123e456"),
    ("group=007", "007"),
    ("group=true", "true"),
    ("group=1_0", "1_0"),
    ("name=inf", "inf"),
    ("name=C:\\new\\folder", "C:\\new\\folder"),
    ("name=\\\\server\\share", "\\\\server\\share"),
    ("name=ends in \\", "ends in \\"),
    ("name=-x", "-x"),
    ("name=null", None),
    ("name='null'", "null"),
    ('name="a b"', "a b"),
    ("name=a\\,b", "a,b"),  # Hydra's escape
    ("name=", ""),
    ("name=${seed}", "${seed}"),
    ("name=${seed} (x)", "${seed} (x)"),
    ("wandb.tags=[a b,1e10,007,true]", ["a b", "1e10", "007", "true"]),
    ("wandb.tags=a,b", ["a", "b"]),
    ("tracker=[TensorBoard,MLflow]", ["tensorboard", "mlflow"]),
    ("wandb.tags=['a,b',c#1]", ["a,b", "c#1"]),
    ("reg.exclude=[layer[0-9]*,conv?]", ["layer[0-9]*", "conv?"]),
    ("reg.exclude=layer[12]", ["layer[12]"]),
    ("reg.exclude=[]", []),
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


@pytest.mark.parametrize(("typed", "taken"), UNDERSTOOD, ids=[typed for typed, _ in UNDERSTOOD])
def test_what_can_mean_one_thing_is_understood(typed: str, taken: str | None) -> None:
    words = normalize_words(
        [word.replace("_=_", " = ").replace(",_", ", ") for word in typed.split()]
    )
    refuse_strays(words, tuple(VERBS))
    if taken is None:
        with pytest.raises(InputError):
            words_for_hydra(words)
    else:
        assert words_for_hydra(words) == taken.split()


@pytest.mark.parametrize(("word", "text"), TEXT, ids=[word for word, _ in TEXT])
def test_an_option_of_text_takes_it_as_typed(word: str, text: str | list[str] | None) -> None:
    assert parse_overrides([normalize_override(word, several=False)])[0].value() == text
    if word not in ("data.root=/mnt/a,b", "wandb.tags=a,b"):  # which -m takes for two values
        assert parse_overrides([normalize_override(word, several=True)])[0].value() == text


@pytest.mark.parametrize(
    ("word", "texts"),
    [
        ("group=1e10,123e456", ["1e10", "123e456"]),
        ("group=choice(1e10,007)", ["1e10", "007"]),
        ("name=a (b),'c,d',it's", ["a (b)", "c,d", "it's"]),
    ],
)
def test_several_texts_are_each_as_typed(word: str, texts: list[str]) -> None:
    (override,) = parse_overrides([normalize_override(word)])
    words = [
        parse_overrides([f"key={value}"])[0].value() for value in override.sweep_string_iterator()
    ]
    assert words == texts


def test_two_groups_named_after_revisions_are_two_folders(command: Command) -> None:
    said = command("-m", "group=1e10,123e456", "seed=0", "dry_run=true").out
    assert "outputs/1e10:" in said
    assert "outputs/123e456:" in said


@pytest.mark.parametrize(
    "words", ["--help", "-h", "help", "—help", "seed=1 --help", "model=vgg16 -h"]
)
def test_help_is_had_by_any_word_for_it(command: Command, words: str) -> None:
    outcome = command(*words.split())
    assert (outcome.code, outcome.out.startswith("dstrun trains sparse networks")) == (0, True)


@pytest.mark.parametrize("words", ["--version", "version", "-V", "--version seed=1"])
def test_the_version_is_ours(command: Command, words: str) -> None:
    assert command(*words.split()).out == f"{version('dstrun')}\n"


def test_a_verbs_help_is_had_through_help(command: Command) -> None:
    said = command("help", "rerun").out
    assert said == command("rerun", "--help").out == command("--help", "rerun").out != ""


def test_help_on_a_method_lists_its_options_with_their_values(command: Command) -> None:
    said = command("--help", "reg=RigL").out
    assert said == command("help", "seed=1", "reg.method=rigl").out
    words = [line.split()[:2] for line in said.splitlines() if re.match(r"  \w", line)]
    own = {"distribution": "erk", "every": "100", "drop": "0.3", "until": "0.75"}
    shown = dict(words)
    assert own.items() <= {key.removeprefix("reg."): value for key, value in shown.items()}.items()
    assert not shown.keys() & {"reg.method", "reg.alpha", "reg.scope", "seed"}
    assert "threshold_decay      1.0 " in command("help", "reg=str").out
    Path("conf/reg").mkdir(parents=True)
    Path("conf/reg/mine.yaml").write_text("method: rigl\nevery: 7\n")
    assert re.search("reg.every +7 ", command("--help", "reg=mine").out)
    unknown = command("--help", "reg=rigle")
    assert (unknown.code, unknown.err[:40]) == (2, "dstrun: reg: got 'rigle', expected one o")


def test_help_says_which_methods_an_option_is_for(command: Command) -> None:
    said = " ".join(command("--help").out.split())
    assert "so much at each) (reg.method=set, rigl, snfs and 2 more) reg.drop_schedule" in said
    assert "of a method of an installed package (other packages' methods) model" not in said


def test_home_is_found_where_no_shell_replaces_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    assert command("outputs=~/runs", "dry_run=true").out.startswith(
        f"{Path.cwd()}/home/runs/single/"
    )


@pytest.mark.parametrize("model", ["lenet5", "vgg16"])
def test_a_model_that_cannot_take_the_images(
    command: Command, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
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
    assert outcome.err.startswith(
        "dstrun: data.root: MNIST is damaged: root/MNIST/raw/train-images-idx3-ubyte is cut"
    )
    assert [path.name for path in Path().iterdir()] == ["root"]


def test_a_bad_value_in_a_grid_stops_it(command: Command) -> None:
    outcome = command("-m", "seed=0", "reg.alpha=-1,-2")
    assert (outcome.code, outcome.err) == (
        2,
        "dstrun: reg.alpha: got -1.0, expected a number ≥ 0\n",
    )
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("words", ["seed=0", "report", "eval run"])
def test_a_current_folder_that_is_gone_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    answer = command(*words.split())
    assert (answer.code, answer.err) == (
        2,
        "dstrun: the current folder has been removed; `cd` to one that is there\n",
    )


def test_a_run_is_no_folder_of_configs(command: Command) -> None:
    Path("run").mkdir()
    Path("run/status.json").touch()
    outcome = command("--config-dir", "run")
    assert (outcome.code, "run is a run, and its config would not be used" in outcome.err) == (
        2,
        True,
    )


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
    outcome = (
        command("model=lenet5", "data=mnist") if group == "recipe" else command(f"{group}=mine")
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert (
        outcome.err == f"dstrun: {group}: {file} must begin with the line `# @package _global_`\n"
    )


def test_causes_that_go_round_in_a_ring_end(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set OC_CAUSE, with which OmegaConf's causes form a circle, as in a debugger."""
    monkeypatch.setenv("OC_CAUSE", "1")
    outcome = command("schedule.milestones=[a]")
    line = "dstrun: schedule.milestones: got 'a', expected a list of whole numbers ≥ 1\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", line)


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
    Path("conf/experiment/plain.yaml").write_text(
        "# @package _global_\nschedule:\n  compile: off\n"
    )
    assert "new" in command("experiment=plain", "dry_run=true").out


@pytest.mark.parametrize("launcher", ["slurm", "submitit_local", "ray", "ray_cluster"])
def test_a_launcher_whose_package_is_missing_says_which(command: Command, launcher: str) -> None:
    package = "ray" if "ray" in launcher else "submitit"
    if find_spec(f"hydra_plugins.hydra_{package}_launcher"):
        pytest.skip("it is installed")
    extra = "ray" if package == "ray" else "slurm"
    outcome = command("-m", f"hydra/launcher={launcher}", "seed=0")
    assert (outcome.code, outcome.err) == (
        2,
        "dstrun: hydra/launcher: needs a package that is not installed: "
        f"pip install 'dstrun[{extra}]'\n",
    )
