"""Overlap of the masks of runs: by hand, from checkpoints, and on the command line."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dstrun.compare.overlap import overlap
from dstrun.export.masks import read_masks
from dstrun.runs import checkpoint
from dstrun.system.errors import InputError
from tests.helpers.commands import Command
from tests.helpers.folders import leave


def mask(*rows: str) -> np.ndarray:
    """Return the mask drawn by rows of 1 and 0."""
    return np.array([[letter == "1" for letter in row] for row in rows])


ONE = {"fc1": mask("1100", "1100"), "fc2": mask("10", "10")}
OTHER = {"fc1": mask("1010", "1010"), "fc2": mask("11", "00")}


def test_overlap_by_hand() -> None:
    """In fc1 4 of 8 each, 2 both, 6 either; by chance both is 4 · 4 / 8 = 2, as it is here.

    In fc2 2 of 4 each, 1 both, 3 either; by chance 1. Together 3 of 9, and by chance 3 of 9.
    """
    table = overlap({"a": ONE, "b": OTHER})
    assert table[["run", "other", "layer"]].to_numpy().tolist() == [
        ["a", "b", "fc1"],
        ["a", "b", "fc2"],
        ["a", "b", ""],
    ]
    assert table["both"].tolist() == [2, 1, 3]
    assert table["overlap"].tolist() == [2 / 6, 1 / 3, 3 / 9]
    assert table["chance"].tolist() == [2 / 6, 1 / 3, 3 / 9]


def test_equal_masks_overlap_whole_and_masks_of_nothing_not_at_all() -> None:
    """Chance at 4 of 8 each: 2 of 4 + 4 − 2; 1 of 8 and 4 of 8: ½ of 1 + 4 − ½."""
    few, none = mask("1000", "0000"), mask("0000", "0000")
    table = overlap({"a": {"w": ONE["fc1"]}, "b": {"w": ONE["fc1"]}, "c": {"w": few}})
    single = table[table["layer"] == "w"].set_index(["run", "other"])
    assert single["overlap"].to_dict() == {("a", "b"): 1, ("a", "c"): 1 / 4, ("b", "c"): 1 / 4}
    assert single.loc[("a", "b"), "chance"] == 2 / 6
    assert single.loc[("a", "c"), "chance"] == 0.5 / 4.5
    assert overlap({"a": {"w": none}, "b": {"w": none}})["overlap"].isna().all()


def trained(weights: list[list[float]], threshold: float = 0.5, **options: Any) -> Path:
    """Leave a run of one layer with a threshold a row, or with the mask of all weights ≠ 0."""
    folder = leave(accuracies=[0.9], densities=[0.5], **options)
    weight = torch.tensor(weights)
    state = {"fc1.weight": weight, "fc1.bias": torch.zeros(len(weight))}
    method = options.get("reg__method", "dst")
    if method == "dst":
        state["fc1.mask.threshold"] = torch.full((len(weight), 1), threshold)
    elif method != "dense":
        state["fc1.mask.keep"] = weight != 0
    checkpoint.save_last(folder, {"model": state})
    return folder


WEIGHTS = [[0.9, -0.1, 0.6, 0.0], [0.2, 0.7, -0.8, 0.3]]


def test_masks_of_a_checkpoint() -> None:
    """|W| > 0.5 of each; weights that are not 0 of the other; none of a dense run."""
    thresholds = trained(WEIGHTS, reg__alpha=1e-3)
    assert read_masks(thresholds)["fc1"].tolist() == mask("1010", "0110").tolist()
    fixed = trained(WEIGHTS, reg__method="rigl", reg__density=0.5)
    assert read_masks(fixed)["fc1"].tolist() == mask("1110", "1111").tolist()
    assert read_masks(trained(WEIGHTS, reg__method="dense")) == {}


def test_the_table_of_overlap(command: Command) -> None:
    """4 weights kept by DST, 7 by RigL, 4 by both: 4 of 7; by chance 3.5 of 7.5."""
    trained(WEIGHTS, reg__alpha=1e-3)
    trained(WEIGHTS, reg__method="rigl", reg__density=0.5, created=1)
    trained(WEIGHTS, reg__method="dense", created=2)
    outcome = command("report", "--overlap", "outputs/made")
    assert (outcome.code, outcome.err) == (0, "dstrun: overlap: 1 run without masks left out\n")
    last = outcome.out.rstrip().splitlines()[-1]
    assert last.split()[-3:] == ["57.14", "46.67", "57.14"]
    marked = command("report", "--overlap", "--markdown").out.splitlines()
    assert marked[0] == "| run | other run | overlap % | by chance % | fc1 |"
    assert marked[2].endswith("| 57.14 | 46.67 | 57.14 |")
    layer, whole = csv.DictReader(io.StringIO(command("report", "--overlap", "--csv").out))
    assert (layer["layer"], whole["layer"]) == ("fc1", "")
    assert (whole["kept"], whole["other_kept"], whole["both"]) == ("4", "7", "4")


def test_a_page_has_figures_of_masks_where_there_are_checkpoints(command: Command) -> None:
    folders = [trained(WEIGHTS, reg__alpha=1e-3, seed=seed) for seed in (0, 1)]
    for titles in ({"Overlap of masks", "Masks of the layers"}, set()):
        assert command("report", "outputs/made", "--html", "page.html").code == 0
        page = Path("page.html").read_text()
        assert {*re.findall("Overlap of masks|Masks of the layers", page)} == titles
        for folder in folders:
            (folder / "checkpoint.pt").unlink(missing_ok=True)


def test_of_several_methods_means_over_pairs_of_runs_are_a_matrix(command: Command) -> None:
    """SET's runs keep 4 of 8 weights each, of which 2 are both's; RigL's keep those of the first.

    RigL with RigL 4 of 4; with SET 4 of 4 and 2 of 6, a mean of 2/3; SET with SET 2 of 6. By chance
    2 of 6 in each. With a seventh run, of another density, there are no pairs.
    """
    first, second = [[1.0, 0, 1, 0], [0, 1, 1, 0]], [[1.0, 1, 0, 0], [0, 0, 1, 1]]
    for method, seed, weights in (
        *(("rigl", 0, first), ("rigl", 1, first), ("set", 0, first)),
        *(("set", 1, second), ("dense", 0, first)),
    ):
        trained(weights, reg__method=method, reg__density=0.5, seed=seed, created=seed)
    lines = command("report", "--overlap").out.splitlines()
    assert lines[0] == "50 % asked for: mean overlap % of pairs of runs, by chance 33.3 to 33.3"
    cells = [line.split() for line in lines]
    assert ["setting", "runs", "1", "2"] in cells
    assert ["1", "rigl", "2", "100.0"] in cells
    assert ["2", "set", "2", "66.7", "33.3"] in cells
    assert any(line.startswith(" rigl, seed 0") for line in lines)
    for seed in range(3):
        trained(first, reg__method="set", reg__density=0.25, seed=seed, created=9)
    outcome = command("report", "--overlap", "--markdown").out
    assert "| 2 set | 2 | 66.7 | 33.3 |" in outcome
    assert "other run" not in outcome


def test_of_very_many_pairs_the_first_are_printed(command: Command) -> None:
    """12 runs are 66 pairs."""
    for seed in range(12):
        trained(WEIGHTS, reg__method="rigl", reg__density=0.5, seed=seed, created=seed)
    outcome = command("report", "--overlap", "--markdown")
    assert len(outcome.out.splitlines()) == 2 + 60
    assert outcome.err == ("dstrun: overlap: 6 pairs more; --filter chooses runs, --csv has all\n")
    assert len(command("report", "--overlap", "--csv").out.splitlines()) == 1 + 66 * 2


def test_runs_whose_masks_cannot_be_compared_are_one_line(command: Command) -> None:
    first = trained(WEIGHTS, reg__alpha=1e-3)

    def refused(*words: str) -> str:
        outcome = command("report", "--overlap", *words)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        return outcome.err

    assert "overlap: got 1 run with masks, expected two or more" in refused()
    trained(WEIGHTS[:1], reg__alpha=2e-3, created=1)
    assert "have masks in different layers" in refused()
    leave(accuracies=[0.9], densities=[0.5], reg__alpha=3e-3, created=2)
    assert "there is no checkpoint" in refused("--filter", "alpha!=2e-3")
    (first / "checkpoint.pt").write_bytes(b"damaged")
    assert "cannot be read" in refused("--filter", "alpha=1e-3")
    leave(accuracies=[0.9], densities=[0.5], model__name="mine", created=3)
    assert "overlap: got runs of lenet_300_100, mine, expected those of one model" in refused()
    assert "expected alone, or with" in refused("--runs")
    assert "expected alone, or with" in refused("--layers")


def test_a_run_of_another_layer_is_named() -> None:
    with pytest.raises(InputError, match="a and b have masks in different layers"):
        overlap({"a": ONE, "b": {"fc1": ONE["fc1"]}})
