"""Lines about a run at its start and its end."""

from pathlib import Path
from typing import Any

import pytest

from dstrun.config.check import check
from dstrun.config.sections import ScheduleConfig
from dstrun.training import describe
from dstrun.training.describe import Size
from tests.helpers.commands import Command

SIZE = Size(parameters=12, masked=10, added=4)

TINY = ("schedule.epochs=1", "data.train_limit=64", "data.test_limit=64", "threads=1")


def test_data_is_told_with_its_parts_and_classes() -> None:
    data = {"train": 1438, "validation": 0, "test": 359, "shape": [1, 28, 28], "classes": 10}
    assert (
        describe.data_line("digits", data)
        == "digits: 1,438 training and 359 test images of 1×28×28, 10 classes"
    )
    data |= {"validation": 7, "class_names": ["cat", "dog", "owl", "rat"], "classes": 4}
    assert describe.data_line("pets", data) == (
        "pets: 1,438 training, 7 validation and 359 test images of 1×28×28, "
        "4 classes (cat, dog, owl, …)"
    )


def test_the_schedule_is_told_with_its_recipe() -> None:
    config = check({"schedule.epochs": 1, "schedule.rate": "cosine"})
    words = "1 epoch of 23 steps, 64 images each; sgd, learning rate 0.01 (cosine)"
    assert describe.schedule_line(config, 23, None) == words
    assert describe.schedule_line(config, 23, "lenet5-mnist") == f"{words}; recipe lenet5-mnist"
    changed = ["reg.alpha", "schedule.lr", "schedule.epochs", "schedule.rate", "data.pad"]
    assert describe.schedule_line(config, 23, "lenet5-mnist", changed) == (
        f"{words}; recipe lenet5-mnist but for reg.alpha, schedule.lr, schedule.epochs and 2 more"
    )
    config.schedule.batch_size, config.schedule.lr_per, config.schedule.ema = 1024, 64, 0.999
    assert describe.schedule_line(config, 23, None) == (
        "1 epoch of 23 steps, 1024 images each; sgd, learning rate 0.16 (cosine), "
        "0.01 per 64 images; weights averaged, decay 0.999"
    )


def test_weights_without_a_mask_are_counted_and_some_are_named() -> None:
    weights, reasons = {"a": 1, "b": 2, "c": 3, "d": 4}, dict.fromkeys("abcd", "excluded")
    assert describe.dense_line(weights, reasons, masked=30) == (
        "10 weights, 25.0% of all: a (excluded), b (excluded), c (excluded) and 1 more"
    )
    assert describe.dense_line({}, {}, masked=30) == ""


def test_both_densities_are_named_where_they_differ() -> None:
    assert describe.density_words(0.1, 0.1) == describe.density_words(0.1, None) == "density 10.00%"
    assert (
        describe.density_words(0.1, 0.55) == "density 10.00% of masked layers, 55.00% of the model"
    )


def test_the_result_in_a_line() -> None:
    summary = {
        "validation_accuracy": 0.5,
        "test_accuracy": 0.25,
        "density": 0.1,
        "density_model": 0.1,
        "flops_fraction": 0.125,
        "parameters_kept": 1234,
        "parameters": 56789,
    }
    assert describe.result_line(summary, "2 s") == (
        "validation accuracy 50.00%  test accuracy 25.00%  density 10.00%  multiply-adds 12.50%  "
        "1,234 of 56,789 parameters  2 s"
    )


def test_commands_to_type_next_can_be_pasted() -> None:
    folder = Path("my outputs/single/run-1")
    assert describe.next_commands(folder, sparse=True) == {
        "compare": "dstrun report 'my outputs/single'",
        "export": "dstrun export 'my outputs/single/run-1' --to network.safetensors",
    }
    assert describe.next_commands(folder, sparse=False)["export"] == ""


def test_a_gpu_is_told_with_memory_number_format_and_compilation() -> None:
    plain = ScheduleConfig()
    fast = ScheduleConfig(channels_last=True, compile="step")
    assert describe.device_line("cpu", "x86_64", 2, fast) == "cpu, 2 threads"
    card = ("cuda:0", "NVIDIA H100", 16)
    assert describe.device_line(*card, plain, ("79 GiB", "TF32 in convolutions")) == (
        "cuda:0, NVIDIA H100 (79 GiB), TF32 in convolutions"
    )
    assert describe.device_line(*card, fast, ("79 GiB", "bf16")) == (
        "cuda:0, NVIDIA H100 (79 GiB), bf16, channels_last, compile=step"
    )


def test_a_run_that_stayed_dense_is_told_what_prunes_more(command: Command) -> None:
    line = (
        "  sparser  almost nothing was pruned: a reg.threshold_start nearer to 0, "
        "more schedule.weight_decay or more epochs prune more"
    )
    assert line in " ".join(command(*TINY, "reg=str").out.split("\n"))
    assert describe.advice(check({"reg.method": "dst"}), 0.999).endswith(
        ": a higher reg.alpha or more epochs prune more"
    )
    for options, density in (
        ({"reg.method": "dst"}, 0.99),
        ({"reg.method": "dst", "schedule.epochs": 0}, 1.0),
        ({"reg.method": "dst", "reg.density": 0.999}, 0.999),
        ({"reg.method": "dense"}, 1.0),
        ({"reg.method": "l1", "reg.density": 0.999, "reg.start": 0.5}, 0.999),
    ):
        assert describe.advice(check(options), density) == ""


@pytest.mark.parametrize(
    ("before", "lines"),
    [
        ({"device": "cpu", "ranks": 2, "decoder": "pillow 12"}, []),
        (
            {"device": "cpu"},
            ["begun on 1 rank: the figures to come may differ in their last digits"],
        ),
        (
            {"device": "cuda", "ranks": 2},
            ["begun on cuda: the figures to come may differ in their last digits"],
        ),
        (
            {"device": "cpu", "ranks": 2, "decoder": "torchcodec 1"},
            ["begun with torchcodec 1: pixels of pillow 12 may differ in their last bits"],
        ),
    ],
)
def test_what_a_run_no_longer_has_of_its_beginning(
    before: dict[str, Any], lines: list[str]
) -> None:
    """A run of an earlier version has no ranks in status.json."""
    now = {"device": "cpu", "ranks": 2, "decoder": "pillow 12"}
    assert list(describe.begun_otherwise(before, now)) == lines
