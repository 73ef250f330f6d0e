"""A run's files as text: the last row of one that grows, numbers, and a row's names in Weights &
Biases.
"""

from pathlib import Path

import pytest

from dstrun.runs.metrics import (
    LAYERS,
    METRICS,
    STEERED,
    VALIDATION,
    Rows,
    check_mark,
    last_row,
    number,
    wandb_row,
)

FILE = Path("rows.csv")


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("epoch,step\n1,4\n2,8\n", {"epoch": "2", "step": "8"}),
        ("epoch,step\n1,4\n2,", {"epoch": "1", "step": "4"}),  # being written
        (
            "epoch,step\n" + "1,4\n" * 2000 + "2,8\n",
            {"epoch": "2", "step": "8"},
        ),  # longer than what is read of it
        ("epoch,step\n" + "1,4\n" * 1021 + "2,8\n", {"epoch": "2", "step": "8"}),
        ("epoch,step\n", {}),
        ("epoch,step\n1\n", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_the_last_whole_row(content: str | None, row: dict[str, str]) -> None:
    if content is not None:
        FILE.write_text(content)
    assert last_row(FILE) == row


@pytest.mark.parametrize(
    ("text", "value"), [("", None), ("12", 12), ("-1", -1.0), ("0.5", 0.5), ("1e-3", 0.001)]
)
def test_a_cell_as_a_number(text: str, value: float | None) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)


def test_rows_are_cut_where_they_are_taken_up_and_told_from_others() -> None:
    rows = Rows(FILE, ("a", "b"))
    rows.append([{"a": 1, "b": 2}])
    mark = rows.mark()
    rows.append([{"a": 3}])
    rows.close()
    check_mark(FILE, mark)
    again = Rows(FILE, ("a", "b"), keep=mark["bytes"])
    assert again.mark() == mark
    again.append([{"a": 5, "b": 6}])
    again.close()
    assert list(again.read()) == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]
    with pytest.raises(ValueError, match=r"rows.csv is not as it was written"):
        check_mark(FILE, mark | {"bytes": mark["bytes"] - 1})


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (
            METRICS,
            "epoch,step,lr,train_loss,penalty,train_accuracy,test_loss,test_accuracy,density,density_model,"
            "flops_fraction,seconds,images_per_second\n",
        ),
        (VALIDATION + STEERED, "validation_loss,validation_accuracy,alpha\n"),
        (
            LAYERS,
            "epoch,step,layer,kept,total,density,threshold_mean,threshold_min,threshold_max,churn,dead_rows,"
            "explored,grown,dropped,gradient_norm,"
            "threshold_q10,threshold_q25,threshold_q50,threshold_q75,threshold_q90\n",
        ),
    ],
)
def test_columns_stand_in_the_order_that_a_reader_of_a_users_own_goes_by(
    columns: tuple[str, ...], header: str
) -> None:
    Rows(FILE, columns).close()
    assert FILE.read_text() == header


def test_what_weights_and_biases_gets() -> None:
    metrics = {
        "epoch": 1,
        "step": 4,
        "train_loss": 0.5,
        "test_accuracy": 0.25,
        "validation_loss": 0.75,
        "density": 0.125,
        "density_model": 0.2,
        "flops_fraction": 0.3,
        "penalty": 9.0,
        "alpha": None,
        "lr": 0.1,
        "seconds": 2.0,
    }
    layers = [
        {
            "layer": "fc1",
            "density": 0.5,
            "churn": 0.1,
            "threshold_mean": 0.2,
            "explored": 0.7,
            "grown": 3,
            "dropped": 4,
            "gradient_norm": 0.9,
        },
        {
            "layer": "fc2",
            "density": 0.6,
            "churn": 0.0,
            "threshold_mean": None,
            "explored": 1.0,
            "grown": 0,
            "dropped": 0,
            "gradient_norm": None,
        },
    ]
    assert wandb_row(metrics, layers) == {
        "epoch": 1,
        "loss/train": 0.5,
        "accuracy/test": 0.25,
        "loss/validation": 0.75,
        "density/masked": 0.125,
        "density/model": 0.2,
        "flops/model": 0.3,
        "penalty": 9.0,
        "lr": 0.1,
        "density/00.fc1": 0.5,
        "churn/00.fc1": 0.1,
        "threshold/00.fc1": 0.2,
        "explored/00.fc1": 0.7,
        "grown/00.fc1": 3,
        "dropped/00.fc1": 4,
        "gradient_norm/00.fc1": 0.9,
        "density/01.fc2": 0.6,
        "churn/01.fc2": 0.0,
        "explored/01.fc2": 1.0,
        "grown/01.fc2": 0,
        "dropped/01.fc2": 0,
    }
    many = wandb_row({}, [layers[0]] * 101)
    assert "density/000.fc1" in many
    assert "density/100.fc1" in many
