"""`dstrun export RUN --to PATH`: write the trained network for use without the training code.

    run  →  masked model  →  plain model (--shrink: a smaller one)  →  file  →  read it back,
    compare with the masked model on every test image, or all of the test text

    ending          format                    content
    .safetensors    safetensors | sparse      plain weights with zeros, or packed; for `dstrun.load`
                    csr                       packed; `dstrun.load` uses torch's sparse kernels
    .pt2            torch                     a program of torch.export; needs no dstrun
    .onnx           onnx                      for ONNX Runtime and others; needs no dstrun

A network whose outputs differ from the masked model's is not written. A file that exists is
replaced only once the new one is complete.
"""

from collections.abc import Sequence
from copy import deepcopy
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from torch import nn

from dstrun.export import onnx
from dstrun.export.benchmark import measure_timings
from dstrun.export.csr import sparse_left_dense, to_csr
from dstrun.export.formats import choose_format, read_network, write_network
from dstrun.export.shrink import CannotShrinkError
from dstrun.export.shrink import shrink as make_smaller
from dstrun.export.size import measure_size
from dstrun.export.tables import layers_table, result_lines, timings_table
from dstrun.export.trained import Trained, compare_outputs, load_trained
from dstrun.runs.tasks import CLASSES, Task
from dstrun.system.cores import usable_cores
from dstrun.system.errors import InputError, first_line
from dstrun.system.files import read_json, sha256, write_json
from dstrun.system.signals import exit_on_sigterm
from dstrun.system.terminal import print_whole

RECORD = "export.json"
MAX_REASON = 200  # characters of an exporter's error that are printed


def export(
    run: Path,
    changes: Sequence[str] = (),
    *,
    to: Path | None = None,
    format: str | None = None,
    shrink: bool = False,
    force: bool = False,
    tolerance: float = 1e-4,
    bench: bool = False,
) -> None:
    """Print the size of a run's network; write it to the file `to`, and time it if `bench`.

    `changes`: overrides of the place of the run's data. `format`: see FORMATS (None: by the ending
    of `to`). `force`: replace a file that exists. `tolerance`: largest allowed difference of an
    output from the masked model's. Raise InputError for a network that cannot be exported or
    differs by more.
    """
    chosen = choose_format(to, format, shrink, force) if to else ""
    trained = load_trained(run, changes)
    record = measure_size(trained)
    console = Console(highlight=False, soft_wrap=True)
    print_whole(console, layers_table(record, trained.about.task))
    if to:
        record |= _write(trained, to, chosen, shrink, tolerance)
        _record(to, record)
        console.print(result_lines(to, record, trained.about.task), markup=False)
    if bench:
        timings = list(measure_timings(trained.plain, trained.about, usable_cores()))
        print_whole(console, timings_table(timings, trained.about.task))
        if to:
            _record(to, record | {"bench": [row._asdict() for row in timings]})


def _write(
    trained: Trained, target: Path, format: str, shrink: bool, tolerance: float
) -> dict[str, Any]:
    """Write the network to a file; return what export.json records of the file."""
    model = _smaller(trained) if shrink else trained.plain
    facts: dict[str, Any] = {"format": format, "shrunk": shrink}
    facts |= {"torch": torch.__version__, "tolerance": tolerance}
    if format == "onnx":
        facts["opset"] = onnx.OPSET
    if format == "csr":
        facts["csr_dense"] = sparse_left_dense(to_csr(deepcopy(model)))
    if shrink:
        facts["parameters_shrunk"] = _parameters(model)
    return facts | _write_checked(trained, model, target, format, tolerance)


def _smaller(trained: Trained) -> nn.Module:
    """Return the smaller network; raise InputError where there is none with fewer parameters."""
    try:
        smaller = make_smaller(trained.plain, trained.example)
    except CannotShrinkError as error:
        raise InputError(f"shrink: {error}") from error
    if _parameters(smaller) >= _parameters(trained.plain):
        raise InputError(
            "shrink: nothing can be removed from this network, in which every row and column that "
            "could be left out has weights; without --shrink the file has all of it"
        )
    return smaller


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _write_checked(
    trained: Trained, model: nn.Module, target: Path, format: str, tolerance: float
) -> dict[str, Any]:
    """Write the file beside its place, compare it with the masked model, then move it there.

    Return the result of the comparison with the file's bytes and digest. Raise InputError for a
    model that cannot be exported, or whose outputs differ.
    """
    with exit_on_sigterm(), TemporaryDirectory(prefix=".export-", dir=target.parent) as place:
        file = Path(place, target.name)
        try:
            write_network(file, model, trained.about, format)
            result = compare_outputs(trained, read_network(file, format))
        except InputError:
            raise
        except Exception as error:  # exporters raise exceptions of their own
            raise InputError(
                f"{format}: this model cannot be exported ({_reason(error)})"
            ) from error
        _refuse_difference(target, result, tolerance, trained.about.task)
        facts = {"bytes": file.stat().st_size, "sha256": sha256(file)}
        file.replace(target)
    return result | facts


def _refuse_difference(target: Path, result: dict[str, Any], tolerance: float, task: Task) -> None:
    """Raise InputError for outputs that are not finite, or differ from the masked model's.

    The most likely bytes of a text may change: of so many, some are as likely as others.
    """
    difference, differs = result["largest_difference"], result["top1_differs"]
    if isnan(difference):
        raise InputError(f"to: {target} is not written: the network's outputs are not finite")
    if difference > tolerance or (differs and task is CLASSES):
        line = (
            f"to: {target} is not written: outputs differ from the masked model's by "
            f"{difference:.2g} (tolerance {tolerance:g})"
        )
        if task is CLASSES:
            line += f", and the class of {differs} of {result['images']:,} images"
        raise InputError(line)


def _reason(error: Exception) -> str:
    line = first_line(error) or type(error).__name__
    return line if len(line) < MAX_REASON else line[:MAX_REASON] + " …"


def _record(target: Path, record: dict[str, Any]) -> None:
    """Write the record of a file to export.json in its folder, under the file's name."""
    path = target.parent / RECORD
    try:
        records = read_json(path)
        if not records and path.exists():  # damaged, or another program's
            path.replace(path.with_name(f"{RECORD}.before"))
        write_json(path, records | {target.name: record})
    except OSError as error:
        raise InputError(
            f"to: {target} is written, but {path} could not be ({first_line(error)})"
        ) from error
