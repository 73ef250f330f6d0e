"""Runs on text: figures of the loss, resuming, ranks; what reports and searches make of them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import dstrun
from dstrun.export.export import export
from dstrun.runs import checkpoint
from dstrun.runs.metrics import METRICS, wandb_row
from dstrun.runs.tasks import BITS_PER_BYTE, CLASSES, NEXT_TOKEN, PERPLEXITY, TASKS, task_of
from dstrun.sweep.early_stopping import _figures
from dstrun.sweep.front import front_table
from dstrun.sweep.study import objectives
from dstrun.system.errors import InputError
from dstrun.training.console import RunConsole
from dstrun.training.evaluate import evaluate
from dstrun.training.loss import mean_loss
from dstrun.training.prepare import prepare
from dstrun.training.run import evaluate_run, run
from dstrun.training.step import Update
from dstrun.training.trainer import Trainer
from tests.helpers.commands import Command
from tests.helpers.runs import rows
from tests.helpers.texts import Tokens, config, tokens, write_text  # noqa: F401

pytestmark = pytest.mark.usefixtures("tokens")


def test_figures_are_those_of_the_loss_and_the_only_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run(config(), "single")
    found = rows(folder / "metrics.csv")
    assert list(found[0]) == [
        *("epoch", "step", "lr", "train_loss", "penalty"),
        *("test_loss", "test_bits_per_byte", "test_perplexity"),
        *("density", "density_model", "flops_fraction", "seconds", "images_per_second"),
        *("validation_loss", "validation_bits_per_byte", "validation_perplexity"),
    ]
    for row in found:
        for split in ("test", "validation"):
            loss = float(row[f"{split}_loss"])
            assert float(row[f"{split}_bits_per_byte"]) == pytest.approx(loss / math.log(2))
            assert float(row[f"{split}_perplexity"]) == pytest.approx(math.exp(loss))
    summary = json.loads((folder / "summary.json").read_text())
    bits = [float(row["validation_bits_per_byte"]) for row in found]
    assert summary["best_by_validation"]["validation_bits_per_byte"] == min(bits)
    assert not [key for key in summary if "accuracy" in key]
    shown = capsys.readouterr().out
    assert "words: 127 training, 14 validation and 16 test sequences of 16 bytes" in shown
    assert f"test bits per byte {summary['test_bits_per_byte']:.4f}" in shown
    assert f"test  {summary['test_bits_per_byte']:.4f} bits per byte" in shown
    assert "sequences/s" in shown
    assert "accuracy" not in shown
    evaluate_run(folder, config())
    assert f"test perplexity {summary['test_perplexity']:.4f}" in capsys.readouterr().out


def test_the_loss_is_the_mean_over_all_bytes_of_the_text() -> None:
    """Predict every byte but the first by hand, in pieces as the text is cut."""
    prepared = prepare(config())
    trainer = Trainer(config(), prepared)
    model = trainer.model.eval()
    loss, right = evaluate(model, trainer._splits["test"]())
    whole = prepared.splits.test.text.long()  # type: ignore[union-attr]
    assert len(whole) % 16 == 1
    with torch.no_grad():
        logits = model(whole[None, :-1])[0]  # each byte is predicted from the one before alone
    assert loss == pytest.approx(F.cross_entropy(logits, whole[1:]).item(), rel=1e-6)
    assert right == pytest.approx((logits.argmax(1) == whole[1:]).float().mean().item())


def test_loss_and_share_right_of_sequences_and_of_images() -> None:
    logits, labels = torch.randn(3, 5, 7), torch.randint(7, (3, 5))
    loss, right = mean_loss(logits, labels, 0.1)
    flat = F.cross_entropy(logits.reshape(15, 7), labels.reshape(15), label_smoothing=0.1)
    assert torch.equal(loss, flat)
    hits = (logits.argmax(2) == labels).float()
    assert right.item() == pytest.approx(hits.mean(1).sum().item())
    loss, right = mean_loss(logits[0], labels[0])
    assert torch.equal(loss, F.cross_entropy(logits[0], labels[0]))
    assert right.item() == hits[0].sum()


@pytest.mark.parametrize("options", [{}, {"schedule__accumulate": 3}])
def test_a_step_moves_weights_by_the_gradient_of_the_mean_over_all_bytes(
    options: dict[str, Any],
) -> None:
    trainer = Trainer(config(**options), prepare(config(**options)))
    by_hand = Tokens((16,), 256)
    by_hand.load_state_dict(trainer.model.state_dict())
    inputs, targets = next(trainer.batches.shuffled(0))
    F.cross_entropy(by_hand(inputs).flatten(0, 1), targets.flatten()).backward()
    trainer.model.train()
    trainer.update(inputs, targets, 0.5)
    for moved, own in zip(trainer.model.parameters(), by_hand.parameters(), strict=True):
        assert own.grad is not None
        torch.testing.assert_close(moved.data, own.data - 0.5 * own.grad)


def test_a_part_of_a_rank_weighs_by_its_sequences() -> None:
    """Two parts of 11 and 10 of 21 sequences add up to the gradient of all."""
    trainer = Trainer(config(), prepare(config()))
    inputs, targets = torch.randint(256, (2, 21, 16))

    class Two:
        size, rank = 2, 0

        def average_(self, figures: Any) -> None:
            """Leave the figures of this rank."""

    found = []
    for part, ranks in ((slice(0, 11), Two()), (slice(11, 21), Two()), (slice(0, 21), None)):
        update = Update(trainer.model, trainer.method, trainer.update.optimiser)
        if ranks:
            update.ranks = ranks  # type: ignore[assignment]
        update(inputs[part], targets[part], 0.0, of=21)
        found.append([parameter.grad.clone() for parameter in trainer.model.parameters()])  # type: ignore[union-attr]
    for first, second, whole in zip(*found, strict=True):
        torch.testing.assert_close((first + second) / 2, whole)


def test_a_run_repeats_itself_and_a_resumed_one_equals_it_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupt a run in the middle of its second epoch: rows and weights are the same."""
    steered = {"reg__method": "dst", "reg__target_density": 0.3, "log__steps": 2}
    states = []
    for group in ("first", "second"):
        path = run(config(group=group, **steered), "single")
        states.append((checkpoint.load_newest(path)["model"], _rows(path)))
    trained = Trainer(config(**steered), prepare(config(**steered)))
    records = trained.records(lambda progress: progress.step == 11)
    for record in records:
        if record.kind == "pause":
            break
    assert 0 < trained.progress.batch < len(trained.batches)
    again = Trainer(config(**steered), trained.prepared, trained.state_dict())
    for record in again.records(lambda progress: False):
        last = record
    (weights, found), (others, more) = states
    assert found == more
    for name, value in weights.items():
        assert torch.equal(value, others[name])
        assert torch.equal(value, again.model.state_dict()[name])
    assert str(last.figures["test_loss"]) == found[-1]["test_loss"]


