"""Trackers beside W&B: what they keep of a run, and that none can stop or slow it."""

import json
import logging
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dstrun.config.check import check
from dstrun.config.options import TRACKERS
from dstrun.runs.metrics import LAYERS, METRICS, Rows, tracked_rows
from dstrun.runs.trackers import processes, start, worker
from dstrun.runs.trackers.processes import TrackerProcesses
from dstrun.runs.trackers.start import check_trackers
from dstrun.runs.trackers.tracker import TrackedRun
from dstrun.runs.trackers.worker import serve
from dstrun.system.errors import InputError
from dstrun.training.run import run
from tests.helpers.commands import Command
from tests.helpers.runs import QUICK, only_run
from tests.helpers.tiny import config, tiny  # noqa: F401

Row = dict[str, float]
CONFIG = {"seed": 1, "data.pad": True, "schedule.lr": 0.1, "model.name": "m", "group": None}


def tracked(epoch: int | None = None) -> TrackedRun:
    folder = Path("outputs/single/run").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    names = {"id": "single-x", "name": "run", "group": "single", "project": "dstrun"}
    places = {"folder": str(folder), "outputs": str(folder.parents[1])}
    about = {"method": "dst", "tags": ["a"], "notes": None, "config": CONFIG}
    return TrackedRun(**names, **places, **about, resumes=epoch is not None, epoch=epoch or 0)


def write_rows(epochs: int) -> list[Row]:
    """Write the files of a run with two layers and a row between epochs; return its rows."""
    folder = Path(tracked().folder)
    metrics, layers = Rows(folder / "metrics.csv", METRICS), Rows(folder / "layers.csv", LAYERS)
    for epoch in range(1, epochs + 1):
        metrics.append([{"epoch": epoch, "step": 2 * epoch, "density": 1 / epoch}])
        for step in (2 * epoch - 1, 2 * epoch):
            of_step = {"epoch": epoch, "step": step, "density": 0.3 / step, "churn": 0.1}
            layers.append([{"layer": name, **of_step} for name in ("fc1", "fc2")])
    metrics.close()
    layers.close()
    return list(tracked_rows(folder, epochs))


def given(rows: list[Row], exit_code: int | None = None) -> Any:
    return iter([*rows, *([] if exit_code is None else [{"exit_code": exit_code}])])


def quiet() -> logging.Logger:
    return logging.Logger("quiet")


def test_rows_of_the_files_are_those_that_a_run_sends() -> None:
    rows = write_rows(2)
    assert list(tracked_rows(Path(tracked().folder), 1)) == rows[:1]
    assert rows[1] == {
        "epoch": 2,
        "density/masked": 0.5,
        **{f"density/{name}": 0.3 / 4 for name in ("00.fc1", "01.fc2")},
        **{f"churn/{name}": 0.1 for name in ("00.fc1", "01.fc2")},
    }


def read_tensorboard(folder: Path) -> tuple[dict[str, dict[int, float]], Any]:
    """Return {tag: {step: value}} of TensorBoard's own reader, and the reader."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    found: dict[str, dict[int, float]] = {}
    for tag in {*events.Tags()["scalars"]} - {"alpha"}:
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
        found[tag] = {event.step: event.value for event in events.Scalars(tag)}
    return found, events


def by_tag(rows: list[Row], kind: Any = float) -> dict[str, dict[int, float]]:
    """Return {key: {epoch: value}} of rows; without α, which is constant and in no file here."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in ("epoch", "alpha"):
                found.setdefault(key, {})[int(row["epoch"])] = float(kind(value))
    return found


