"""What a run says while it trains, on images that can be told apart: figures so far, the compiler,
divergence.
"""

import itertools
import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from dstrun import models
from dstrun.runs import checkpoint
from dstrun.runs.status import Status
from dstrun.system.errors import BusyError, Interrupted, RunFailedError, StoppedByFile
from dstrun.system.run_files import CHECKPOINT_FILE, STOP_FILE
from dstrun.system.signals import StopRequest
from dstrun.training.build import make_batches
from dstrun.training.compile_check import compare_with_eager
from dstrun.training.console import RunConsole
from dstrun.training.ranks import Ranks
from dstrun.training.recorder import Recorder
from dstrun.training.run import run
from tests.helpers.methods import config_options
from tests.helpers.runs import rows
from tests.helpers.tiny import Tiny, config, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")
UPDATES = 6  # an epoch


def test_figures_told_while_an_epoch_is_under_way_are_those_of_its_updates_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an epoch's last update they are the epoch's own; what is kept stands in layers.csv."""
    seen: dict[int, Mapping[str, float]] = {}

    def step(console: RunConsole, step: int, figures: Callable[[], Mapping[str, float]]) -> None:
        seen[step] = figures()

    def layers(
        console: RunConsole, rows: Any, courses: Mapping[str, Sequence[float]], dense: int
    ) -> None:
        ended.update(courses)

    ended: dict[str, Sequence[float]] = {}
    monkeypatch.setattr(RunConsole, "show_step", step)
    monkeypatch.setattr(RunConsole, "show_layers", layers)
    folder = run(
        config(reg__exclude=["fc"], reg__alpha=0.5, schedule__lr=0.5, log__steps=1),
        default_group="single",
    )
    assert [seen[step]["epoch"] for step in range(1, 2 * UPDATES + 1)] == [1] * UPDATES + [
        2
    ] * UPDATES
    masked, dense = 18 + 54, 36
    kept: dict[int, int] = {}
    for row in rows(folder / "layers.csv"):
        kept[int(row["step"])] = kept.get(int(row["step"]), 0) + int(row["kept"])
    assert len(set(kept.values())) > 3, "a density that stays would show nothing"
    assert ended["model"] == [count / masked for count in kept.values()]
    for at, figures in seen.items():
        assert figures["density"] == kept[at] / masked
        assert figures["density_model"] == (kept[at] + dense) / (masked + dense)
    for at, row in zip((UPDATES, 2 * UPDATES), rows(folder / "metrics.csv"), strict=True):
        assert seen[at]["loss"] == float(row["train_loss"])
        assert seen[at]["accuracy"] == float(row["train_accuracy"])


@pytest.mark.parametrize(
    ("compile", "method", "epochs", "times"),
    [("mask", "dst", 1, 1), ("mask", "dst", 0, 0), ("off", "dst", 1, 0), ("mask", "rigl", 1, 0)],
)
def test_a_run_that_waits_for_the_compiler_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    compile: str,
    method: str,
    epochs: int,
    times: int,
) -> None:
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    monkeypatch.setattr("dstrun.methods.dst.compiled_masks.compiled", lambda function, _: function)
    monkeypatch.setattr("torch.compiler.reset", lambda: None)
    monkeypatch.setattr(
        "dstrun.training.session.compare_with_eager",
        lambda *objects: time.sleep(0.5) or compare_with_eager(*objects),
    )
    options = config_options(method) | {"schedule__compile": compile, "schedule__epochs": epochs}
    run(config(**options), default_group="single")
    said = capsys.readouterr().out
    assert (said.count("compiling: seconds"), said.count("compiled: first step after ")) == (
        times,
        times,
    )
    (summary,) = Path("outputs").rglob("summary.json")
    assert json.loads(summary.read_text())["total_seconds"] > 0.5 * times, "compiling takes time"


def test_an_operation_that_cannot_repeat_is_named_with_what_computes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Take one that has no deterministic form on the CPU either."""

    class Putting(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
            return logits

    monkeypatch.setitem(models.BUILDERS, "tiny", Putting)
    with pytest.raises(RunFailedError) as failed:
        run(config(deterministic=True), default_group="single")
    line = (
        "deterministic=true: put_ has no form on this device that repeats bit for bit; "
        "deterministic=false or device=cpu computes it"
    )
    assert str(failed.value) == line
    assert f"failed, {line} (traceback in train.log)" in capsys.readouterr().out


def test_a_run_that_goes_on_elsewhere_says_where_it_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(self: StopRequest) -> bool:
        self.signal = signal.SIGINT
        return True

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__bool__", stop)
        with pytest.raises(Interrupted):
            run(config(), default_group="single")
    (newest,) = Path("outputs").rglob(CHECKPOINT_FILE)
    state = torch.load(newest, weights_only=True)
    assert state["device"] == "cpu"
    torch.save(state | {"device": "cuda"}, newest)
    capsys.readouterr()
    run(config(), default_group="single")
    said = capsys.readouterr().out
    assert "begun on cuda: the figures to come may differ in their last digits" in said
    assert "at step 1 of 12" in said


@pytest.mark.parametrize(
    ("found", "every", "line"),
    [
        ((0, []), 0.0, "by step 12: fc.weight and 1 more; the checkpoint of step 6 is kept"),
        ((0, []), 300.0, "by step 12: fc.weight and 1 more; there is no checkpoint yet"),
        (
            (6, ["fc.bias"]),
            0.0,
            "from step 6, in epoch 1: fc.bias; the checkpoint of step 6 is kept",
        ),
        (
            (7, ["fc.bias"]),
            0.0,
            "from step 7, in epoch 2: fc.bias; the checkpoint of step 6 is kept",
        ),
    ],
)
def test_where_a_run_has_diverged_as_far_as_that_is_found(
    monkeypatch: pytest.MonkeyPatch, found: tuple[int, list[str]], every: float, line: str
) -> None:
    """In its second epoch."""
    told = iter([[], ["fc.weight", "fc.bias"]])
    asked: list[object] = []
    made: list[object] = []

    def make(*words: Any) -> Any:
        made.append(make_batches(*words))
        return made[-1]

    monkeypatch.setattr("dstrun.training.trainer.make_batches", make)
    monkeypatch.setattr("dstrun.training.divergence.not_finite", lambda model: next(told))
    monkeypatch.setattr(
        "dstrun.training.divergence.find_first_nonfinite",
        lambda run, state, last, stop: asked.extend([last, run.data]) or found,
    )
    with pytest.raises(RunFailedError) as failed:
        run(config(checkpoint__every=every), default_group="single")
    assert (
        str(failed.value) == f"DivergedError: NaN or infinite {line}; a lower schedule.lr may help"
    )
    assert asked == [2 * UPDATES, *made], "the images are on the device once"


def test_a_run_begins_over_where_rows_are_there_and_no_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted for W&B, which would take the rows that come again for the first ones."""
    monkeypatch.setattr(
        RunConsole, "show_epoch", lambda *_: [(file.parent / STOP_FILE).touch() for file in found()]
    )

    def found() -> list[Path]:
        return list(Path("outputs").rglob("config.yaml"))

    counts = []
    for lost in (False, False, True, True):
        if lost:
            checkpoint.remove(found()[0].parent)
        with pytest.raises(Interrupted):
            run(config(schedule__epochs=3), default_group="single")
        counts.append(
            json.loads((found()[0].parent / "status.json").read_text()).get("begun_over", 0)
        )
    assert counts == [0, 0, 1, 2]


def test_a_checkpoint_that_says_nothing_of_its_files_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        RunConsole,
        "show_epoch",
        lambda *_: [(at.parent / STOP_FILE).touch() for at in found("config.yaml")],
    )

    def found(name: str) -> list[Path]:
        return list(Path("outputs").rglob(name))

    with pytest.raises(Interrupted):
        run(config(schedule__epochs=3), default_group="single")
    (newest,) = found(CHECKPOINT_FILE)
    state = torch.load(newest, weights_only=True)
    del state["files"]
    torch.save(state, newest)
    capsys.readouterr()
    with pytest.raises(Interrupted):
        run(config(schedule__epochs=3), default_group="single")
    assert (
        f"{newest.name} is not one that a run can resume from: starting over"
        in capsys.readouterr().out
    )


class Told:
    """A tracker that notes how a run ended."""

    ends: ClassVar[list[int]] = []

    def log(self, row: Mapping[str, float]) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        self.ends.append(exit_code)


def test_wandb_is_told_the_config_as_written_and_how_the_run_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roots: list[str] = []

    def start(mode: str, log: object, say: object, **init: Any) -> Told:
        roots.append(init["config"]["data"]["root"])
        return Told()

    def fail(console: RunConsole, *_: Any) -> None:
        raise ValueError

    monkeypatch.setattr("dstrun.runs.trackers.start.start_wandb", start)
    monkeypatch.setattr(Told, "ends", [])
    run(config(data__root="here"), default_group="single")
    monkeypatch.setattr(RunConsole, "show_epoch", fail)
    with pytest.raises(RunFailedError):
        run(config(data__root="here", seed=1), default_group="single")
    assert Told.ends == [0, 1]
    assert roots == [str(Path("here").absolute())] * 2


def test_a_run_that_another_takes_while_it_trains_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin, owned = Status.begin, []

    def note(self: Status, **facts: Any) -> None:
        owned.append(self)
        begin(self, **facts)

    def take(console: RunConsole, step: int, _: object) -> None:
        (file,) = Path("outputs/single").glob("*/status.json")
        theirs = {"owner": {"host": "elsewhere", "pid": 1}}
        file.write_text(json.dumps(json.loads(file.read_text()) | theirs))
        owned[0].lost = True

    monkeypatch.setattr(Status, "begin", note)
    monkeypatch.setattr(RunConsole, "show_step", take)
    with pytest.raises(BusyError, match="has been taken over by process 1 on elsewhere"):
        run(config(), default_group="single")
    (folder,) = Path("outputs/single").iterdir()
    assert not (folder / "summary.json").exists()
    assert json.loads((folder / "status.json").read_text())["state"] == "running"


@pytest.mark.parametrize(("method", "said"), [("dst", True), ("dense", False)])
def test_a_dense_run_does_not_say_what_is_left_dense(
    capsys: pytest.CaptureFixture[str], method: str, said: bool
) -> None:
    run(config(reg__method=method, reg__exclude=["fc"]), default_group="single")
    assert ("  left dense  " in capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("options", "above", "best"),
    [
        ({}, [0.0, 9.0, 0.5, 9.0], 2),
        ({"reg__target_density": 0.5}, [0.0, 9.0, 0.5, 1.5], 3),
        ({"reg__target_density": 0.5}, [2.0] * 4, 2),
        ({"reg__method": "gmp", "reg__density": 0.4}, [9.0, 9.0, 0.5, 0.0], 3),  # as the last
        ({"reg__method": "dense"}, [54.0] * 4, 2),
    ],
)
def test_the_best_epoch_is_the_most_accurate_within_a_weight_of_the_target(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], above: list[float], best: int
) -> None:
    """Densities are so many weights above one half, of 108; accuracies and losses are made up."""
    densities = iter([0.5 + weights / 108 for weights in above])
    validated = [(9.0, 0.1), (1.0, 0.5), (3.0, 0.4), (2.0, 0.3)]
    figures = iter([split for epoch in validated for split in (epoch, (0.0, 0.0))])
    monkeypatch.setattr("dstrun.training.loop.masked_density", lambda layers: next(densities))
    monkeypatch.setattr("dstrun.training.loop.evaluate", lambda *_: next(figures))
    wanted = config(schedule__epochs=4, data__validation=0.5, **options)
    folder = run(wanted, default_group="single")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best_by_validation"]["epoch"] == best


def test_a_stop_file_counts_at_an_epochs_end_and_is_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of three epochs, the first and the last; what lies there at the start is of no account."""

    def touch(console: RunConsole, step: int, _: object) -> None:
        if step in (2, 3 * UPDATES):
            (folder,) = Path("outputs/single").iterdir()
            (folder / STOP_FILE).touch()

    monkeypatch.setattr(RunConsole, "show_step", touch)
    with pytest.raises(StoppedByFile):
        run(config(schedule__epochs=3, log__steps=1), default_group="single")
    (folder,) = Path("outputs/single").iterdir()
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == ["1"]
    assert (folder / STOP_FILE).exists()
    run(config(schedule__epochs=3, log__steps=1), default_group="single")
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == ["1", "2", "3"]
    assert not (folder / STOP_FILE).exists()


def test_a_signal_that_comes_while_ranks_agree_is_met_a_step_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def highest(ranks: Ranks, *numbers: int) -> list[int]:
        if not asked:
            signal.raise_signal(signal.SIGTERM)
        asked.append(numbers)
        return list(numbers)

    asked: list[Sequence[int]] = []
    monkeypatch.setattr(Ranks, "highest", highest)
    with pytest.raises(Interrupted):
        run(config(schedule__epochs=3), default_group="single")
    assert asked == [(0, 0), (1, signal.SIGTERM)]


def test_a_run_that_fails_at_its_summary_has_nothing_to_train_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[int] = []

    def fail(recorder: Recorder) -> None:
        raise OSError

    monkeypatch.setattr(RunConsole, "show_step", lambda console, step, _: steps.append(step))
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "finish", fail)
        with pytest.raises(RunFailedError):
            run(config(schedule__epochs=1), default_group="single")
    run(config(schedule__epochs=1), default_group="single")
    assert steps == [1, 2, 3, 4, 5, 6]


