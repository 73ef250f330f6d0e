"""The run that a path means, the place of a rerun, and the help of the verbs."""

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from dstrun.cli.arguments import parse_eval, parse_export, parse_rerun
from dstrun.cli.find_run import find_run
from dstrun.cli.main import VERBS
from dstrun.cli.rerun import place_of
from dstrun.system.errors import InputError
from tests.helpers.commands import Command
from tests.helpers.folders import leave


def test_a_run_is_found_by_its_folder_a_file_in_it_or_the_folder_above_it_alone() -> None:
    run = leave(Path("outputs/one"))
    ways = (
        run,
        run / "config.yaml",
        run / "train.log",
        Path(f"{run}/"),
        Path("outputs/one"),
        Path("outputs"),
    )
    assert [find_run(way) for way in ways] == [run] * len(ways)
    leave(Path("outputs/two"), seed=1)
    assert find_run(Path("outputs/one")) == run


def test_what_is_not_one_run_is_one_line() -> None:
    runs = sorted(leave(Path("outputs/many"), seed=seed) for seed in range(4))
    with pytest.raises(InputError) as several:
        find_run(Path("outputs/many"))
    names = ", ".join(run.name for run in runs[:3])
    assert (
        str(several.value)
        == f"outputs/many: expected the folder of one run, and there are 4 in it: {names}, …"
    )
    with pytest.raises(InputError) as missing:
        find_run(Path(str(runs[0])[:-1]))
    assert (
        "expected the folder of a run, with a config.yaml in it; did you mean outputs/many/lenet"
        in str(missing.value)
    )
    with pytest.raises(InputError, match=r"nothing.txt: expected the folder of a run"):
        find_run(runs[0] / "nothing.txt")


@pytest.mark.parametrize(
    ("here", "path", "outputs"),
    [
        (".", "outputs/one/RUN", "outputs"),
        ("outputs", "one/RUN", "."),
        ("outputs/one", "RUN", ".."),
        ("outputs/one/RUN", ".", "../.."),
        (".", "link/RUN", "ROOT/outputs"),
    ],
)
def test_a_rerun_stays_where_the_run_is_by_the_path_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, path: str, outputs: str
) -> None:
    run = leave(Path("outputs/one"))
    Path("link").symlink_to("outputs/one")
    monkeypatch.chdir(here.replace("RUN", run.name))
    place = place_of(Path(path.replace("RUN", run.name)))
    assert (place["outputs"], place["group"]) == (outputs.replace("ROOT", str(tmp_path)), "one")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_help_and_complains_in_one_line(command: Command, verb: str) -> None:
    answer = command(verb, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"usage: dstrun {verb}")
    assert os.linesep not in command(verb, "--nonsense").err.strip()
    assert command(verb, "--nonsense").code == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("eval", "eval: expected the folder of a run; `dstrun eval --help` lists the arguments"),
        ("rerun", "rerun: expected the folder of a run; `dstrun rerun --help` lists the arguments"),
        (
            "eval a b",
            "eval: expected one run, and KEY=VALUE after it; got a b; "
            "`dstrun eval --help` lists the arguments",
        ),
    ],
)
def test_a_verb_takes_one_run(command: Command, words: str, line: str) -> None:
    answer = command(*words.split())
    assert (answer.code, answer.err) == (2, f"dstrun: {line}\n")


@pytest.mark.parametrize("parse", [parse_eval, parse_export, parse_rerun])
def test_a_run_and_its_changes_come_in_any_order(parse: Callable[[list[str]], Namespace]) -> None:
    run = leave(Path("outputs/one"))
    flags = ["--to", "a.onnx"] if parse is parse_export else []
    given = parse(["data.root=x", *flags, str(run / "config.yaml"), "threads=1"])
    assert (given.run, given.changes) == (run, ["data.root=x", "threads=1"])
