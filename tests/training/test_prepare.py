"""What is prepared for a run on a GPU, emulated by what torch says of it."""

import dataclasses
import logging
import warnings
from pathlib import Path

import pytest
import torch

from dstrun.runs.folder import RunFolder, read_config
from dstrun.runs.status import Status
from dstrun.system.errors import InputError
from dstrun.training.build import make_batches
from dstrun.training.console import RunConsole
from dstrun.training.prepare import prepare
from dstrun.training.recorder import Recorder
from dstrun.training.run import evaluate_run, run, run_as_job
from dstrun.training.trainer import Trainer
from tests.helpers.commands import Command
from tests.helpers.gpus import TOO_OLD, emulate_gpus, emulate_unusable_gpu
from tests.helpers.tiny import config, tiny  # noqa: F401

pytestmark = pytest.mark.usefixtures("tiny")


def test_images_stay_on_the_host_where_they_take_more_than_half_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = prepare(config()).splits
    size = splits.train.images.nbytes + splits.test.images.nbytes
    for free, stays in ((2 * size, False), (2 * size - 1, True)):
        emulate_gpus(monkeypatch, free=free)
        for held_out in (0.0, 0.5):  # a validation split is part of the same images
            prepared = prepare(config(device="auto", data__validation=held_out))
            assert prepared.on_host == stays == bool(prepared.notes)
    assert not prepare(config(device="cpu")).on_host


def test_the_note_on_memory_says_how_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate_gpus(monkeypatch, free=0)
    (note,) = prepare(config(device="auto")).notes
    assert note == (
        "device: the images, 0 MiB, stay in the host's memory, since 0 MiB are free on cuda:0; "
        "batches are copied while it computes"
    )


@pytest.mark.parametrize("on_host", [False, True])
def test_batches_are_where_the_images_have_been_found_room(
    monkeypatch: pytest.MonkeyPatch, on_host: bool
) -> None:
    """Emulate pinned memory: only images on the host go through it."""
    pinned: list[int] = []
    prepared = dataclasses.replace(prepare(config()), on_host=on_host)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda images: pinned.append(len(images)) or images
    )
    train, splits = make_batches(config(), prepared)
    for batches in (train.shuffled(0), splits["test"]()):
        pinned.clear()
        next(iter(batches))
        assert bool(pinned) == on_host


def test_bf16_is_refused_by_a_card_that_would_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    emulate_gpus(monkeypatch, capability=(7, 5))
    with pytest.raises(InputError) as refused:
        prepare(config(device="auto", schedule__precision="bf16"))
    assert str(refused.value) == (
        "schedule.precision: got 'bf16', in which cuda:0, NVIDIA H100, cannot compute; "
        "expected fp32"
    )
    assert prepare(config(schedule__precision="bf16", device="cpu")).device.type == "cpu"
    emulate_gpus(monkeypatch, capability=(8, 0))
    assert prepare(config(device="auto", schedule__precision="bf16")).gpu == ("80 GiB", "bf16")


def test_a_driver_that_is_too_old_is_one_line_and_nothing_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulate_unusable_gpu(monkeypatch, TOO_OLD)
    outcome = command("device=cuda")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert outcome.err.startswith("dstrun: device: got 'cuda', expected auto or a device")
    assert "; the NVIDIA driver is too old for torch" in outcome.err
    assert not list(Path().iterdir())


def test_auto_trains_on_the_cpu_and_says_why_where_the_driver_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not prepare(config(device="auto")).notes, "no driver, no note"
    emulate_unusable_gpu(monkeypatch, TOO_OLD)
    prepared = prepare(config(device="auto"))
    assert prepared.device == torch.device("cpu")
    (note,) = prepared.notes
    assert note.startswith("device: the CPU is used, since the NVIDIA driver is too old for torch")


def test_an_evaluation_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(config(schedule__epochs=0), default_group="single")
    emulate_unusable_gpu(monkeypatch, TOO_OLD)
    own = read_config(folder)
    assert own is not None
    evaluate_run(folder, dataclasses.replace(own, device="auto"))
    said = capsys.readouterr()
    assert "test accuracy" in said.out
    assert said.err.startswith("dstrun: note: device: the CPU is used, since the NVIDIA driver is")


def test_the_compilers_advice_on_tf32_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.11 gives it as a warning, which would be an error here."""
    monkeypatch.setattr("dstrun.training.prepare.missing_for_compilation", lambda device: None)
    prepare(config(schedule__compile="step"))
    warnings.warn("TensorFloat32 tensor cores for float32 matrix mul", stacklevel=1)


def test_what_is_faster_on_a_gpu_is_noted_by_a_single_run_and_not_by_a_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "dstrun: note: on a GPU schedule.compile=step (or mask) is faster: a step of dst"
    for gpu in ((), ("80 GiB", "TF32 in convolutions")):
        prepared = dataclasses.replace(prepare(config()), gpu=gpu)
        monkeypatch.setattr("dstrun.training.run.prepare", lambda *_, prepared=prepared: prepared)
        run(config(schedule__epochs=1, group=f"gpu{len(gpu)}"), default_group="single")
        assert capsys.readouterr().err.startswith(note) == bool(gpu)
        run_as_job(config(schedule__epochs=1, group=f"job{len(gpu)}"), default_group="grid")
        assert capsys.readouterr().err == ""


def test_the_opening_lines_say_what_the_gpu_computes_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train on the CPU with what is said of a GPU."""
    wanted = config(group="single", schedule__channels_last=True)
    here, folder = prepare(wanted), RunFolder.of(wanted, "single")
    folder.path.mkdir(parents=True)
    emulate_gpus(monkeypatch, free=0)
    there = prepare(dataclasses.replace(wanted, device="auto"))
    prepared = dataclasses.replace(here, gpu=there.gpu, notes=there.notes)
    status = Status(folder.path)
    status.begin(threads=1, device="cuda:0", device_name="NVIDIA H100")
    console = RunConsole(logging.getLogger("test"))
    with Recorder(folder, prepared, Trainer(wanted, here), console, {}) as recorder:
        recorder.announce(status)
    status.release()
    out = capsys.readouterr().out
    assert "cuda:0, NVIDIA H100 (80 GiB), TF32 in convolutions, channels_last\n" in out
    assert "note: device: the images, 0 MiB, stay in the host's memory" in out
