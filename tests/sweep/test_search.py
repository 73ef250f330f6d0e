"""Search for the Pareto front on real digits: resumed, pruned, refused."""

import csv
import json
from math import log10
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dstrun.sweep import pool
from dstrun.sweep.early_stopping import EarlyStopping
from dstrun.sweep.job_states import Entry
from dstrun.sweep.plan import Job
from dstrun.sweep.study import best_of
from tests.helpers.commands import Command

pytest.importorskip("optuna")

SMALL = [
    "schedule.epochs=2",
    "data.train_limit=200",
    "data.test_limit=100",
    "threads=1",
    "hydra/sweeper=pareto",
]
SPACE = ["reg.alpha=tag(log,interval(1e-4,3e-2))", "schedule.lr=0.01,0.05"]


def rows(file: str) -> list[dict[str, str]]:
    with Path(file).open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.slow
def test_a_search_goes_on_with_its_history_and_writes_its_front(command: Command) -> None:
    outcome = command("-m", *SMALL, *SPACE, "hydra.sweeper.trials=2")
    assert (outcome.code, outcome.err) == (0, "")
    first = {row["run"]: row for row in rows("outputs/search/summary.csv")}
    assert len(first) == 2
    assert "lenet_300_100-digits-a2e-3-s0" in " ".join(first), "the config's own values come first"
    assert {
        json.loads(Path("outputs/search", run, "summary.json").read_text())["epoch"]
        for run in first
    } == {2}

    outcome = command("-m", *SMALL, *SPACE, "hydra.sweeper.trials=4", "n_jobs=1")
    assert "[4/4]" in outcome.out
    assert "[2/4]" not in outcome.out
    assert "4 trials finished, 0 stopped early, 0 failed" in outcome.out
    table = {row["run"]: row for row in rows("outputs/search/summary.csv")}
    assert len(table) == 4
    assert all(table[run]["total_seconds"] == row["total_seconds"] for run, row in first.items())
    points = {
        run: (float(row["validation_accuracy"]), float(row["density"]))
        for run, row in table.items()
    }
    best = {
        run
        for run, (accuracy, density) in points.items()
        if not any(
            a >= accuracy and d <= density and (a, d) != (accuracy, density)
            for a, d in points.values()
        )
    }
    front = rows("outputs/search/front.csv")
    assert {row["run"] for row in front} == best
    assert [float(row["density"]) for row in front] == sorted(points[run][1] for run in best)
    assert {"reg.alpha", "schedule.lr", "validation_accuracy", "test_accuracy"} <= set(front[0])

    refused = command("-m", *SMALL, *SPACE, "schedule.momentum=0.5")
    assert refused.code == 2
    assert refused.err.startswith(
        "dstrun: group: outputs/search contains another search; group=NAME starts a new one"
    )


@pytest.mark.slow
def test_a_diverging_trial_is_stopped_early_and_is_no_failure(command: Command) -> None:
    outcome = command(
        "-m", *SMALL, "schedule.lr=1e30,2e30", "hydra.sweeper.trials=1", "n_jobs=1", "group=far"
    )
    assert outcome.code == 0
    assert "stopped: DivergedError" in outcome.out
    assert "0 on the front; 0 trials finished, 1 stopped early, 0 failed" in outcome.out


