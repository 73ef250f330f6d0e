"""Tables of runs from folders in every state, with nothing read outside them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dstrun.compare.run_tables import Store
from dstrun.runs.metrics import LAYERS
from dstrun.runs.status import Status
from dstrun.system.errors import InputError
from tests.helpers.folders import layer_row, leave, rows, status


def store(*paths: str) -> Store:
    return Store([Path(path) for path in paths or ("outputs",)])


def test_three_tables_of_two_runs() -> None:
    sparse, dense = leave(created=2), leave(created=1, reg__method="dense", densities=(1, 1))
    there = store()
    names = [f"made/{dense.name}", f"made/{sparse.name}"]
    assert list(there.runs.index) == names, "in the order in which they were begun"
    row = there.runs.loc[f"made/{sparse.name}"]
    assert (row["model.name"], row["reg.alpha"], row["seed"], row["state"]) == (
        "lenet_300_100",
        5e-4,
        0,
        "finished",
    )
    assert (row["epoch"], row["test_accuracy"], row["density"], row["flops_fraction"]) == (
        2,
        0.95,
        0.25,
        0.125,
    )
    assert (row["parameters_kept"], row["total_seconds"]) == (110, 4.0)
    assert np.isnan(there.runs.loc[names[0], "reg.alpha"]), "α does not apply to a dense run"
    epochs = there.epochs()
    assert list(epochs["run"]) == [names[0]] * 2 + [names[1]] * 2
    assert list(epochs["test_accuracy"]) == [0.9, 0.95] * 2
    layers = there.layers([names[1]])
    assert list(layers["layer"]) == ["fc1", "fc2"] * 2
    assert list(layers["kept"]) == [150, 50, 75, 25]
    assert list(layers["at"]) == [1, 1, 2, 2]


def test_a_run_is_called_by_its_path_below_what_was_asked_for() -> None:
    one, other = leave(Path("outputs/a")), leave(Path("outputs/b"))
    assert list(store("outputs").runs.index) == [f"a/{one.name}", f"b/{other.name}"]
    assert list(store("outputs/a").runs.index) == [one.name]
    assert list(store(str(one)).runs.index) == [one.name]
    assert list(store("outputs/a", "outputs/b").runs.index) == [f"a/{one.name}", f"b/{other.name}"]
    assert set(store("outputs/a").runs["group"]) == {"a"}


def test_folders_of_one_name_in_several_places_are_groups_of_their_own() -> None:
    for place in ("a", "b"):
        leave(Path("outputs", place, "quick"))
    assert list(store().runs["group"]) == ["a/quick", "b/quick"]


def test_the_seed_is_no_part_of_a_setting() -> None:
    for seed in (0, 1):
        leave(seed=seed)
    leave(seed=0, reg__alpha=1e-3, created=1)
    settings = store().runs["setting"]
    assert (settings.nunique(), settings.iloc[0]) == (2, settings.iloc[1])


def test_rows_within_an_epoch_stand_at_their_fraction_of_it() -> None:
    run = leave()
    rows(run / "layers.csv", LAYERS, [layer_row(1, step, "fc1", 1) for step in (1, 5, 10, 15)])
    assert list(store().layers()["at"]) == [0.1, 0.5, 1, 1.5]


def test_only_what_has_changed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [leave(seed=seed) for seed in range(3)]
    there = store()
    assert there.refresh() == set()
    with (runs[1] / "metrics.csv").open("a") as file:
        file.write("3,30,0.01,0.5,400,0.9,0.5,0.99,0.2,0.2,0.1,2,320\n")
    read: list[str] = []
    opened = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(str(path)) or opened(path))
    assert there.refresh() == {f"made/{runs[1].name}"}
    assert {Path(path).parent.name for path in read} == {runs[1].name}
    assert there.runs.loc[f"made/{runs[1].name}", "test_accuracy"] == 0.99
    new = leave(seed=3, created=9)
    shutil.rmtree(runs[0])
    assert there.refresh() == {f"made/{new.name}", f"made/{runs[0].name}"}
    assert list(there.runs["seed"]) == [1, 2, 3]


def test_an_option_that_is_not_known_here_is_part_of_the_setting() -> None:
    for number, run in enumerate((leave(seed=0), leave(seed=1, created=1))):
        with (run / "config.yaml").open("a") as file:
            file.write(f"future: {number}\n")
    assert store().runs["setting"].nunique() == 2


def test_a_run_with_new_layers_is_touched() -> None:
    run = leave()
    there = store()
    with (run / "layers.csv").open("a") as file:
        file.write("3,25,fc1,10,300,0.03,0.1,0.1,0.1,0,0\n")
    assert there.refresh() == {f"made/{run.name}"}


def test_steps_of_an_unfinished_first_epoch_are_in_order() -> None:
    run = leave(accuracies=(), densities=(), state="interrupted")
    rows(run / "layers.csv", LAYERS, [layer_row(1, step, "fc1", 1) for step in (1, 2, 3)])
    assert list(store().layers()["at"]) == [0.25, 0.5, 0.75]


def test_a_log_that_is_a_pipe_does_not_block() -> None:
    run = leave(state="running")
    (run / "train.log").unlink()
    os.mkfifo(run / "train.log")
    assert list(store().runs["state"]) == ["interrupted"]


def test_a_run_recorded_as_running_is_interrupted_without_its_process() -> None:
    run = leave(state="running")
    assert list(store().runs["state"]) == ["interrupted"]
    owner = Status(run)
    try:
        there = store()
        assert list(there.runs["state"]) == ["running"]
    finally:
        owner.release()
    assert there.refresh() == {f"made/{run.name}"}
    assert list(there.runs["state"]) == ["interrupted"]


def test_a_line_that_was_cut_does_not_count() -> None:
    run = leave()
    for name in ("metrics.csv", "layers.csv"):
        text = (run / name).read_text()
        (run / name).write_text(text[:-5])
    there = store()
    assert list(there.epochs()["epoch"]) == [1]
    assert len(there.layers()) == 3
    assert there.notes == {}, "the run is perhaps writing it right now"


def test_a_run_without_an_epoch_is_a_row_without_figures() -> None:
    run = leave(accuracies=(), densities=(), state="interrupted")
    there = store()
    assert np.isnan(there.runs["epoch"].iloc[0])
    assert (len(there.epochs()), len(there.layers())) == (0, 0)
    (run / "metrics.csv").unlink()
    (run / "layers.csv").unlink()
    assert list(store().runs["state"]) == ["interrupted"]


DAMAGE = {
    "words for numbers": ("metrics.csv", lambda text: text.replace("0.95", "what"), ""),
    "a line in the middle": (
        "metrics.csv",
        lambda text: text.replace("\n1,", "\nx,y,\n1,"),
        "1 line cannot be read",
    ),
    "too many cells": (
        "metrics.csv",
        lambda text: text.replace("\n1,", "\n1,1,1,1,1,1,1,1,1,1,1,1,1,1\n1,"),
        "1 line",
    ),
    "no epoch": (
        "metrics.csv",
        lambda text: text.replace("epoch,", "époque,"),
        "no column epoch: written by another version?",
    ),
    "fewer columns": (
        "metrics.csv",
        lambda text: text.replace("density", "keep"),
        "no column density",
    ),
    "a bare quote": ("layers.csv", lambda text: text.replace("fc1", '"fc1', 1), ""),
    "no layer": ("layers.csv", lambda text: text.replace("layer,", "module,"), "no column layer"),
    "half a config": ("config.yaml", lambda text: text[:40] + ": : [", "config.yaml: "),
    "an option of tomorrow": (
        "config.yaml",
        lambda text: text + "\nshape: round\n",
        "shape is no option",
    ),
    "a value of tomorrow": (
        "config.yaml",
        lambda text: text.replace("dst", "qubit"),
        "reg.method: got 'qubit'",
    ),
    "an infinite α": (
        "config.yaml",
        lambda text: text.replace("alpha: 0.0005", "alpha: .inf"),
        "reg.alpha: got inf",
    ),
    "keys of two kinds": (
        "config.yaml",
        lambda text: text.replace("args: {}", "args: {1: 2, b: 3}"),
        "model.args: got",
    ),
    "a seed without end": (
        "config.yaml",
        lambda text: text.replace("seed: 1", "seed: " + "9" * 400),
        "seed: got 999",
    ),
    "a config within itself": (
        "config.yaml",
        lambda text: "reg: &a {method: *a}",
        "cannot be read: RecursionError",
    ),
    "a deep status": ("status.json", lambda text: "[" * 100_000, ""),
    "a figure without end": ("summary.json", lambda text: text.replace("410", "9" * 400), ""),
    "half a status": ("status.json", lambda text: text[:20], ""),
    "a status of lists": (
        "status.json",
        lambda text: '{"state": ["finished"], "created": {}, "error": [1]}',
        "",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_affects_its_run_only(damage: str) -> None:
    name, change, note = DAMAGE[damage]
    whole, damaged = leave(seed=0), leave(seed=1)
    (damaged / name).write_text(change((damaged / name).read_text()))
    there = store()
    assert len(there.runs) == 2 - note.startswith("cannot be read")
    epochs, layers = there.epochs([f"made/{whole.name}"]), there.layers([f"made/{whole.name}"])
    assert (len(epochs), len(layers)) == (2, 4)
    there.epochs()
    there.layers()
    notes = there.notes.get(f"made/{damaged.name}", [])
    assert any(note in one for one in notes) if note else not notes
    assert f"made/{whole.name}" not in there.notes


def test_lines_with_bytes_that_are_no_text_are_left_out() -> None:
    whole, run = leave(seed=0), leave(seed=1)
    with (run / "metrics.csv").open("ab") as file:
        file.write(b"\xff\xfe\x00,\x80\n" + b"3,30,0.01,0.5,400,0.9,0.5,0.97,0.2,0.2,0.1,2,320\n")
    there = store()
    assert there.runs.loc[f"made/{run.name}", "test_accuracy"] == 0.97
    assert there.runs.loc[f"made/{whole.name}", "test_accuracy"] == 0.95


def test_unknown_columns_are_ignored() -> None:
    run = leave()
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text(
        "\n".join(line + end for line, end in zip(lines, (",energy", ",1", ",2"), strict=True))
        + "\n"
    )
    there = store()
    assert (list(there.epochs()["density"]), there.notes) == ([0.5, 0.25], {})


def test_folders_that_are_not_ours_are_left_out() -> None:
    run = leave()
    for name, text in (("hydra", "defaults: []"), ("other", "[1, 2]"), ("empty", "")):
        Path("outputs", name).mkdir()
        Path("outputs", name, "config.yaml").write_text(text)
        Path("outputs", name, "metrics.csv").write_text("a,b\n1,2\n")
    (run / "wandb").mkdir()
    shutil.copytree(run, run / "wandb" / "files", ignore=shutil.ignore_patterns("wandb"))
    there = store()
    assert list(there.runs.index) == [f"made/{run.name}"]
    assert there.notes["hydra"] == ["config.yaml: expected a config of dstrun's"]


def test_nothing_outside_is_read() -> None:
    """Check that links are not followed, and that a pipe does not block."""
    secret = leave(Path("elsewhere"), seed=7)
    run = leave(seed=0)
    Path("outputs/link").symlink_to(secret.parent.absolute())
    for name in ("metrics.csv", "train.log"):
        (run / name).unlink()
        (run / name).symlink_to((secret / name).absolute())
    (run / "layers.csv").unlink()
    os.mkfifo(run / "layers.csv")
    there = store()
    assert list(there.runs["seed"]) == [0]
    assert (len(there.epochs()), len(there.layers())) == (0, 0)
    found = there.run(f"made/{run.name}")
    assert found is not None
    assert (found.text("train.log"), found.text("layers.csv")) == ("", "")
    assert there.run(f"../elsewhere/{secret.name}") is None


def test_control_characters_of_a_status_are_replaced() -> None:
    status(leave(state="failed"), error="\x1b[31mred\x07" + "x" * 5000)
    error = store().runs["error"].iloc[0]
    assert error.startswith("\ufffd[31mred\ufffd")
    assert len(error) == 1000


@pytest.mark.parametrize(("path", "there"), [("nowhere", "nothing there"), ("file", "a file")])
def test_a_path_that_is_no_folder_is_an_error(path: str, there: str) -> None:
    Path("file").touch()
    with pytest.raises(InputError, match=f"{path}: got {there}, expected a folder of runs"):
        store(path)


def test_many_files_are_read_as_one_by_one() -> None:
    """Check that files read at once and one by one have the same rows."""
    for seed in range(5):
        leave(seed=seed)
    before = store().epochs().drop(columns="run")
    with (leave(seed=5) / "metrics.csv").open("a") as file:
        file.write("nonsense\n")
    there = store()
    assert there.epochs(there.runs.index[:5]).drop(columns="run").equals(before)


def test_rows_of_epoch_0() -> None:
    """Check rows of epoch 0, as from a damaged digit."""
    run = leave()
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text(
        "\n".join([lines[0], *(f"0{line[line.index(',') :]}" for line in lines[1:])]) + "\n"
    )
    assert Store([Path("outputs")]).layers()["at"].notna().all()


def test_a_run_whose_status_is_lost_is_finished_where_it_has_a_summary() -> None:
    done, cut = leave(seed=1), leave(seed=2, state="running")
    for run in (done, cut):
        (run / "status.json").unlink()
    assert dict(store().runs["state"]) == {
        f"made/{done.name}": "finished",
        f"made/{cut.name}": "interrupted",
    }


def test_a_run_without_an_epoch_has_no_time() -> None:
    leave(accuracies=(), densities=(), state="interrupted")
    assert np.isnan(store().runs["total_seconds"].item())


def test_an_option_of_a_later_version_makes_a_setting_of_its_own() -> None:
    one, _ = leave(seed=1), leave(seed=2)
    with (one / "config.yaml").open("a") as file:
        file.write("later: 3\n")
    assert store().runs["setting"].nunique() == 2


def test_the_end_of_a_runs_file() -> None:
    folder = leave()
    (folder / "train.log").write_text("first\nlast α\n")
    run = store().run(f"made/{folder.name}")
    assert run is not None
    assert run.text("train.log") == "first\nlast α\n"
    assert run.text("train.log", tail=8) == "last α\n"
    assert run.text("nothing") == ""
    (folder / "link").symlink_to("/etc/hostname")
    assert run.text("link") == ""
    assert store().run("gone") is None


def test_settings_of_configs_that_cannot_be_used_are_told_apart_by_what_they_say() -> None:
    for seed, lr in ((1, 0.01), (2, 0.01), (3, 0.02)):
        run = leave(seed=seed, schedule__lr=lr)
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(text.replace("optimiser: sgd", "optimiser: lion"))
    there = store().runs
    assert all("schedule.optimiser" in store().notes[run][0] for run in there.index)
    assert sorted(there["setting"].value_counts()) == [1, 2]