def end_of(events: Any) -> int:
    """Return the status of TensorBoard's hyperparameters: 1 finished, 2 failed."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.summary_metadata["_hparams_/session_end_info"].plugin_data.content
    return HParamsPluginData.FromString(content).session_end_info.status


def test_tensorboard_keeps_each_epoch_once() -> None:
    """Kill a run after epoch 3, resume it from epoch 2 with another figure, and start it over."""
    pytest.importorskip("tensorboard")
    from numpy import float32

    rows, folder = write_rows(4), Path(tracked().folder, "tensorboard")
    assert serve("tensorboard", tracked(), given(rows[:3], 1), quiet())
    assert end_of(read_tensorboard(folder)[1]) == 2
    (file,) = folder.iterdir()
    with file.open("ab") as torn:
        torn.write((1000).to_bytes(8, "little") + bytes(14))  # a record of 1000 bytes
    opened = read_tensorboard(folder)[1]
    times = [event.wall_time for event in opened.Scalars("density/masked")]
    again = [row | {"density/masked": 0.7} if row["epoch"] == 3 else row for row in rows]
    assert serve("tensorboard", tracked(epoch=2), given(again[2:], 0), quiet())
    found, events = read_tensorboard(folder)
    assert found == by_tag(again, float32)
    assert [event.wall_time for event in events.Scalars("density/masked")][:2] == times[:2]
    assert (end_of(events), len(list(folder.iterdir()))) == (1, 2)
    opened.Reload()
    assert opened.Scalars("density/masked") == events.Scalars("density/masked")
    (text,) = events.Tensors("run")[0].tensor_proto.string_val
    assert f"folder: {tracked().folder}  \n".encode() in text
    assert b"tags: a" in text
    for path in folder.iterdir():  # as if it was not there before: rows come from the files
        path.unlink()
    assert serve("tensorboard", tracked(epoch=2), given(again[2:], 0), quiet())
    assert read_tensorboard(folder)[0] == found
    assert serve("tensorboard", tracked(), given(rows[:1], 0), quiet())
    assert read_tensorboard(folder)[0] == by_tag(rows[:1], float32)


class Noting:
    """Tracker that has the first two epochs, and notes what else it gets."""

    epoch, rows = 2, list[Row]()

    def __init__(self, run: TrackedRun) -> None:
        self.rows.clear()

    def log(self, row: Row) -> None:
        self.rows.append(row)

    def finish(self, exit_code: int) -> None:
        self.rows.append({"exit_code": exit_code})


@pytest.mark.parametrize("epoch", [None, 1, 3])
def test_a_tracker_gets_what_it_lacks_from_the_files_or_the_run(
    monkeypatch: pytest.MonkeyPatch, epoch: int | None
) -> None:
    """A run whose process is killed sends no exit code."""
    monkeypatch.setattr(worker, "tracker_class", lambda name: Noting)
    rows = write_rows(4)
    assert serve("x", tracked(epoch), given(rows[epoch or 0 :]), quiet())
    assert Noting.rows == [*rows[2:], {"exit_code": 1}]


class Faulty:
    """Tracker of an installed package that fails in all but its start."""

    runs: ClassVar[list[TrackedRun]] = []

    def __init__(self, run: TrackedRun) -> None:
        self.runs.append(run)

    def log(self, row: Mapping[str, float]) -> None:
        address = "http://me:secret@host"
        raise (KeyError if row["epoch"] < 3 else ValueError)(f"{row['epoch']} {address}\nmore")

    def finish(self, exit_code: int) -> None:
        raise KeyError(exit_code)


def test_an_error_is_one_warning_of_its_kind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entry = SimpleNamespace(group="dstrun.trackers", name="mine", value="m:M", load=lambda: Faulty)
    monkeypatch.setattr(worker, "entry_points", lambda group, name: [entry])
    log = logging.getLogger("tests.trackers")
    caplog.set_level(logging.WARNING, log.name)  # Hydra has left the root at ERROR
    assert not serve("mine", tracked(), given(write_rows(4), 0), log)
    assert caplog.messages == [
        "mine: KeyError: '1 http://host\\nmore'",
        "mine: ValueError: 3 http://host",
    ]
    assert Faulty.runs == [tracked()]
    caplog.clear()
    entry.load = lambda: 1 / 0
    assert not serve("mine", tracked(), given([], 0), log)
    (line,) = caplog.messages
    assert "cannot be loaded" in line


HANGING = """
import time
from dstrun.runs.trackers import worker
worker.END_SECONDS = 1
worker.tracker_class = lambda name: lambda run: time.sleep(60)
worker.main()
"""


@pytest.mark.slow
def test_a_tracker_that_hangs_at_its_start_ends_with_a_killed_run() -> None:
    """A run that is killed closes the pipe and sends no exit code."""
    first = {"tracker": "x", "run": asdict(tracked())}
    since = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", HANGING], input=json.dumps(first), text=True)
    assert ended.returncode == -signal.SIGALRM
    assert time.monotonic() - since < 30


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "x does not answer: figures are missing there"),
        ("raise SystemExit(3)", "x has failed: figures are missing there; see train.log"),
        ("import sys; sys.stdin.read()", None),
    ],
)
def test_no_tracker_holds_up_a_run(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str | None
) -> None:
    """Send more than a pipe holds to processes that do not read, have ended, or read all."""
    monkeypatch.setattr(processes, "COMMAND", [sys.executable, "-c", code])
    monkeypatch.setattr(processes, "END_SECONDS", 0.3 if "sleep" in code else 10)
    lines: list[str] = []
    trackers = TrackerProcesses(["x"], tracked(), lines.append)
    begun = time.monotonic()
    for epoch in range(20):
        trackers.log({"epoch": epoch, "x" * 100_000: 0.5})
    assert time.monotonic() - begun < 0.1
    trackers.finish(1)
    assert time.monotonic() - begun < 5
    assert lines == ([said] if said else [])


def test_a_tracker_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "COMMAND", ["/no/such/program"])
    lines: list[str] = []
    trackers = TrackerProcesses(["x"], tracked(), lines.append)
    trackers.log({"epoch": 1})
    trackers.finish(0)
    (line,) = lines
    assert line.startswith("x could not be started, so this run is not logged there (")


def test_a_tracker_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr(start, "is_installed", lambda name: name == "mlflow")
    for words in (["tracker=wandb,trackio"], ["-m", "tracker=[wandb,trackio]", "seed=0,1"]):
        answer = command(*words)
        assert (answer.code, answer.complaints) == (
            2,
            "dstrun: tracker: got 'trackio', but the package trackio is not installed; "
            "pip install 'dstrun[trackio]'\n",
        )
    assert not list(Path().iterdir())
    mlflow = check({"tracker": ["mlflow"]})
    with pytest.raises(InputError, match=r"the package sqlalchemy is not .*'dstrun\[mlflow\]'"):
        check_trackers(mlflow)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    check_trackers(mlflow)


MINE = """
import json