@pytest.mark.slow
def test_a_launcher_that_starts_nothing_uses_up_no_trial(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no cluster")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "run_jobs", broken)
        outcome = command("-m", *SMALL, *SPACE, "hydra.sweeper.trials=3", "n_jobs=1")
    assert outcome.code == 1
    assert outcome.out.count("launcher failed: RuntimeError: no cluster") == 1
    assert "0 of 1 run finished, 1 not done; run the same command to resume" in outcome.out
    again = command("-m", *SMALL, *SPACE, "hydra.sweeper.trials=1", "n_jobs=1")
    assert (again.code, "1 trial finished" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            [],
            (
                "hydra/sweeper=pareto: nothing to search over; expected an interval, such as "
                "'reg.alpha="
            ),
        ),
        (["seed=1,2", *SPACE], "seed: a search compares settings, not seeds; expected one value"),
        (
            [*SPACE, "hydra.sweeper.trials=0"],
            "hydra.sweeper.trials: got 0, expected a whole number ≥ 1",
        ),
        (
            [*SPACE, "hydra.sweeper.sampler=cma"],
            "hydra.sweeper.sampler: got 'cma', expected one of tpe, nsga2",
        ),
        (["reg.alpha=tag(log,interval(0,1))"], "reg.alpha=tag(log,interval(0,1)): "),
        (["reg.alpha=interval(-2,-1)"], "reg.alpha: got -2.0, expected a number ≥ 0"),
        (
            ["reg.alhpa=interval(0,1)"],
            "reg.alhpa: there is no such option; did you mean reg.alpha?",
        ),
        (["data=mnist", "data.root=gone", *SPACE], "data.root: MNIST is not there"),
    ],
)
@pytest.mark.slow
def test_a_search_that_cannot_be_made(command: Command, words: list[str], line: str) -> None:
    outcome = command("-m", *SMALL, *words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"dstrun: {line}")
    assert outcome.err.count("\n") == 1
    assert not list(Path().rglob("config.yaml"))


def test_a_damaged_history_is_said(command: Command) -> None:
    Path("outputs/search").mkdir(parents=True)
    Path("outputs/search/search.db").write_text("no database" * 1000)
    outcome = command("-m", *SMALL, *SPACE)
    assert outcome.code == 2
    assert outcome.err.startswith(
        "dstrun: outputs/search/search.db: the history of the search cannot be read"
    )


def course(folder: Path, points: list[tuple[float, float]]) -> Path:
    folder.mkdir()
    lines = ["epoch,validation_accuracy,density"]
    lines += [
        f"{epoch},{accuracy},{density}" for epoch, (accuracy, density) in enumerate(points, 1)
    ]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("epoch", "accuracy", "density", "stopped"),
    [
        (2, 0.5, 0.5, True),  # four of four ahead in both
        (1, 0.5, 0.5, False),  # too early to tell
        (4, 0.5, 0.5, False),  # it has ended
        (2, 0.95, 0.5, False),  # the most accurate
        (2, 0.5, 0.01, False),  # the sparsest
        (2, 0.85, 0.15, True),  # two of four ahead
        (2, 0.85, 0.05, False),  # one of four ahead
    ],
)
def test_a_run_that_half_of_those_before_it_are_ahead_of_is_stopped(
    tmp_path: Path, epoch: int, accuracy: float, density: float, stopped: bool
) -> None:
    from dstrun.config.check import check

    stopping = EarlyStopping()
    for name, point in (
        ("a", (0.9, 0.1)),
        ("b", (0.9, 0.04)),
        ("c", (0.8, 0.1)),
        ("d", (0.7, 0.04)),
    ):
        stopping.add_ended(course(tmp_path / name, [point] * 4))
    config = check({"schedule": {"epochs": 6 if epoch == 1 else 4}})
    stopping.add_ended(tmp_path / "one that failed before its first row")
    row = {"epoch": str(epoch), "validation_accuracy": str(accuracy), "density": str(density)}
    (tmp_path / "new").mkdir()
    stopping.check(Entry(Job((), config, tmp_path / "new"), "running", row))
    assert (tmp_path / "new" / "stop").exists() == stopped


def test_trials_whose_densities_are_shown_alike_are_compared_by_their_scores() -> None:
    densities, errors = (0.09999978, 0.09999985, 0.05), (0.3, 0.2, 0.5)
    trials = []
    for density, error in zip(densities, errors, strict=True):
        trials.append(SimpleNamespace(values=[log10(error), log10(density)]))
    assert best_of(trials) == [trials[2], trials[1]]