def _rows(folder: Path) -> list[dict[str, str]]:
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows(folder / METRICS_CSV)]


METRICS_CSV = "metrics.csv"


@pytest.mark.parametrize(
    "options",
    [
        {"reg__method": "dst", "reg__alpha": 1e-3, "schedule__precision": "bf16"},
        {"reg__method": "rigl", "reg__density": 0.5, "schedule__label_smoothing": 0.1},
        {"reg__method": "snip", "reg__density": 0.5},
        {"reg__method": "grasp", "reg__density": 0.5, "reg__images": 30},
        {"reg__method": "gmp", "reg__density": 0.5, "schedule__accumulate": 2},
    ],
)
def test_methods_train_on_text(options: dict[str, Any]) -> None:
    folder = run(config(**options), "single")
    (*_, last) = rows(folder / METRICS_CSV)
    assert 0 < float(last["test_bits_per_byte"]) < 8
    assert float(last["flops_fraction"]) == float(last["density"]) < 1


def test_grasp_scores_attention_whose_fused_kernel_has_no_second_derivative() -> None:
    small = {"depth": 1, "width": 8, "heads": 2}
    changes = {"model.name": "gpt", "model.builder": "gpt", "model.args": small}
    wanted = config(reg__method="grasp", reg__density=0.5, reg__images=4, **changes)
    Trainer(wanted, prepare(wanted))


@pytest.mark.parametrize("name", ["n.safetensors", "n.pt2"])
def test_a_network_of_text_is_exported_and_gives_what_it_gave(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(config(reg__method="rigl", reg__density=0.5), "single")
    capsys.readouterr()
    export(folder, to=Path(name))
    shown = capsys.readouterr().out
    assert "checked on 16 test sequences: largest difference" in shown
    assert "every class the same, bits per byte " in shown
    network = dstrun.load(name)
    state = checkpoint.load_newest(folder)["model"]
    by_hand = Tokens((16,), 256).eval()
    plain = {key: value for key, value in state.items() if key in by_hand.state_dict()}
    by_hand.load_state_dict(plain)
    inputs = torch.randint(256, (3, 16))
    torch.testing.assert_close(network(inputs), by_hand(inputs))
    with pytest.raises(InputError, match=r"^shrink: nothing can be removed from this network"):
        export(folder, to=Path("small.pt2"), shrink=True)
    assert not Path("small.pt2").exists()


def test_a_model_that_takes_whole_sequences_alone_is_refused() -> None:
    def fixed(shape: tuple[int, ...], classes: int) -> Tokens:
        model = Tokens(shape, classes)
        model.register_forward_pre_hook(_whole)
        return model

    def _whole(_: torch.nn.Module, arguments: tuple[torch.Tensor]) -> None:
        if arguments[0].shape[1] != 16:
            raise ValueError("too short")

    from dstrun import models

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.BUILDERS, "tokens", fixed)
        with pytest.raises(InputError, match=r"cannot take 1 sequence of data.root=words, 8, in e"):
            prepare(config())


