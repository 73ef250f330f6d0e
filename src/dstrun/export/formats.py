"""Formats of an exported network: choice by name or ending, writing and reading."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from dstrun.export import load, onnx
from dstrun.system.errors import InputError

FORMATS = {
    "safetensors": ".safetensors",
    "sparse": ".safetensors",
    "csr": ".safetensors",
    "torch": ".pt2",
    "onnx": ".onnx",
}
FORMAT_OF_ENDING = {".safetensors": "safetensors", ".pt2": "torch", ".onnx": "onnx"}
KINDS = {"safetensors": "dense", "sparse": "packed", "csr": "csr"}  # as load.save names them


def choose_format(target: Path, format: str | None, shrink: bool, force: bool) -> str:
    """Return the format of a target file: the given one, else that of its ending.

    Raise InputError for a format that does not fit the ending or `shrink`, or needs packages that
    are not installed, and for a target that cannot be written or exists (unless `force`).
    """
    if target.is_dir():
        raise InputError(
            f"to: got {target}, a folder, expected the name of a file: {target / 'model.onnx'}"
        )
    format = format or _format_by_ending(target)
    if target.suffix != FORMATS[format]:
        raise InputError(
            f"to: got {target} for the format {format}, expected a name that ends in "
            f"{FORMATS[format]}"
        )
    if format == "onnx" and (missing := onnx.missing_packages()):
        raise InputError(
            f"to: .onnx needs {', '.join(missing)}; install with: pip install 'dstrun[onnx]'"
        )
    if shrink and format in KINDS:
        raise InputError(
            "shrink: expected a .pt2 or .onnx file, since the other formats need the original model"
        )
    _require_writable(target, force)
    return format


def _format_by_ending(target: Path) -> str:
    if target.suffix in FORMAT_OF_ENDING:
        return FORMAT_OF_ENDING[target.suffix]
    hint = ""
    near = get_close_matches(target.suffix, FORMAT_OF_ENDING, n=1, cutoff=0.7)
    if near and target.suffix:
        hint = f"; did you mean {target.with_suffix(near[0])}?"
    endings = ", ".join(FORMAT_OF_ENDING)
    raise InputError(f"to: got {target}, expected a name that ends in {endings}{hint}")


def _require_writable(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise InputError(f"to: {target} exists already (--force replaces it)")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise InputError(f"to: got {target}, but {target.parent} is not a writable folder")


def write_network(path: Path, model: nn.Module, about: load.About, format: str) -> None:
    """Write a plain network to a file."""
    if format in KINDS:
        load.save(path, about, model.state_dict(), KINDS[format])
    elif format == "torch":
        torch.export.save(onnx.export_program(model, about), path)
    else:
        path.write_bytes(onnx.export_bytes(model, about))


def read_network(path: Path, format: str) -> Callable[[Tensor], Tensor]:
    """Return the network in a file."""
    return onnx.load_network(path.read_bytes()) if format == "onnx" else load.load(path)
