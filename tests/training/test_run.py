"""Whole runs through the command line, on real digits: what they leave, resume, rerun, eval,
refuse.
"""

import fcntl
import json
import os
import re
import signal
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from dstrun import models
from dstrun.runs.checkpoint import list_checkpoints
from dstrun.runs.identity import run_name
from dstrun.runs.metrics import LAYERS, METRICS, STEERED, Rows
from dstrun.runs.status import holder
from dstrun.system.files import sha256, write_json
from dstrun.system.run_files import RESULT_FILES
from dstrun.training import recorder, session
from dstrun.training.console import RunConsole
from dstrun.training.layer_table import spark
from tests.helpers.commands import Command, Outcome, Trained
from tests.helpers.data import made_up
from tests.helpers.runs import (
    LONG,
    QUICK,
    assert_broken_equals_whole,
    kill_in_epoch,
    only_run,
    only_run_named,
    rows,
    stop_at,
    without_times,
)


def test_no_word_at_all_is_the_default_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "dstrun.training.run.run",
        lambda config, default_group, notes: done.append((run_name(config), default_group)),
    )
    assert command() == Outcome(0, "", "")
    assert done == [("lenet_300_100-digits-a2e-3-s0-" + done[0][0][-8:], "single")]


def test_a_run_leaves_its_files(command: Command) -> None:
    outcome = command(*QUICK, "seed=3")
    assert (outcome.code, outcome.err) == (0, "")
    folder = only_run()
    assert re.fullmatch(r"lenet_300_100-digits-a2e-3-s3-[0-9a-f]{8}", folder.name)
    names = {
        "config.yaml",
        "status.json",
        "metrics.csv",
        "layers.csv",
        "summary.json",
        "checkpoint.pt",
        "train.log",
    }
    assert {file.name for file in folder.iterdir()} == names

    metrics, layers = rows(folder / "metrics.csv"), rows(folder / "layers.csv")
    assert tuple(metrics[0]) == METRICS
    assert tuple(layers[0]) == LAYERS
    assert [(row["epoch"], row["step"]) for row in metrics] == [("1", "4"), ("2", "8")]
    assert [row["layer"] for row in layers] == ["fc1", "fc2", "fc3"] * 2
    last = layers[3:]
    assert float(metrics[1]["density"]) == sum(int(r["kept"]) for r in last) / sum(
        int(r["total"]) for r in last
    )
    assert all(
        0 <= float(metrics[1][key]) <= 1
        for key in ("train_accuracy", "test_accuracy", "flops_fraction")
    )

    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test_accuracy"] == float(metrics[1]["test_accuracy"])
    assert (summary["total"], summary["parameters"], summary["thresholds"]) == (
        266_200,
        266_610,
        410,
    )
    assert summary["parameters_kept"] == 266_610 - 266_200 + summary["kept"]

    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["error"], status["device"], status["threads"]) == (
        "finished",
        None,
        "cpu",
        1,
    )
    assert status["owner"]["pid"] == os.getpid()
    assert {"python", "torch", "dstrun"} <= set(status["versions"])
    assert OmegaConf.load(folder / "config.yaml").seed == 3
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert set(checkpoint) == {"format", "model", "shape", "classes", "data"}
    assert checkpoint["data"] == status["data"]
    assert status["data"] == {
        "classes": 10,
        "shape": [1, 28, 28],
        "train": 200,
        "validation": 0,
        "test": 100,
    }
    assert status["files"] == {name: sha256(folder / name) for name in RESULT_FILES}
    log = (folder / "train.log").read_text()
    assert "epoch 2/2" in log
    assert "fc1" in log
    assert "density by layer" in outcome.out
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("│ model ")]
    kept = [
        sum(int(row["kept"]) for row in layers if row["epoch"] == epoch) for epoch in ("1", "2")
    ]
    assert line.split()[-2] == spark([count / 266_200 for count in kept])
    assert "compiling" not in outcome.out


@pytest.mark.slow
def test_the_default_run_is_accurate_and_sparse(command: Command) -> None:
    assert command().code == 0
    summary = json.loads((only_run() / "summary.json").read_text())
    assert summary["test_accuracy"] >= 0.95
    assert summary["density"] <= 0.20


