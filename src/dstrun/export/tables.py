"""Tables and lines that `dstrun export` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from dstrun.export.benchmark import Timing
from dstrun.runs.tasks import Task

NAMED = 6  # names that a line has
LARGE = 0.9  # of the file with dense weights
COUNTS = ("weights", "kept", "multiply_adds", "multiply_adds_kept")


def layers_table(record: dict[str, Any], task: Task) -> Table:
    """Return weights and multiply-adds of each layer and of all, and the bytes below."""
    example = task.examples.removesuffix("s")
    table = Table(title=f"weights, and multiply-adds for one {example}", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for word in ("kept", "weights", "kept %", "multiply-adds kept", "multiply-adds"):
        table.add_column(word, justify="right", no_wrap=True)
    total: dict[str, Any] = {"layer": "all"}
    for key in COUNTS:
        total[key] = sum(layer[key] for layer in record["layers"])
    for layer in record["layers"]:
        table.add_row(*_cells(layer))
    table.add_section()
    table.add_row(*_cells(total))
    sizes = [f"{word} {record[f'bytes_{word}']:,}" for word in ("dense", "zipped", "packed")]
    table.caption, table.caption_justify = f"bytes: {', '.join(sizes)}", "left"
    return table


def _cells(layer: dict[str, Any]) -> list[str]:
    return [
        layer["layer"],
        f"{layer['kept']:,}",
        f"{layer['weights']:,}",
        f"{layer['kept'] / layer['weights']:.2%}" if layer["weights"] else "",
        f"{layer['multiply_adds_kept']:,}",
        f"{layer['multiply_adds']:,}",
    ]


def result_lines(target: Path, record: dict[str, Any], task: Task) -> str:
    """Return what was written, how large it is, and the result of the comparison."""
    words = f"{target}: {record['format']}, {record['bytes']:,} bytes"
    words += f", {record['bytes'] / record['bytes_dense']:.1%} of the dense file"
    if record["shrunk"]:
        words += f"; {record['parameters_shrunk']:,} of {record['parameters']:,} parameters"
    is_large = record["bytes"] > LARGE * record["bytes_dense"]
    if is_large and record["bytes_packed"] < LARGE * record["bytes"]:
        can_shrink = record["format"] != "safetensors" and not record["shrunk"]
        shrink = "--shrink leaves out dead parts; " if can_shrink else ""
        words += f"\npruned weights are stored as zeros: {shrink}--format sparse (.safetensors) "
        words += f"stores only the kept ones, {record['bytes_packed']:,} bytes"
    if record.get("csr_dense"):
        words += f"\nno sparse kernel, computed dense: {_some(record['csr_dense'])}"
    best, differs = task.headline, record["top1_differs"]
    same = f"the most likely of {differs:,} differ" if differs else "every class the same"
    return (
        f"{words}\nchecked on {record[task.examples]:,} test {task.examples}: "
        f"largest difference {record['largest_difference']:.2g}, "
        f"{same}, {best.title} {best.shown(record[best.name])}"
    )


def _some(names: Sequence[str]) -> str:
    """Return names with commas, the first ones of many."""
    more = [f"{len(names) - NAMED:,} more"] if len(names) > NAMED + 1 else []
    return ", ".join([*names[:NAMED], *more] if more else names)


def timings_table(timings: Sequence[Timing], task: Task) -> Table:
    """Return the timings with their ratio to the dense network's."""
    table = Table(title="milliseconds per batch, median and quartiles", title_justify="left")
    for word in ("network", "threads", "batch", "ms", "quartiles", f"{task.examples}/s", "× dense"):
        table.add_column(word, justify="left" if word == "network" else "right", no_wrap=True)
    dense = {(row.threads, row.batch): row.median for row in timings if row.network == "dense"}
    for row in timings:
        table.add_row(
            row.network,
            str(row.threads),
            str(row.batch),
            f"{row.median:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            f"{1000 * row.batch / row.median:,.0f}",
            f"{dense[row.threads, row.batch] / row.median:.2f}",
        )
    return table
