"""`dstrun export RUN --to PATH`: the sparse network out of the training code, checked, counted and,
if asked, timed.

    run  →  masked model  →  plain model (--shrink: a smaller one)  →  file  →  read back, compared on every test image

    ending          format                    what it is
    .safetensors    safetensors | sparse      plain weights with real zeros, or packed ones; `dstrun.load` reads both
                    csr                       packed, and loaded for torch's sparse kernels
    .pt2            torch                     a program of torch.export; needs no dstrun
    .onnx           onnx                      for ONNX Runtime and others; needs no dstrun

What does not equal the masked model leaves no file; a file that is there stays until the new one is
whole. Knows build (config → model and data), network, shrinking, and what counts and times."""

import os
import zlib
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.config.compose import load_saved_config
from dstrun.export import load, onnx
from dstrun.export.benchmark import Timed, timings
from dstrun.export.shrink import CannotShrinkError, shrink
from dstrun.methods.flops import multiply_adds
from dstrun.methods.mask_stats import LayerFigures
from dstrun.runs import checkpoint
from dstrun.runs.data_record import refuse_other_classes
from dstrun.system.cores import usable_cores
from dstrun.system.errors import InputError, first_line, mismatch
from dstrun.system.files import read_json, sha256, write_json
from dstrun.system.machine import set_threads
from dstrun.system.signals import exit_on_sigterm
from dstrun.system.terminal import print_whole
from dstrun.training.build import make_batches, training_objects
from dstrun.training.prepare import prepare

FORMATS = {
    "safetensors": ".safetensors",
    "sparse": ".safetensors",
    "csr": ".safetensors",
    "torch": ".pt2",
    "onnx": ".onnx",
}
KINDS = {"safetensors": "dense", "sparse": "packed", "csr": "csr"}
RECORD = "export.json"
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Trained:
    """A run's network and what it is to be compared with."""

    folder: Path
    masked: nn.Module
    plain: nn.Module
    about: load.About
    layers: list[LayerFigures]
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]

    @property
    def example(self) -> Tensor:
        return torch.zeros(1, *self.about.shape)


def export(given: Namespace) -> None:
    """What `arguments.export` asks for. InputError for what cannot be exported, or does not equal
    the masked model."""
    target: Path | None = given.to
    format = _checked_format(given) if target else ""
    trained = _trained(given)
    record = counted(trained)
    console = Console(highlight=False, soft_wrap=True)
    print_whole(console, _layers_table(record))
    if target:
        record |= _written(trained, target, format, given)
        _remember(target, record)
        console.print(_said(target, record), markup=False)
    if given.bench:
        rows = list(timings(trained.plain, trained.about.shape, usable_cores()))
        print_whole(console, _bench_table(rows))
        if target:
            _remember(target, record | {"bench": [row._asdict() for row in rows]})


def _checked_format(given: Namespace) -> str:
    """By --format, else by the ending; InputError for a target that cannot be."""
    target, format = given.to, given.format
    by_ending = {
        ending: name for name, ending in FORMATS.items() if name in ("safetensors", "torch", "onnx")
    }
    if target.is_dir():
        raise InputError(
            f"to: got {target}, a folder, expected the name of a file: {target / 'model.onnx'}"
        )
    if not format and target.suffix not in by_ending:
        near = get_close_matches(target.suffix, by_ending, n=1, cutoff=0.7)
        hint = f"; did you mean {target.with_suffix(near[0])}?" if near and target.suffix else ""
        raise InputError(
            f"to: got {target}, expected a name that ends in {', '.join(by_ending)}{hint}"
        )
    format = format or by_ending[target.suffix]
    if target.suffix != FORMATS[format]:
        raise InputError(
            f"to: got {target} for the format {format}, expected a name that ends in {FORMATS[format]}"
        )
    if format == "onnx" and (missing := onnx.missing()):
        raise InputError(
            f"to: .onnx needs {', '.join(missing)}; `pip install 'dstrun[onnx]'` brings it"
        )
    if given.shrink and format in KINDS:
        raise InputError(
            "shrink: expected a .pt2 or .onnx file, which carries a network of its own"
        )
    if target.exists() and not given.force:
        raise InputError(f"to: {target} is there already (--force writes over it)")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(
            f"to: got {target}, expected a folder that can be written, and {target.parent} is none"
        )
    return format