def test_the_same_command_again_does_nothing(command: Command, trained: Trained) -> None:
    trained(*QUICK)
    before = {file.name: file.stat().st_mtime_ns for file in only_run().iterdir()}
    outcome = command(*QUICK)
    assert outcome.code == 0
    assert "finished already" in outcome.out
    assert {file.name: file.stat().st_mtime_ns for file in only_run().iterdir()} == before


def test_the_same_seed_gives_the_same_figures_and_another_does_not(command: Command) -> None:
    for group, seed in (("a", 0), ("b", 0), ("c", 1)):
        command(*QUICK, f"seed={seed}", f"group={group}")
    a, b, c = (without_times(only_run(f"outputs/{group}") / "metrics.csv") for group in "abc")
    assert a == b != c


def test_a_dense_run_is_a_run_like_any_other(trained: Trained) -> None:
    trained(*QUICK, "reg=dense")
    folder = only_run()
    assert folder.name.startswith("lenet_300_100-digits-dense-s0-")
    layers = rows(folder / "layers.csv")
    assert {(row["density"], row["threshold_mean"]) for row in layers} == {("1.0", "")}


def test_many_options_at_once(command: Command) -> None:
    """What each of them does is in test_options.py."""
    words = [
        "reg.granularity=weight",
        "reg.exclude=[fc3]",
        "schedule.precision=bf16",
        "deterministic=true",
    ]
    words += [
        "schedule=cosine",
        "schedule.optimiser=adamw",
        "schedule.lr=1e-3",
        "schedule.clip=1",
        "schedule.warmup=1",
    ]
    outcome = command(*QUICK, *words, "schedule.accumulate=4")
    assert (outcome.code, outcome.complaints) == (0, "")
    assert float(rows(only_run() / "metrics.csv")[1]["train_loss"]) < 3


def test_a_validation_split_is_reported_and_chooses_the_best_epoch(trained: Trained) -> None:
    trained(*QUICK, "data.validation=0.25")
    folder = only_run()
    metrics = rows(folder / "metrics.csv")
    assert tuple(metrics[0]) == (*METRICS, "validation_loss", "validation_accuracy")
    best = json.loads((folder / "summary.json").read_text())["best_by_validation"]
    assert best["validation_accuracy"] == max(float(row["validation_accuracy"]) for row in metrics)
    assert metrics[0]["step"] == "3"  # 150 images left


def test_no_epochs_is_an_evaluation(command: Command, trained: Trained) -> None:
    trained(*QUICK)
    run = only_run()
    assert (
        command("schedule.epochs=0", "data.test_limit=100", f"init={run}", "group=again").code == 0
    )
    (row,) = rows(only_run("outputs/again") / "metrics.csv")
    assert row["test_accuracy"] == rows(run / "metrics.csv")[1]["test_accuracy"]
    assert row["density"] == rows(run / "metrics.csv")[1]["density"]
    assert row["train_loss"] == ""


def test_dry_run_says_what_would_be_done_and_writes_nothing(command: Command) -> None:
    outcome = command("dry_run=true")
    assert (outcome.code, list(Path().iterdir())) == (0, [])
    assert re.search(r"outputs/single/lenet_300_100-digits-a2e-3-s0-\w{8}: new", outcome.out)


REFUSED = [
    # LeNet-300-100 has 410 neurons and 266,200 weights: 0.1 % are too few
    (["reg=set", "reg.density=0.001"], "reg.density: got 0.001, which keeps 267 of"),
    (["reg=set", "reg.structure=3:5"], "reg.structure: got 3:5, and 5 does not divide the number"),
]


@pytest.mark.parametrize(("words", "line"), REFUSED)
def test_a_dry_run_is_refused_as_the_run(command: Command, words: list[str], line: str) -> None:
    alone = command("dry_run=true", *words)
    assert alone == command(*words)
    assert (alone.code, alone.out) == (2, "")
    assert alone.err.startswith(f"dstrun: {line}")
    several = command("-m", "seed=0,1", "dry_run=true", *words)
    assert (several.code, several.out, several.err) == (2, "", alone.err)


