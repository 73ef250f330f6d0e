"""Table of what each layer keeps: counts, density, dead rows, and a curve of its density."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

NARROWEST_CURVE, WIDEST_CURVE = 4, 32  # columns; a narrower curve is left out


def layer_table(
    rows: Sequence[Mapping[str, Any]],
    curves: Mapping[str, Sequence[float]],
    width: int,
    left_dense: int,
) -> Table:
    """Return the table for `width` columns; curves get what names and numbers leave of them.

    rows: layer, kept, total and dead_rows of each layer.
    curves: densities in [0, 1] over the run, of each layer and of all masked ones ("model").
    left_dense: number of weights without a mask.
    """
    sums = _sums(rows, left_dense)
    longest = max(len(row["layer"]) for row in [*rows, *sums])
    number = max(len(f"{sums[-1]['total']:,}"), 5)
    left = width - longest - 2 * number - len("100.00%") - len("dead rows") - 19
    has_curves = left >= NARROWEST_CURVE
    table = Table(title="density by layer", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for column in ("kept", "total", "density", "dead rows"):
        table.add_column(column, justify="right", no_wrap=True)
    if has_curves:
        table.add_column("over the run"[:left], no_wrap=True)

    def add(row: Mapping[str, Any], curve: Sequence[float] = ()) -> None:
        drawn = [spark(curve, min(left, WIDEST_CURVE))] if has_curves else []
        table.add_row(*_cells(row), *drawn)

    for row in rows:
        add(row, curves[row["layer"]])
    table.add_section()
    add(sums[0], curves["model"])
    for row in sums[1:]:
        add(row)
    return table


def _sums(rows: Sequence[Mapping[str, Any]], left_dense: int) -> list[dict[str, Any]]:
    """Return a row for all masked layers and, if weights have no mask, for these and the model."""
    masked: dict[str, Any] = {"layer": "masked layers" if left_dense else "model"}
    for key in ("kept", "total", "dead_rows"):
        masked[key] = sum(row[key] for row in rows)
    if not left_dense:
        return [masked]
    dense = {"layer": "left dense", "kept": left_dense, "total": left_dense, "dead_rows": 0}
    model = {"layer": "model", "dead_rows": masked["dead_rows"]}
    for key in ("kept", "total"):
        model[key] = masked[key] + left_dense
    return [masked, dense, model]


def _cells(row: Mapping[str, Any]) -> list[Text | str]:
    density = f"{row['kept'] / row['total']:.2%}"
    dead = Text(str(row["dead_rows"]), style="red" if row["dead_rows"] else "")
    return [Text(row["layer"]), f"{row['kept']:,}", f"{row['total']:,}", density, dead]


def spark(fractions: Sequence[float], width: int = WIDEST_CURVE) -> str:
    """Return fractions in [0, 1] as blocks of eight heights; '' for none.

    Of more than `width` fractions some are left out, never the first and the last.
    """
    steps = max(len(fractions) - 1, 1)
    count = min(len(fractions), width)
    blocks = ""
    for place in range(count):
        fraction = fractions[round(place * steps / max(count - 1, 1))]
        blocks += "▁▂▃▄▅▆▇█"[min(7, int(8 * fraction))]
    return blocks