def _trained(given: Namespace) -> Trained:
    """The run's model with its last weights. InputError for a run without them, or with those of
    another model."""
    folder = given.run
    try:
        state = checkpoint.load_newest(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    config = replace(
        check(load_saved_config(folder / "config.yaml", given.changes)), init=None, device="cpu"
    )
    config = replace(config, schedule=replace(config.schedule, compile="off", precision="fp32"))
    prepared = prepare(config, resumes=True)
    refuse_other_classes(folder, state.get("data") or state, prepared.data)
    set_threads(config.threads)
    masked, method = training_objects(config, prepared)
    try:
        masked.load_state_dict(state["model"])
        about = load.about_run(folder, state | prepared.images)
        plain = load.restored(about, state["model"], method)
    except RuntimeError as error:
        raise InputError(
            f"{folder}: the checkpoint is another model's ({mismatch(error)})"
        ) from error
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    _, splits = make_batches(config, prepared)
    return Trained(folder, masked.eval(), plain, about, method.measure(), splits["test"])


# counted


def counted(trained: Trained) -> dict[str, Any]:
    """Parameters, multiply-adds for one image and bytes: dense, and what is kept.

    The layer "left dense" is all that has no mask: its weights, and its products and those of no
    weights (attention)."""
    work = multiply_adds(trained.plain, trained.example)
    layers: list[dict[str, Any]] = []
    for layer in trained.layers:
        times = work.positions.get(layer.layer, 0)
        layers.append(
            {
                "layer": layer.layer,
                "weights": layer.total,
                "kept": layer.kept,
                "multiply_adds": layer.total * times,
                "multiply_adds_kept": layer.kept * times,
            }
        )
    parameters = [*trained.plain.parameters()]
    unmasked = sum(p.numel() for p in parameters if p.dim() > 1) - sum(
        layer.total for layer in trained.layers
    )
    rest = work.total - sum(layer["multiply_adds"] for layer in layers)
    if unmasked or rest:
        counts = {
            "weights": unmasked,
            "kept": unmasked,
            "multiply_adds": rest,
            "multiply_adds_kept": rest,
        }
        layers.append({"layer": "left dense" if unmasked else "products without weights", **counts})
    count, pruned = (
        sum(p.numel() for p in parameters),
        sum(layer.total - layer.kept for layer in trained.layers),
    )
    with TemporaryDirectory() as place:
        sizes = {}
        for kind in ("dense", "packed"):
            file = Path(place, kind)
            load.save(file, trained.about, trained.plain.state_dict(), kind)
            sizes[f"bytes_{kind}"] = file.stat().st_size
        sizes["bytes_zipped"] = len(zlib.compress(Path(place, "dense").read_bytes(), 9))
    return {
        "run": trained.folder.resolve().name,
        "parameters": count,
        "parameters_kept": count - pruned,
        "multiply_adds": work.total,
        "multiply_adds_kept": work.kept(trained.layers),
        **sizes,
        "layers": layers,
    }


# written and checked


def _written(trained: Trained, target: Path, format: str, given: Namespace) -> dict[str, Any]:
    """Makes the file beside its place, reads it back, compares, and only then moves it there; what
    came of it."""
    model = trained.plain
    if given.shrink:
        try:
            model = shrink(model, trained.example)
        except CannotShrinkError as error:
            raise InputError(f"shrink: {error}") from error
    with exit_on_sigterm(), TemporaryDirectory(prefix=".export-", dir=target.parent) as place:
        made = Path(place, target.name)
        try:
            _write(made, model, trained, format)
            found = compared(trained, _read(made, format))
        except InputError:
            raise
        except Exception as error:  # exporters raise their own kinds
            raise InputError(f"{format}: this model cannot be exported ({_why(error)})") from error
        if found["largest_difference"] != found["largest_difference"]:
            raise InputError(f"to: {target} is not written: the network's outputs are not finite")
        if found["largest_difference"] > given.tolerance or found["top1_differs"]:
            raise InputError(
                f"to: {target} is not written: outputs differ from the masked model's by "
                f"{found['largest_difference']:.2g} (tolerance {given.tolerance:g}), and the class of "
                f"{found['top1_differs']} of {found['images']:,} images"
            )
        facts = {"bytes": made.stat().st_size, "sha256": sha256(made)}
        made.replace(target)
    about = {
        "format": format,
        "shrunk": given.shrink,
        "torch": torch.__version__,
        "tolerance": given.tolerance,
    }
    about |= {"opset": onnx.OPSET} if format == "onnx" else {}
    about |= (
        {"parameters_shrunk": sum(p.numel() for p in model.parameters())} if given.shrink else {}
    )
    return about | found | facts


def _write(path: Path, model: nn.Module, trained: Trained, format: str) -> None:
    if format in KINDS:
        load.save(path, trained.about, model.state_dict(), KINDS[format])
    elif format == "torch":
        torch.export.save(onnx.program(model, trained.about.shape), path)
    else:
        path.write_bytes(onnx.serialised(model, trained.about.shape))


def _read(path: Path, format: str) -> Network:
    return onnx.network(path.read_bytes()) if format == "onnx" else load.load(path)


@torch.inference_mode()
def compared(trained: Trained, exported: Network) -> dict[str, Any]:
    """How far the outputs for every test image are from the masked model's."""
    largest, differs, images, right = torch.zeros(()), 0, 0, 0
    for batch, labels in trained.batches():
        ours, theirs = trained.masked(batch), exported(batch)
        largest = torch.maximum(largest, (ours - theirs).abs().max())  # which hands NaN on
        differs += int((ours.argmax(1) != theirs.argmax(1)).sum())
        right += int((theirs.argmax(1) == labels).sum())
        images += len(labels)
    return {
        "images": images,
        "largest_difference": largest.item(),
        "top1_differs": differs,
        "accuracy": right / images,
    }


def _why(error: Exception) -> str:
    line = first_line(error) or type(error).__name__
    return line if len(line) < 200 else line[:200] + " …"


def _remember(target: Path, record: dict[str, Any]) -> None:
    """export.json of the file's folder, by the names of files."""
    place = target.parent / RECORD
    try:
        before = read_json(place)
        if not before and place.exists():  # damaged, or somebody else's
            place.replace(place.with_name(f"{RECORD}.before"))
        write_json(place, before | {target.name: record})
    except OSError as error:
        raise InputError(
            f"to: {target} is written, and {place} could not be ({first_line(error)})"
        ) from error


# shown


def _said(target: Path, record: dict[str, Any]) -> str:
    words = f"{target}: {record['format']}, {record['bytes']:,} bytes"
    words += f", {record['bytes'] / record['bytes_dense']:.1%} of the dense one"
    if record["shrunk"]:
        words += f"; {record['parameters_shrunk']:,} of {record['parameters']:,} parameters"
    if record["bytes"] > record["bytes_dense"] and record["format"] in ("torch", "onnx"):
        shrink = "" if record["shrunk"] else "--shrink leaves out what is dead; "
        words += f"\nlarger than the dense weights: {shrink}--format sparse (.safetensors) stores only what is kept"
    return (
        f"{words}\nchecked on {record['images']:,} test images: largest difference {record['largest_difference']:.2g}, "
        f"every class the same, accuracy {record['accuracy']:.2%}"
    )


def _layers_table(record: dict[str, Any]) -> Table:
    table = Table(title="weights, and multiply-adds for one image", title_justify="left")
    table.add_column("layer", no_wrap=True)
    for word in ("kept", "weights", "kept %", "multiply-adds kept", "multiply-adds"):
        table.add_column(word, justify="right", no_wrap=True)
    counts = ("weights", "kept", "multiply_adds", "multiply_adds_kept")
    total = {key: sum(layer[key] for layer in record["layers"]) for key in counts}
    for row in [*record["layers"], {"layer": "all", **total}]:
        if row["layer"] == "all":
            table.add_section()
        table.add_row(
            row["layer"],
            f"{row['kept']:,}",
            f"{row['weights']:,}",
            f"{row['kept'] / row['weights']:.2%}" if row["weights"] else "",
            f"{row['multiply_adds_kept']:,}",
            f"{row['multiply_adds']:,}",
        )
    sizes = ", ".join(
        f"{word} {record[f'bytes_{word}']:,}" for word in ("dense", "zipped", "packed")
    )
    table.caption, table.caption_justify = f"bytes: {sizes}", "left"
    return table


def _bench_table(rows: list[Timed]) -> Table:
    table = Table(title="milliseconds a batch, median and quartiles", title_justify="left")
    for word in ("network", "threads", "batch", "ms", "quartiles", "images/s", "× dense"):
        table.add_column(word, justify="left" if word == "network" else "right", no_wrap=True)
    dense = {(row.threads, row.batch): row.median for row in rows if row.network == "dense"}
    for row in rows:
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