def test_a_dry_run_needs_neither_device_nor_data(command: Command) -> None:
    words = ("dry_run=true", "device=cuda:7", "data=mnist", "data.root=nowhere")
    note = "dstrun: note: network and method are not checked: data.root: MNIST is not"
    for more in ((), ("-m", "seed=0,1")):
        outcome = command(*more, *words, "data.download=true")
        assert (outcome.code, len(outcome.err.splitlines())) == (0, 1)
        assert outcome.err.startswith(note)
    assert not Path("nowhere").exists(), "nothing is downloaded"


def test_rerun_with_changes_stays_in_the_group(command: Command, trained: Trained) -> None:
    trained(*QUICK, "group=here")
    folder = only_run("outputs/here")
    again = command("rerun", f"{folder}/", "reg=dense", "seed=5")
    assert again.code == 0
    first, second, *_ = again.out.splitlines()
    assert (
        first
        == f"{folder}: again with reg=dense seed=5, into outputs/here (group=NAME: into another)"
    )
    assert re.match(r"outputs/here/lenet_300_100-digits-dense-s5-\w{8}", second)
    assert (
        command("rerun", str(folder)).out
        == f"{folder}: finished already (overwrite=true starts over)\n"
    )
    elsewhere = command("rerun", str(folder), "group=there", "dry_run=true")
    assert elsewhere.out == f"outputs/there/{folder.name}: new\n"


def test_rerun_with_another_model_takes_no_arguments_of_the_old_one(
    command: Command, trained: Trained
) -> None:
    trained(*QUICK, "model=lstm_a", "model.args.hidden=8")
    assert command("rerun", str(only_run()), "model=lenet5", "schedule.epochs=1").code == 0
    (config,) = (
        OmegaConf.load(file) for file in Path("outputs/single").glob("lenet5-*/config.yaml")
    )
    assert (config.model.args, config.data.train_limit) == ({}, 200)
    several = command("rerun", str(only_run_named("lenet5")), "seed=1,2")
    assert (several.code, several.err) == (2, "dstrun: seed=1,2: expected one value for seed\n")


def test_eval_gives_the_figures_of_the_last_epoch(command: Command, trained: Trained) -> None:
    trained(*QUICK)
    outcome = command("eval", str(only_run()), "threads=1")
    summary = json.loads((only_run() / "summary.json").read_text())
    assert outcome.code == 0
    assert f"test accuracy {summary['test_accuracy']:.2%}" in outcome.out
    assert f"density {summary['density']:.2%}" in outcome.out
    for change in ("seed=4", "data.test_limit=0"):
        changed = command("eval", str(only_run()), change)
        assert changed.code == 2
        assert (
            f"eval leaves a run as it was trained, `dstrun rerun` changes {change.split('=')[0]}"
            in changed.err
        )
    (only_run() / "checkpoint.pt").unlink()
    none = command("eval", str(only_run()))
    assert none.err == (
        f"dstrun: {only_run()}: there is no checkpoint {only_run()}/checkpoint.pt; the run's "
        f"state is finished\n"
    )


def test_a_run_is_held_until_its_last_checkpoint_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, str | None]] = []
    monkeypatch.setattr(
        session.checkpoint,
        "save_last",
        lambda folder, _: held.append(
            (json.loads((folder / "status.json").read_text())["state"], holder(folder))
        ),
    )
    assert command("schedule.epochs=0").code == 0
    assert held == [("finished", f"process {os.getpid()} on {socket.gethostname()}")]
    assert holder(only_run()) is None


def test_initial_weights_of_a_dense_run_for_a_sparse_one(
    command: Command, trained: Trained
) -> None:
    trained(*QUICK, "reg=dense", "group=dense")
    dense = only_run("outputs/dense")
    assert command(*QUICK, f"init={dense}", "group=sparse").code == 0
    first = float(rows(only_run("outputs/sparse") / "metrics.csv")[0]["train_loss"])
    assert first < float(rows(dense / "metrics.csv")[0]["train_loss"])
    wrong = command(*QUICK, "model=lenet5", f"init={dense}", "group=wrong")
    assert wrong.code == 2
    assert "init: conv1.bias of" in wrong.err
    assert not Path("outputs/wrong").exists()