def test_another_text_is_refused_on_resuming(command: Command) -> None:
    """A text of as many bytes, and one of more."""
    words = ["model=gpt", "data=text", "data.root=words", "data.args.length=16", "reg=dense"]
    words += ["model.args.depth=1", "model.args.width=8", "model.args.heads=1", "threads=1"]
    words += ["schedule.epochs=2", "group=g"]
    write_text(Path("words"))
    assert command(*words).code == 0
    (folder,) = (path for path in Path("outputs/g").iterdir() if path.is_dir())
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    file = Path("words/a.txt")
    content = file.read_text()
    file.write_text(content.replace("In", "On"))
    outcome = command(*words)
    assert outcome.code == 2
    assert "as many bytes of text, of which some are others now" in outcome.err
    assert "data.root=words: the run in " in outcome.err
    file.write_text(content + content)
    error = command(*words).err
    assert f"{len(content)} bytes of text, and there are {2 * len(content)} now" in error
    assert "training sequences" in error


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("data.pad=2", "it is for images, and words is text"),
        ("data.flip=true", "it is for images, and words is text"),
        ("data.size=64", "it is for images, and words is text"),
        ("data.mean=[0.5]", "it is for images, and words is text"),
        ("data.stream=true", "it is for images, and words is text"),
        ("data.download=true", "data=text only reads files on the disk"),
        ("schedule.channels_last=true", "it is for images, and words is text"),
    ],
)
def test_options_for_images_have_no_effect_and_say_so(
    command: Command, word: str, reason: str
) -> None:
    write_text(Path("words"))
    words = ["model=gpt", "data=text", "data.root=words", "data.args.length=16", "dry_run=true"]
    outcome = command(*words, word)
    assert outcome.code == 0
    assert f"{word.partition('=')[0]} has no effect: {reason}" in outcome.err


def test_columns_of_classes_are_as_they_were() -> None:
    assert (
        *("epoch", "step", "lr", "train_loss", "penalty", "train_accuracy", "test_loss"),
        *("test_accuracy", "density", "density_model", "flops_fraction", "seconds"),
        "images_per_second",
    ) == METRICS
    assert CLASSES.held_out("test", 0.5, 0.75) == {"test_loss": 0.5, "test_accuracy": 0.75}


def test_tasks_and_their_figures() -> None:
    assert list(TASKS) == ["classes", "next_token"]
    assert NEXT_TOKEN.held_out("test", math.log(4), 0) == pytest.approx(
        {"test_loss": math.log(4), "test_bits_per_byte": 2, "test_perplexity": 4}
    )
    assert NEXT_TOKEN.in_training(1.5, 0.5) == {"train_loss": 1.5}
    assert PERPLEXITY.of(1e4, 0) == math.inf
    assert task_of(["epoch"]) is task_of({"test_bits_per_byte": None}) is CLASSES
    assert task_of({"test_bits_per_byte": 1.0, "test_accuracy": math.nan}) is NEXT_TOKEN
    row = wandb_row({"test_bits_per_byte": 2.0, "validation_perplexity": 4.0}, [])
    assert row == {"bits_per_byte/test": 2.0, "perplexity/validation": 4.0}


def test_a_search_lowers_bits_per_byte() -> None:
    figures = {"test_bits_per_byte": 2.0, "validation_bits_per_byte": 4.0, "density": 0.1}
    assert objectives(figures) == pytest.approx([math.log10(4), -1])
    text = {key: str(value) for key, value in figures.items()}
    assert _figures(text) == (-4.0, 0.1)
    shown = front_table(["reg.alpha"], [["run", 1e-3, 4.0, 0.1, 2.0]], BITS_PER_BYTE)
    assert [list(column.cells) for column in shown.columns] == [
        *(["0.001"], ["4.0000"], ["10.00%"], ["2.0000"])
    ]


def test_progress_names_the_headline() -> None:
    import logging

    from rich.console import Console

    console = RunConsole(logging.getLogger("none"), Console(width=200), NEXT_TOKEN)
    with console._console.capture() as capture:
        console.start(10, 0, 4, 1)
        assert console._clock is not None
        console._clock._due = 0.0
        console.show_step(1, lambda: {"epoch": 1, "loss": 2, "bits_per_byte": 2.9, "density": 1})
    shown = capture.get()
    assert "loss 2.0000  bits per byte 2.9000  density" in shown
    assert "sequences/s" in shown


def test_an_example_of_text_is_of_tokens() -> None:
    prepared = prepare(config())
    assert prepared.example.dtype == torch.int64
    assert prepared.example.shape == (1, 16)
    assert replace(prepared).task is NEXT_TOKEN