def test_what_is_not_finite_is_not_saved_in_mid_epoch_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dstrun.training.divergence.not_finite", lambda model: ["fc.weight"])
    monkeypatch.setattr("dstrun.training.divergence.find_first_nonfinite", lambda *_: (0, []))
    with pytest.raises(RunFailedError, match="NaN or infinite by step 1: fc"):
        run(config(checkpoint__every=1e-9), default_group="single")
    assert not list(Path("outputs").rglob(CHECKPOINT_FILE))


@pytest.mark.parametrize(
    ("every", "steps"),
    [(0, [6, 12]), (1e-9, [*range(1, 7), 6, *range(7, 13), 12]), (3.5, [4, 7, 11, 12])],
)
def test_checkpoints_are_saved_at_an_interval(
    monkeypatch: pytest.MonkeyPatch, every: float, steps: list[int]
) -> None:
    """The clock goes on by 1 with each reading, and an epoch's end is a moment of its own."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    saved: list[int] = []
    monkeypatch.setattr("dstrun.training.session.time", clock)
    monkeypatch.setattr(
        checkpoint, "save", lambda folder, state: saved.append(state["progress"]["step"])
    )
    run(config(checkpoint__every=every, schedule__epochs=2), default_group="single")
    assert saved == steps


def test_a_run_goes_on_with_the_threads_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "dstrun.training.session.set_threads", lambda count: asked.append(count) or 3
    )
    for overwrite in (False, True):
        run(config(schedule__epochs=0, overwrite=overwrite), default_group="single")
    assert asked == [0, 3]


def test_all_ranks_have_the_threads_that_the_first_had_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []

    def tell(ranks: Ranks, value: Any = None) -> Any:
        told.append(value)
        return value

    monkeypatch.setattr("dstrun.training.session.set_threads", lambda threads: threads or 7)
    monkeypatch.setattr(Ranks, "tell", tell)
    run(config(), default_group="single")
    assert told[0].config.threads == 7


def test_a_full_disk_at_the_end_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from a run that is finished nor from what is said of one that has failed."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_last", full)
        folder = run(config(schedule__epochs=1), default_group="single")
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert checkpoint.load_newest(folder)["progress"]["epoch"] == 1
    monkeypatch.setattr(Status, "end", full)
    monkeypatch.setattr(RunConsole, "show_epoch", lambda *_: 1 / 0)
    with pytest.raises(RunFailedError, match="ZeroDivisionError"):
        run(config(schedule__epochs=1, seed=1), default_group="single")


def test_a_checkpoint_says_what_its_images_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunConsole, "show_epoch", lambda *_: 1 / 0)
    with pytest.raises(RunFailedError):
        run(config(checkpoint__every=1e-9), default_group="single")
    (newest,) = Path("outputs").rglob(CHECKPOINT_FILE)
    state = checkpoint.load(newest)
    assert (state["shape"], state["classes"], state["data"]["train"]) == ([1, 6, 6], 3, 36)
