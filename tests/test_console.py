"""What a person sees."""

import logging
from pathlib import Path

import pytest

from dstrun.console import RunConsole, spark
from dstrun.tracking import close_log, run_log


def test_a_course_is_drawn_from_its_first_to_its_last_value() -> None:
    assert spark([1, 0.5, 0.25, 0]) == "█▅▃▁"
    assert spark([0.99]) == "█"
    assert spark([1.0] * 50 + [0.0] * 50, width=4) == "██▁▁"
    long = spark([1 - i / 999 for i in range(1000)])
    assert (len(long), long[0], long[-1]) == (32, "█", "▁")


def test_lines_and_table_go_to_the_log_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = run_log(tmp_path / "train.log")
    console = RunConsole(log)
    figures = {"train_loss": 0.5, "test_accuracy": 0.987, "density": 0.0123, "seconds": 2.0}
    console.epoch(3, 20, figures)
    console.layers([{"layer": "fc1", "kept": 1, "total": 4, "dead_rows": 2}], {"fc1": [1, 0.25], "model": [1, 0.25]})
    close_log(log)
    said, logged = capsys.readouterr().out, (tmp_path / "train.log").read_text()
    for text in (said, logged):
        assert "epoch  3/20  loss 0.5000  test  98.70%  density   1.23%  2.0 s" in text
        assert "25.00%" in text
        assert "█▃" in text


def test_the_name_of_a_layer_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name = "stages.11.blocks.3.shortcut"
    course = [i / 40 for i in range(40)]
    row = {"layer": name, "kept": 1_000_000, "total": 2_359_296, "dead_rows": 12}
    RunConsole(logging.Logger("none")).layers([row], {name: course, "model": course})
    said = capsys.readouterr().out
    assert name in said
    assert max(map(len, said.splitlines())) <= 80


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    console = RunConsole(logging.Logger("none"))
    console.start(epochs=2, steps_per_epoch=5, step=0)
    console.step(3)
    console.stop()
    assert capsys.readouterr().out == ""
