"""Console of a run: lines, progress, table of layers, and their copy in train.log."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from dstrun.runs.log import close_log, open_log
from dstrun.training.console import RunConsole
from dstrun.training.layer_table import spark


def test_a_course_is_drawn_from_its_first_to_its_last_value() -> None:
    assert spark([1, 0.5, 0.25, 0]) == "█▅▃▁"
    assert spark([0.99]) == "█"
    assert spark([1.0] * 50 + [0.0] * 50, width=4) == "██▁▁"
    long = spark([1 - i / 999 for i in range(1000)])
    assert (len(long), long[0], long[-1]) == (32, "█", "▁")


def test_lines_and_table_go_to_the_log_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log(tmp_path)
    console = RunConsole(log)
    figures = {"train_loss": 0.5, "test_accuracy": 0.987, "density": 0.0123, "seconds": 2.0}
    console.show_epoch(3, 20, figures)
    console.show_layers(
        [{"layer": "fc1", "kept": 1, "total": 4, "dead_rows": 2}],
        {"fc1": [1, 0.25], "model": [1, 0.25]},
    )
    close_log(log)
    said, logged = capsys.readouterr().out, (tmp_path / "train.log").read_text()
    for text in (said, logged):
        assert "epoch  3/20  loss 0.5000  test  98.70%  density   1.23%  2.0 s" in text
        assert "25.00%" in text
        assert "█▃" in text
        assert "\x1b" not in text


def test_weights_left_dense_have_a_row_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"layer": "fc1", "kept": 1, "total": 4, "dead_rows": 2}
    RunConsole(logging.Logger("none")).show_layers(
        [row], {"fc1": [1, 0.25], "model": [1, 0.25]}, left_dense=6
    )
    table = []
    for line in capsys.readouterr().out.splitlines():
        if line.count("│") > 4:
            table.append([cell.strip() for cell in line.split("│")[1:7]])
    assert table[-4:] == [
        ["fc1", "1", "4", "25.00%", "2", "█▃"],
        ["masked layers", "1", "4", "25.00%", "2", "█▃"],
        ["left dense", "6", "6", "100.00%", "0", ""],
        ["model", "7", "10", "70.00%", "2", ""],
    ]


def test_colours_are_a_terminals_and_not_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(**options: object) -> str:
        file = io.StringIO()
        RunConsole(logging.Logger("none"), Console(file=file, **options)).say("failed", style="red")
        return file.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert shown(force_terminal=True) == "\x1b[31mfailed\x1b[0m\n"
    assert shown() == "failed\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in shown(force_terminal=True)


def test_progress_is_told_every_thirty_seconds_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("dstrun.training.console.time.monotonic", lambda: now[0])
    console = RunConsole(logging.Logger("none"))
    console.start(steps=40, step=0, batch_size=64, epochs=4)

    def figures() -> dict[str, float]:
        now[0] += 1  # which it costs
        return {"epoch": 2, "loss": 0.5, "accuracy": 0.75, "density": 0.125}

    def lines_at(seconds: float) -> list[str]:
        now[0] = seconds
        console.show_step(10, figures)
        return capsys.readouterr().out.splitlines()

    assert lines_at(29) == []
    assert lines_at(30) == [
        "epoch 2/4  step 10 of 40  loss 0.5000  accuracy 75.00%  density 12.50%  "
        "21 images/s  93 s left"
    ]
    # figures took 1 s, until 31: 50 times as long is over the limit of 30 s
    assert lines_at(60) == []
    assert len(lines_at(61)) == 1


def test_a_terminal_has_a_bar_until_the_end() -> None:
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=80)
    console = RunConsole(logging.Logger("none"), terminal)
    console.start(steps=40, step=10, batch_size=64, epochs=4)
    console.show_epoch(2, 4, {"density": 0.5, "seconds": 1.0, "step": 20})
    console.stop()
    shown = file.getvalue()
    assert "epoch 1/4" in shown
    assert "25%" in shown
    assert "epoch 3/4" in shown
    assert "50%" in shown


def test_the_name_of_a_layer_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    name = "stages.11.blocks.3.shortcut"
    course = [i / 40 for i in range(40)]
    row = {"layer": name, "kept": 1_000_000, "total": 2_359_296, "dead_rows": 12}
    RunConsole(logging.Logger("none")).show_layers([row], {name: course, "model": course})
    said = capsys.readouterr().out
    assert name in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_narrow_terminal_costs_the_course_and_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    row = {
        "layer": "encoder.layers.encoder_layer_0.mlp.0",
        "kept": 26_816,
        "total": 35_840,
        "dead_rows": 12,
    }
    RunConsole(logging.Logger("none")).show_layers(
        [row], {row["layer"]: [1], "model": [1]}, left_dense=37_632
    )
    said = capsys.readouterr().out
    for cell in (row["layer"], "26,816", "35,840", "74.82%", "12", "37,632", "64,448", "dead rows"):
        assert f" {cell} " in said
    assert "over" not in said