@pytest.mark.slow
def test_a_folder_of_images_trains_resnet50(command: Command, tmp_path: Path) -> None:
    from torchvision.utils import save_image

    splits = made_up((3, 40, 40), classes=2, train=12)
    for number, (image, label) in enumerate(
        zip(splits.train.images, splits.train.labels, strict=True)
    ):
        folder = tmp_path / "photos" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        save_image(image / 255, folder / f"{number}.png")
    words = ["model=resnet50", "data=folder", f"data.root={tmp_path / 'photos'}", "data.size=32"]
    outcome = command(*words, "schedule.epochs=1", "schedule.batch_size=5")
    assert (outcome.code, outcome.complaints) == (0, "")
    assert only_run().name.startswith("resnet50-photos-")
    assert len(rows(only_run() / "layers.csv")) == 54


def test_stopped_and_killed_in_mid_epoch_and_started_again_equals_undisturbed(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(*LONG, "group=whole")
    stopped = stop_at(command, monkeypatch, step=14, number=signal.SIGTERM)
    assert (stopped.code, stopped.err) == (128 + signal.SIGTERM, "")
    assert "interrupted at step 14; run the same command to resume" in stopped.out
    folder = only_run("outputs/broken")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    kill_in_epoch(3)
    assert json.loads((folder / "status.json").read_text())["state"] == "running"
    newest = list_checkpoints(folder)[0]  # the one before, if it was killed between two renames
    progress = torch.load(newest, weights_only=True)["progress"]
    assert 20 < progress["step"] < 40
    with (folder / "metrics.csv").open("a") as metrics:
        metrics.write("9,9,0.1")  # what a kill in the middle of a row leaves behind
    outcome = command(*LONG, "group=broken")
    assert outcome.code == 0
    assert f"resuming    at step {progress['step']} of" in outcome.out
    assert_broken_equals_whole()


def test_a_signal_at_the_very_end_costs_no_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(session.RunConsole, "show_layers", signalled)
    assert command(*QUICK).code == 128 + signal.SIGINT
    assert json.loads((only_run() / "status.json").read_text())["state"] == "finished"


def test_a_schedulers_handler_gets_its_signal_once_the_run_is_safe(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit puts a job into the queue again from its handler of SIGUSR2, and lets SIGTERM
    pass.
    """
    seen: list[str] = []

    def queue_again(*_: object) -> None:
        status = json.loads((only_run() / "status.json").read_text())
        seen.append(f"{status['state']} {(only_run() / 'checkpoint.pt').is_file()}")

    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    signal.signal(signal.SIGUSR2, queue_again)
    signal.signal(signal.SIGTERM, lambda *_: seen.append("passed"))
    epoch = RunConsole.show_epoch

    def signalled(*words: Any) -> None:
        epoch(*words)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR2)

    monkeypatch.setattr(RunConsole, "show_epoch", signalled)
    try:
        assert command(*QUICK).code == 128 + signal.SIGUSR2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == ["passed", "interrupted True"]


def test_a_damaged_checkpoint_means_starting_over(command: Command, trained: Trained) -> None:
    trained(*QUICK)
    folder = only_run()
    undisturbed = without_times(folder / "metrics.csv")
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "running"}))
    (folder / "checkpoint.pt").write_bytes(b"PK damaged")
    outcome = command(*QUICK)
    assert outcome.code == 0
    assert "checkpoint.pt cannot be read (BadZipFile): starting over" in outcome.out
    assert without_times(folder / "metrics.csv") == undisturbed


@pytest.mark.parametrize("damage", ["newest", "rows"])
@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """One bit of a weight, which torch itself would not notice; or a digit among the rows that the
    newest counts on.
    """
    trained(*LONG, "group=whole")
    for step in (14, 25):
        stop_at(command, monkeypatch, step, signal.SIGTERM, [*LONG, "checkpoint.every=9999"])
    folder = only_run("outputs/broken")
    if damage == "newest":
        with zipfile.ZipFile(folder / "checkpoint.pt") as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content = bytearray((folder / "checkpoint.pt").read_bytes())
        content[largest.header_offset + largest.file_size // 2] ^= 1
        (folder / "checkpoint.pt").write_bytes(content)
        torch.load(folder / "checkpoint.pt", weights_only=True)
    else:
        text = (folder / "metrics.csv").read_text()
        (folder / "metrics.csv").write_text(
            text[:-3] + ("1" if text[-3] != "1" else "2") + text[-2:]
        )
    outcome = command(*LONG, "group=broken")
    assert outcome.code == 0
    assert {"newest": "checkpoint.pt is damaged", "rows": "metrics.csv is not as it was written"}[
        damage
    ] in outcome.out
    assert ": trying checkpoint.before.pt" in outcome.out
    assert "resuming    at step 14 of" in outcome.out
    assert_broken_equals_whole()
    assert not (folder / "checkpoint.before.pt").exists()


def test_a_checkpoint_of_a_later_version_is_not_written_over(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(command, monkeypatch, 14, signal.SIGTERM)
    path = only_run("outputs/broken") / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | {"format": 99}, path)
    before = path.read_bytes()
    outcome = command(*LONG, "group=broken")
    assert outcome.code == 1
    assert "is of a later dstrun (format 99, this one reads up to 1)" in outcome.out
    assert path.read_bytes() == before


def test_a_finished_run_that_has_been_altered_says_so(command: Command, trained: Trained) -> None:
    trained(*QUICK)
    folder = only_run()
    (folder / "metrics.csv").write_text((folder / "metrics.csv").read_text().replace("0.", "1.", 1))
    outcome = command(*QUICK)
    assert (outcome.code, outcome.err) == (0, f"{folder}: metrics.csv is not as the run left it\n")
    assert "metrics.csv is not as the run left it" in command("report").err
    command(*QUICK, "overwrite=true")
    assert command(*QUICK).err == ""


def test_a_disk_that_is_full_at_the_summary_costs_no_epoch(
    command: Command, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(*QUICK, "group=whole")
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise OSError("No space left on device")

        patch.setattr(recorder, "write_json", die)
        outcome = command(*QUICK, "group=broken")
    assert outcome.code == 1
    assert "failed, OSError: No space left on device (traceback in train.log)" in outcome.out
    folder = only_run("outputs/broken")
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    assert "Traceback" in (folder / "train.log").read_text()
    assert command(*QUICK, "group=broken").code == 0
    for name in ("metrics.csv", "layers.csv"):
        assert without_times(folder / name) == without_times(only_run("outputs/whole") / name)


def test_a_finished_run_is_not_trained_again_when_its_status_is_lost(
    command: Command, trained: Trained
) -> None:
    trained(*QUICK)
    folder = only_run()
    before = (folder / "metrics.csv").read_bytes()
    (folder / "status.json").write_text("{")
    assert "finished already" in command(*QUICK).out
    assert (folder / "metrics.csv").read_bytes() == before


def test_rows_lost_behind_a_checkpoint_mean_starting_over(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(command, monkeypatch, step=14, number=signal.SIGINT)
    folder = only_run("outputs/broken")
    (folder / "layers.csv").unlink()
    outcome = command(*LONG, "group=broken")
    assert outcome.code == 0
    assert "layers.csv has lost " in outcome.out
    assert "starting over" in outcome.out
    assert len(rows(folder / "metrics.csv")) == 4


class Nested(nn.Module):
    """Layers with names that look like numbers, batch norm on vectors, and a builder that looks at
    values.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        width = int(torch.linspace(8, 16, 2)[1].item())
        inner = [
            nn.Flatten(),
            nn.Linear(784, width),
            nn.BatchNorm1d(width),
            *(nn.Identity() for _ in range(7)),
        ]
        self.stages = nn.Sequential(nn.Sequential(*inner, nn.Linear(width, classes)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stages(images)


def test_names_of_layers_are_text_and_no_piece_of_a_batch_is_one_image(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.BUILDERS, "lenet5", Nested)
    words = [
        "data.train_limit=69",
        "schedule.batch_size=64",
        "schedule.accumulate=4",
        "schedule.epochs=2",
    ]
    outcome = command("model=lenet5", *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert "stages.0.10" in outcome.out


def test_a_run_that_diverges_fails_and_says_when(command: Command) -> None:
    outcome = command(*QUICK, "schedule.lr=1e30")
    assert outcome.code == 1
    assert (
        "DivergedError: NaN or infinite from step 2, in epoch 1: fc1.weight and 6 more; "
        "there is no checkpoint yet; "
    ) in outcome.out
    status = json.loads((only_run() / "status.json").read_text())
    assert (status["state"], status["error"][:14]) == ("failed", "DivergedError:")
    assert [row["train_loss"] for row in rows(only_run() / "metrics.csv")] == ["nan"]


def test_what_is_not_finite_is_null_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "it", {"a": float("nan"), "b": [float("inf"), 1.5], "c": (float("nan"),)})
    assert json.loads((tmp_path / "it").read_text()) == {"a": None, "b": [None, 1.5], "c": [None]}


def test_a_file_named_stop_stops_a_run_at_an_epochs_end(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = RunConsole.show_epoch
    monkeypatch.setattr(
        RunConsole, "show_epoch", lambda *words: (epoch(*words), (only_run() / "stop").touch())
    )
    assert command(*QUICK, "group=single").code == 128 + signal.SIGTERM
    assert json.loads((only_run() / "status.json").read_text())["state"] == "interrupted"
    assert len(rows(only_run() / "metrics.csv")) == 1
    monkeypatch.setattr(RunConsole, "show_epoch", epoch)
    assert command(*QUICK, "group=single").code == 0
    assert not (only_run() / "stop").exists()


def test_a_run_can_be_evaluated_from_another_folder(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(*QUICK, "data.root=here")
    folder = only_run().resolve()
    assert OmegaConf.load(folder / "config.yaml").data.root == str(Path("here").absolute())
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert command("eval", str(folder)).code == 0


def test_two_processes_do_not_write_one_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(command, monkeypatch, step=5, number=signal.SIGINT)
    with (only_run("outputs/broken") / "train.log").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = command(*LONG, "group=broken")
    assert outcome.code == 2
    assert f"is being written by process {os.getpid()} on" in outcome.err


def test_a_folder_that_holds_another_run_is_not_taken_for_this_one(
    command: Command, trained: Trained
) -> None:
    trained(*QUICK)
    config = OmegaConf.load(only_run() / "config.yaml")
    config.seed = 99
    OmegaConf.save(config, only_run() / "config.yaml")
    outcome = command(*QUICK)
    assert outcome.code == 2
    assert "holds another run, which differs in seed" in outcome.err


def test_a_run_begun_by_an_earlier_version_keeps_its_columns() -> None:
    file = Path("metrics.csv")
    file.write_text("epoch,density\n1,0.5\n9,9\n")
    rows_of_it = Rows(
        file, ("epoch", "density", "density_model"), keep=len("epoch,density\n1,0.5\n")
    )
    rows_of_it.append([{"epoch": 2, "density": 0.25, "density_model": 0.3}])
    rows_of_it.close()
    assert file.read_text() == "epoch,density\n1,0.5\n2,0.25\n"


def test_columns_stand_in_the_order_of_earlier_versions() -> None:
    (run,) = (Path(__file__).parents[2] / "docs/runs/best_table1").glob(
        "lenet5-mnist-d1.25e-2-s0-*"
    )
    for name, columns in (("metrics.csv", (*METRICS, *STEERED)), ("layers.csv", LAYERS)):
        written = (run / name).read_text().splitlines()[0].split(",")
        assert [column for column in columns if column in written] == written


def test_masks_that_never_move_in_so_few_steps_are_noted(command: Command) -> None:
    words = [*QUICK, "reg=rigl", "reg.density=0.1"]
    out = command(*words, "reg.every=1000").out
    assert " of the run, once\n" in out
    assert "note: reg.every=1000: masks move in the first step alone, for the run has " in out
    assert "note: reg.every" not in command(*words, "reg.every=2").out
