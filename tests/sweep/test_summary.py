"""summary.csv of a group: rows, their order, columns, and when it is rewritten."""

import csv
import os
from pathlib import Path

from dstrun.runs.folder import read_config
from dstrun.sweep.summary import Summary
from tests.helpers.folders import leave, status

GROUP = Path("outputs/made")


def table() -> list[dict[str, str]]:
    with (GROUP / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_says_how_a_run_stands_and_figures_are_those_of_finished_runs() -> None:
    finished = leave(seed=1)
    failed = leave(seed=2, state="failed")
    status(failed, error="no memory")
    gone = leave(seed=3, state="running")  # of a process that is no more
    Summary(GROUP, {}).write()
    rows = {row["run"]: row for row in table()}
    assert list(rows) == sorted(run.name for run in (finished, failed, gone))
    states = {
        run: (row["state"], row["error"], row["test_accuracy"], row["kept"])
        for run, row in rows.items()
    }
    assert states == {
        finished.name: ("finished", "", "0.95", "100"),
        failed.name: ("failed", "no memory", "", ""),
        gone.name: ("interrupted", "", "", ""),
    }


def test_columns_are_some_options_always_and_those_that_differ() -> None:
    leave(data__mean=[0.5], reg__alpha=1e-3)
    leave(data__mean=[0.25], reg__method="dense", seed=7)
    Summary(GROUP, {}).write()
    sparse, dense = sorted(table(), key=lambda row: row["reg.alpha"], reverse=True)
    assert list(sparse) == [
        "run",
        "state",
        "model.name",
        "data.name",
        "data.mean",
        "reg.method",
        "reg.alpha",
        "seed",
        "epoch",
        "step",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
        "density",
        "density_model",
        "flops_fraction",
        "kept",
        "total",
        "parameters",
        "parameters_kept",
        "thresholds",
        "penalty",
        "total_seconds",
        "error",
    ]
    shown = [
        [row[key] for key in ("data.mean", "reg.method", "reg.alpha", "seed")]
        for row in (sparse, dense)
    ]
    assert shown == [["[0.5]", "dst", "0.001", "0"], ["[0.25]", "dense", "", "7"]]


def test_runs_that_are_planned_come_first_and_a_run_is_read_again_when_it_has_changed() -> None:
    first, second = sorted((leave(seed=1, state="failed"), leave(seed=2)), key=lambda run: run.name)
    (config,) = (read_config(second),)
    planned = GROUP / "not-begun"
    of_group = Summary(GROUP, {second: config, planned: config})  # type: ignore[dict-item]
    of_group.write()
    assert [row["run"] for row in table()] == [second.name, first.name], (
        "what has not begun has no row"
    )
    written = (GROUP / "summary.csv").stat().st_mtime_ns
    of_group.write()
    assert (GROUP / "summary.csv").stat().st_mtime_ns == written, "it says the same"
    status(first, error="another")
    os.utime(first / "status.json", ns=(1, 1))
    of_group.write()
    assert {row["run"]: row["error"] for row in table()}[first.name] == "another"


def test_folders_that_hold_no_run_have_no_row() -> None:
    run = leave()
    for name, config in (("a", "no: config of ours\n"), ("b", "seed: {")):
        (GROUP / name).mkdir()
        (GROUP / name / "status.json").write_text("{}")
        (GROUP / name / "config.yaml").write_text(config)
    Summary(GROUP, {}).write()
    assert [row["run"] for row in table()] == [run.name]


def test_a_group_that_is_not_there_yet_is_made() -> None:
    Summary(GROUP, {}).write()
    assert table() == []