class Mine:
    def __init__(self, run):
        self.file = open(run.outputs + "/mine.jsonl", "a")

    def log(self, row):
        print(json.dumps(row), file=self.file)

    def finish(self, exit_code):
        print(json.dumps(exit_code), file=self.file)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_package_brings_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path("packages").absolute()
    information = package / "mine-1.dist-info"
    information.mkdir(parents=True)
    (package / "mine_tracker.py").write_text(MINE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[dstrun.trackers]\nmine = mine_tracker:Mine\n")
    monkeypatch.syspath_prepend(str(package))
    folder = run(config(tracker=["mine"]), default_group="single")
    *rows, exit_code = map(json.loads, Path("outputs/mine.jsonl").read_text().splitlines())
    assert (by_tag(rows), exit_code) == (by_tag(list(tracked_rows(folder, 2))), 0)


def read_mlflow(group: str = "single") -> dict[str, tuple[str, dict[str, dict[int, float]]]]:
    """Return {name: (status, {key: {step: value}})} of the runs of a group."""
    client_of = pytest.importorskip("mlflow").MlflowClient
    client = client_of(f"sqlite:///{Path('outputs').absolute()}/mlflow.db")
    experiment = client.get_experiment_by_name("dstrun").experiment_id
    found = {}
    for one in client.search_runs([experiment], f"tags.`group` = '{group}'"):
        history = {}
        for key in one.data.metrics:
            points = client.get_metric_history(one.info.run_id, key)
            steps = [point.step for point in points]
            assert sorted(steps) == sorted(set(steps)), key
            history[key] = {point.step: point.value for point in points}
        history = {key: history[key] for key in history if key not in ("epoch", "alpha")}
        assert one.data.params["seed"] == str(one.info.run_name.split("-s")[1][0])
        assert Path(one.data.tags["folder"]).name == one.info.run_name
        found[one.data.tags["dstrun.id"]] = (one.info.status, history)
    return found


def read_trackio() -> dict[str, dict[str, dict[int, float]]]:
    """Return {name: {key: {step: value}}} of all runs, the last one of a name."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    with sqlite3.connect("outputs/trackio/dstrun.db") as file:
        ids = dict(file.execute("SELECT run_name, run_id FROM metrics ORDER BY id"))
        rows = file.execute("SELECT run_name, run_id, step, metrics FROM metrics").fetchall()
        configs = dict(file.execute("SELECT run_name, config FROM configs"))
    file.close()
    for name, run_id, step, text in rows:
        if run_id == ids[name]:
            for key, value in json.loads(text).items():
                if key == "alpha":
                    continue
                steps = found.setdefault(name, {}).setdefault(key, {})
                assert step not in steps, (name, key)
                steps[step] = value
        folder = json.loads(configs[name])["folder"]
        assert folder == str(Path("outputs", name).absolute())
    return found


NAMES = [name for name in TRACKERS if start.is_installed(name)]
ALL = f"tracker={','.join(NAMES)}"
LONG = ["schedule.epochs=8", "data.train_limit=300", "checkpoint.every=0", "wandb.mode=offline"]


def kill_after(epochs: int, words: list[str]) -> None:
    """Start a run, and kill its process when it has written rows of so many epochs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dstrun", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while True:
        files = list(Path("outputs/single").glob("*/metrics.csv"))
        if files and files[0].read_text().count("\n") > epochs:
            break
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's packages, in this process
def test_every_tracker_has_each_epoch_once_after_a_kill_and_starts_over(command: Command) -> None:
    """As float64; TensorBoard has float32."""
    for name in ("tensorboard", "mlflow"):
        pytest.importorskip(name)
    from numpy import float32

    kill_after(3, [*LONG, ALL])
    assert command(*LONG, ALL).code == 0
    folder = only_run()
    rows = list(tracked_rows(folder, 8))
    kept = by_tag(rows)
    assert {*kept["density/00.fc1"]} == {*range(1, 9)}
    name, run_id = f"single/{folder.name}", f"single-{folder.name[-8:]}"
    found, events = read_tensorboard(folder / "tensorboard")
    assert (found, end_of(events)) == (by_tag(rows, float32), 1)
    assert read_mlflow() == {run_id: ("FINISHED", kept)}
    assert "trackio" not in NAMES or read_trackio() == {name: kept}
    assert list(folder.glob("wandb/offline-run-*"))
    answer = command(*LONG, ALL, "overwrite=true", "schedule.lr=1e30")
    assert answer.code == 1
    assert command(*LONG, ALL, "overwrite=true").code == 0
    assert [status for status, _ in read_mlflow().values()].count("FINISHED") == 2
    assert read_mlflow()[f"{run_id}-1"] == ("FINISHED", kept)
    assert "trackio" not in NAMES or read_trackio()[name] == kept
    assert "does not answer" not in (folder / "train.log").read_text()


HOOK = """
import sys

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open({file!r}, "a") as file:
            print(sys.argv, event, arguments, file=file)

sys.addaudithook(note)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's packages, in this process
def test_runs_of_a_sweep_share_a_file_and_use_no_network(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    Path("hook").mkdir()
    connections = Path("hook/connections").absolute()
    Path("hook/sitecustomize.py").write_text(HOOK.format(file=str(connections)))
    connections.touch()
    monkeypatch.syspath_prepend(str(connections.parent))
    monkeypatch.setenv("HF_TOKEN", "hf_" + 32 * "x")
    for name in ("CI", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)  # with which MLflow sends nothing anyway
    tracker = f"tracker=[{','.join({*NAMES} & {'mlflow', 'trackio'})}]"
    assert command("-m", *QUICK, tracker, "seed=0,1,2,3", "n_jobs=2").code == 0
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    found = read_mlflow("grid")
    tracked_by = [set(read_trackio())] if "trackio" in NAMES else []
    folders = [file.parent for file in Path("outputs/grid").glob("*/metrics.csv")]
    assert len(folders) == 4
    for folder in folders:
        kept = by_tag(list(tracked_rows(folder, 2)))
        assert found[f"grid-{folder.name[-8:]}"] == ("FINISHED", kept)
        assert all(f"grid/{folder.name}" in names for names in tracked_by)
    assert connections.read_text() == ""


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_server_that_never_answers_costs_a_run_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(processes, "START_SECONDS", 8)
    monkeypatch.setattr(processes, "END_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        begun = time.monotonic()
        folder = run(config(tracker=["mlflow"]), default_group="single")
        assert 7 < time.monotonic() - begun < 12
    assert (folder / "summary.json").exists()
    assert "mlflow does not answer: figures are missing there" in capsys.readouterr().out
