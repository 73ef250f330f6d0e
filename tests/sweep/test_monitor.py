"""States of a sweep's jobs, and the lines that show them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.runs.status import FAILED, FINISHED, INTERRUPTED, RUNNING
from dstrun.sweep.job_states import Entry, estimate_seconds, progress_text, shortened
from dstrun.sweep.monitor import Monitor
from dstrun.sweep.plan import Job
from dstrun.system.files import write_json
from tests.helpers.folders import BASE, leave, status


def job(folder: Path = Path("outputs/grid/run"), **options: Any) -> Job:
    changed = {key.replace("__", "."): value for key, value in options.items()}
    return Job((), check(BASE | changed), folder)


@pytest.mark.parametrize(
    ("state", "options", "is_to_do"),
    [
        (FINISHED, {}, False),
        (FINISHED, {"overwrite": True}, True),
        (FAILED, {}, True),
        (FAILED, {"retry": "none"}, False),
        (FAILED, {"retry": "none", "overwrite": True}, True),
        (INTERRUPTED, {"retry": "none"}, True),
        ("new", {}, True),
    ],
)
def test_a_sweep_runs_what_is_not_finished_and_failed_runs_unless_told_otherwise(
    state: str, options: Mapping[str, Any], is_to_do: bool
) -> None:
    assert Entry(job(**options), state).is_to_do is is_to_do


def test_time_is_estimated_by_epochs_of_runs_of_the_same_model_and_data() -> None:
    """2 epochs took 4 s, 6 epochs 8 s: 2 s and 4/3 s each, 5/3 s on average."""
    entries = []
    for seconds, epochs in ((4.0, 2), (8.0, 6)):
        folder = leave(seed=epochs)
        write_json(folder / "summary.json", {"total_seconds": seconds, "epoch": epochs})
        entries.append(Entry(job(folder), FINISHED))
    entries.append(Entry(job(folder), FAILED))
    longer = job(schedule__epochs=30)
    assert estimate_seconds(entries, [longer, longer]) == pytest.approx(100)
    assert estimate_seconds(entries, [longer, job(data__name="cifar10")]) is None


def test_an_entry_is_read_again_only_when_its_folder_has_changed() -> None:
    folder = leave(state="running")
    entry = Entry(job(folder), "new")
    assert entry.refresh()
    assert (entry.state, entry.row["epoch"]) == (RUNNING, "2")
    assert not entry.refresh()
    status(folder, state="failed", error="no memory")
    assert entry.refresh()
    assert (entry.has_ended, entry.error) == (True, "no memory")
    entry.reopen()
    assert (entry.state, entry.refresh()) == (INTERRUPTED, False), "until the next change"


def test_a_running_job_shows_its_epoch_its_figures_and_the_time_left() -> None:
    row = {"epoch": "3", "seconds": "2.0", "test_accuracy": "0.5", "density": "0.25"}
    entry = Entry(job(schedule__epochs=10), RUNNING, row)
    assert progress_text(entry) == "epoch  3/10  accuracy  50.00%  density  25.00%    14 s left"
    assert progress_text(Entry(job(schedule__epochs=10), RUNNING)) == "epoch  0/10"


def test_the_epochs_of_a_run_in_rounds_are_those_of_all_rounds() -> None:
    """4 epochs, and twice the last three of them: 10. 2 epochs took 4 s."""
    rounds = {"reg__method": "imp", "reg__density": 0.1, "reg__rounds": 2, "reg__rewind_epoch": 1}
    asked = job(schedule__epochs=4, **rounds)
    row = {"epoch": "5", "seconds": "2.0", "test_accuracy": "0.5", "density": "0.25"}
    assert progress_text(Entry(asked, RUNNING, row)).startswith("epoch  5/10 ")
    assert progress_text(Entry(asked, RUNNING, row)).endswith(" 10 s left")
    write_json((folder := leave()) / "summary.json", {"total_seconds": 4.0, "epoch": 2})
    assert estimate_seconds([Entry(job(folder), FINISHED)], [asked]) == 10 * 2.0


def test_a_long_label_keeps_its_ends() -> None:
    assert shortened("α 1e-4, seed 10", 15) == "α 1e-4, seed 10"
    assert shortened("batch size 128, α 1e-4, seed 10", 15) == "batch s…seed 10"


def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    configs = [check(BASE | {"init": "outputs/" + 60 * "x", "seed": seed}) for seed in (0, 1)]
    Monitor(
        [Job((), config, Path(f"outputs/grid/{config.seed}")) for config in configs],
        keys=("init", "seed"),
    ).preview()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "seed 1" in line and line.endswith("new")]
    assert max(map(len, lines)) <= 60
