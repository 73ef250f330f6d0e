"""The record of a run in a loop of one's own: its files, its states, and what is refused."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import dstrun
from dstrun.compare.dashboard import layout, views
from dstrun.compare.figures.view import Source
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.methods.set import Set
from dstrun.runs.status import holder
from dstrun.system.errors import BusyError
from dstrun.system.files import read_csv
from tests.helpers.commands import Command
from tests.helpers.folders import leave
from tests.helpers.own_runs import SETTINGS, STEPS, X, finished, recording


def rows(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    return list(read_csv(run / name))


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())


def row_of(folder: Path) -> dict[str, Any]:
    """Return what a table of runs has of a folder."""
    (row,) = Store([folder]).runs.to_dict("records")
    return {key: value for key, value in row.items() if value == value and value is not None}


def test_a_run_leaves_the_files_of_a_run_folder() -> None:
    folder = finished(example=X[:1])
    assert folder.parent == Path("outputs/own")
    assert folder.name.startswith("mlp-dots-a1e-3-s0-")
    state = status(folder)
    assert (state["state"], state["error"], state["threads"]) == (
        "finished",
        None,
        torch.get_num_threads(),
    )
    assert sorted(state["files"]) == ["config.yaml", "layers.csv", "metrics.csv", "summary.json"]
    assert [one["test_accuracy"] for one in rows(folder)] == ["0.25", "0.5"]
    assert [one["density"] for one in rows(folder)] == ["1.0", "1.0"]
    assert [(one["step"], one["layer"], one["total"]) for one in rows(folder, "layers.csv")] == [
        ("4", "0", "128"),
        ("4", "2", "24"),
        ("8", "0", "128"),
        ("8", "2", "24"),
    ]
    summary = json.loads((folder / "summary.json").read_text())
    counts = ("total", "kept", "parameters", "thresholds", "multiply_adds")
    assert [summary[key] for key in counts] == [152, 152, 163, 11, 152]
    assert "α = 1e-3" in (folder / "train.log").read_text()


def test_the_config_has_what_is_known_and_tables_show_no_more() -> None:
    folder = finished(settings=SETTINGS | {"schedule.lr": 0.2})
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["schedule"] == {
        "epochs": 2,
        "lr": 0.2,
        "threshold_decay": 1.0,
        "threshold_clip": 0.0,
        "compile": "off",
    }
    assert config["reg"]["alpha"] == 1e-3
    row = row_of(folder)
    assert (row["loop"], row["schedule.lr"], row["reg.alpha"]) == ("own", 0.2, 1e-3)
    assert (row["model.name"], row["test_accuracy"], row["kept"]) == ("mlp", 0.5, 152)
    assert not {"schedule.batch_size", "schedule.optimiser", "data.train_limit"} & row.keys()
    assert (
        row_of(finished(group="none", settings={"model": "a", "data": "b"}))
        .keys()
        .isdisjoint({"seed", "schedule.epochs"})
    )


def test_seeds_are_one_setting_and_another_loop_is_another() -> None:
    for seed in (0, 1):
        finished(settings=SETTINGS | {"seed": seed})
    finished(loop="other")
    finished(method=dstrun.method("dst", alpha=2e-3))
    runs = Store([Path("outputs")]).runs
    assert sorted(runs.groupby("setting")["seed"].count()) == [1, 1, 2]


def test_a_run_of_another_loop_is_reported_and_not_run(command: Command) -> None:
    own, other = leave(Path("outputs/made")), finished()
    shown = command("report", "outputs")
    assert (shown.code, shown.err) == (0, "")
    assert "lenet_300_100" in shown.out
    assert "mlp" in shown.out
    assert "nan" not in shown.out
    assert "lenet" not in command("report", "outputs", "--filter", "loop=own").out
    assert "mlp" not in command("report", "outputs", "--filter", "loop=dstrun").out
    line = "loop: got 'own', a run of another training loop, which dstrun reports and cannot run"
    for words in (
        ("rerun", str(other)),
        ("rerun", str(other), "loop=dstrun"),
        ("eval", str(other)),
        ("export", str(other), "--to", "x.safetensors"),
        ("loop=own",),
        ("rerun", str(own), "loop=own"),
    ):
        answer = command(*words)
        assert answer.code == 2
        assert line in answer.complaints
        assert answer.complaints.count("\n") == 1
    with pytest.raises(ValueError, match="a run of another training loop"):
        dstrun.load(other)
    assert not Path("outputs/single").exists()


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (ValueError("no\nyes"), "failed", "ValueError: no"),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
    ],
)
def test_a_run_that_ends_otherwise_says_so(
    error: BaseException, state: str, line: str | None
) -> None:
    with suppress(BaseException), recording() as run:
        run.log(epoch=1, step=STEPS)
        assert status(run.folder)["state"] == "running"
        assert holder(run.folder)
        raise error
    assert (status(run.folder)["state"], status(run.folder)["error"]) == (state, line)
    assert holder(run.folder) is None
    assert not (run.folder / "summary.json").exists()


def test_an_unfinished_run_is_begun_over_or_resumed_at_a_step() -> None:
    def begin(resumed_at: int, epochs: list[int]) -> list[str]:
        with suppress(KeyError), recording() as run:
            if resumed_at:
                run.resume(resumed_at)
            for epoch in epochs:
                run.log(epoch=epoch, step=epoch * STEPS)
            raise KeyError
        assert [one["epoch"] for one in rows(run.folder, "layers.csv")][::2] == [
            one["epoch"] for one in rows(run.folder)
        ]
        return [one["epoch"] for one in rows(run.folder)]

    assert begin(0, [1, 2, 3]) == ["1", "2", "3"]
    assert begin(2 * STEPS + 1, [3, 4]) == ["1", "2", "3", "4"]
    assert begin(STEPS, [2]) == ["1", "2"]
    assert begin(0, [1]) == ["1"]
    with recording(group="new") as run:
        run.resume(3)  # of a folder that is not here any more
        run.log(epoch=1, step=4)
        with pytest.raises(RuntimeError, match="belongs before the first row"):
            run.resume(3)


def test_finished_runs_and_others_are_kept() -> None:
    folder = finished()
    before = (folder / "status.json").read_bytes()
    with pytest.raises(FileExistsError, match="finished already; overwrite=True starts over"):
        finished()
    with pytest.raises(FileExistsError, match=r"another run, which differs in seed; overwrite"):
        finished(name=folder.name, settings=SETTINGS | {"seed": 1})
    assert (folder / "status.json").read_bytes() == before
    assert finished(overwrite=True) == folder
    own = leave(Path("outputs/own"))
    with pytest.raises(FileExistsError, match="holds a run of dstrun's own"):
        finished(name=own.name, overwrite=True)
    with recording(group="b") as run:
        run.log(epoch=1, step=1)
        with pytest.raises(BusyError, match="is being written by"):
            finished(group="b")


def test_a_run_without_a_row_has_failed() -> None:
    with pytest.raises(RuntimeError, match="nothing was recorded: call log"), recording() as run:
        pass
    assert status(run.folder)["state"] == "failed"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"settings": {"model": "a"}}, "data: expected a name for it in the settings"),
        ({"settings": SETTINGS | {"schedule.eposch": 3}}, "schedule.eposch: there is no such opt"),
        (
            {"settings": SETTINGS | {"schedule.lr": -1}},
            "schedule.lr: got -1.0, expected a number >",
        ),
        ({"settings": SETTINGS | {"reg.alpha": 1}}, "reg.alpha: the method says it"),
        ({"settings": SETTINGS | {"group": "x"}}, r"group: an argument of record\(\) says it"),
        ({"loop": "dstrun"}, "loop: got 'dstrun', expected a word for another training loop"),
        ({"loop": "a b"}, "loop: got 'a b', expected one word"),
    ],
)
def test_settings_that_are_none_are_refused(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        recording(**options)
    assert not Path("outputs").exists()


def test_figures_that_are_none_are_refused_with_near_names() -> None:
    with recording() as run:
        with pytest.raises(ValueError, match=r"test_acuracy: there .*did you mean test_accuracy\?"):
            run.log(epoch=1, step=1, test_acuracy=1)
        with pytest.raises(ValueError, match="density: there is no such figure"):
            run.log(epoch=1, step=1, density=1)
        with pytest.raises(ValueError, match="test_loss: got 'low', expected a number"):
            run.log(epoch=1, step=1, test_loss="low")
        run.log(epoch=1.5, step=1, test_loss=torch.tensor(2.0), seconds=3)
    assert rows(run.folder)[0]["test_loss"] == "2.0"
    assert (rows(run.folder)[0]["epoch"], rows(run.folder)[0]["seconds"]) == ("1.5", "3.0")


def test_the_options_of_any_method_are_known_and_unknown_ones_are_refused() -> None:
    config = yaml.safe_load(
        (finished(method=dstrun.method("set", density=0.5, every=7)) / "config.yaml").read_text()
    )
    assert [config["reg"][key] for key in ("method", "density", "every")] == ["set", 0.5, 7]
    dense = yaml.safe_load((finished(method=dstrun.method("dense")) / "config.yaml").read_text())
    assert dense["reg"] == {"method": "dense", "exclude": [], "include": [], "tied": "leave"}

    with pytest.raises(ValueError, match="got a Set of unknown options, make it by dst"):
        recording(method=Set(0.5))

    class Mine(dstrun.DynamicSparseTraining):
        pass

    with pytest.raises(ValueError, match="got Mine, expected one of dstrun's methods, or of a pa"):
        recording(method=Mine(0.5))


def test_layers_between_epochs_are_rows_of_layers_alone() -> None:
    with recording() as run:
        run.log_layers(epoch=1, step=2)
        run.log(epoch=1, step=STEPS)
    assert [one["step"] for one in rows(run.folder, "layers.csv")] == ["2", "2", "4", "4"]
    assert len(rows(run.folder)) == 1


def test_figures_of_another_task_are_columns_and_shown(command: Command) -> None:
    with recording() as run:
        run.log(epoch=1, step=1, test_loss=1.5, test_bits_per_byte=2.1642, validation_loss=2)
        with pytest.raises(ValueError, match="test_accuracy: the first row has no such figure"):
            run.log(epoch=2, step=2, test_accuracy=1)
        run.log(epoch=2, step=2, test_loss=1.5, test_bits_per_byte=2.1642)
    assert [one["validation_loss"] for one in rows(run.folder)] == ["2.0", ""]
    assert "test_accuracy" not in rows(run.folder)[0]
    shown = command("report", "outputs")
    assert (shown.code, shown.err) == (0, "")
    assert "2.164" in shown.out


def test_a_loss_alone_is_reported_without_a_figure(command: Command) -> None:
    with recording() as run:
        run.log(epoch=1, step=1, test_loss=1.5)
    shown = command("report", str(run.folder))
    assert (shown.code, shown.err) == (0, "")
    assert "nan" not in shown.out


def test_the_dashboard_has_every_view_of_it_beside_dstruns_own() -> None:
    """Its layers are named 0 and 2: words, not numbers."""
    leave(Path("outputs/made"))
    finished()
    store = Store([Path("outputs")])
    runs = with_labels(store.runs)
    for view in layout.VIEWS:
        for names in (list(runs.index), [name for name in runs.index if name.startswith("own")]):
            content = views.content(Source(store, runs), views.Shown(view, names), {})
            text = json.dumps([part.to_plotly_json() for part in content], default=str)
            assert "Traceback" not in text
            assert view != "overview" or "mlp" in text
