"""Trained network without the training code: plain torch, with W ⊙ M as its weights.

    run folder, or file of `dstrun export`  →  load(path)  →  nn.Module for inference

    file            content
    .safetensors    dense: names and weights of the plain model, with zeros
                    packed: the parts of each weight (see packing)
                of a weight with several names, both have the first, and the metadata the others
    .pt2            a program of torch.export, which needs no dstrun

The metadata of a .safetensors file describes its model.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.config.options import Config
from dstrun.export.about import About
from dstrun.export.csr import to_csr
from dstrun.export.packing import pack, unpack
from dstrun.methods.base import Method
from dstrun.methods.masked_layers import load_plain
from dstrun.runs import checkpoint
from dstrun.runs.folder import load_config
from dstrun.runs.method import make_method
from dstrun.system.errors import InputError, error_line, mismatch

FORMAT = 2  # 1 where no weight has several names
METADATA = "dstrun"


def load(path: str | Path, kernels: str | None = None) -> nn.Module:
    """Return the network of a run folder, .safetensors or .pt2 file, for inference on the CPU.

    `kernels`: "dense", "csr" for torch's sparse kernels, or None for those the file was exported
    for. The module's attribute `about` describes its input; a .pt2 has none. Raise
    FileNotFoundError where there is no such file; ValueError for one that is no network, is
    damaged or is of a later version of dstrun.
    """
    path = Path(path)
    if kernels not in (None, "dense", "csr"):
        raise ValueError(f"kernels is {kernels!r}, expected dense or csr")
    if path.suffix == ".onnx":
        raise ValueError(f"{path} is for ONNX Runtime, not for torch")
    if path.suffix == ".pt2":
        if kernels:
            raise ValueError(f"kernels is {kernels!r}, expected None, since {path} has its own")
        return _program(path)
    try:
        if path.is_dir():
            model, kind = _of_run(path), "dense"
        else:
            about, weights, kind = _of_file(path)
            model = restore_model(about, weights)
    except InputError as error:  # of the config or its builder
        raise ValueError(f"{path}: {error}") from error
    return to_csr(model) if (kernels or kind) == "csr" else model


def restore_model(
    about: About, weights: Mapping[str, Tensor], method: Method | None = None
) -> nn.Module:
    """Return the plain model with those weights, in evaluation mode.

    `method`: the method that trained a masked model whose state the weights are; W ⊙ M becomes W.
    Raise ValueError for the weights of another model.
    """
    try:
        model = about.build()
        if method is None:
            model.load_state_dict(dict(weights))
        else:
            load_plain(model, dict(weights), method.make_mask)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"the weights are not those of {about.builder} ({mismatch(error)})"
        ) from error
    model.about = about  # type: ignore[assignment]
    return model.eval()


def about_run(folder: Path, config: Config, state: Mapping[str, Any]) -> About:
    """Return the description of a run's model, by its config and its checkpoint.

    Raise ValueError for a checkpoint of an early version, which lacks the shape of the images.
    """
    if "shape" not in state:
        raise ValueError(
            f"{folder}: its checkpoint, of an early version, lacks the shape of the images; "
            f"use `dstrun export {folder}`"
        )
    data = config.data
    return About(
        config.model.builder,
        config.model.args,
        tuple(state["shape"]),
        state["classes"],
        list(data.mean),
        list(data.std),
    )


def save(path: Path, about: About, weights: Mapping[str, Tensor], kind: str) -> None:
    """Write a .safetensors file; `kind`: "dense", "packed", or "csr", packed for sparse kernels."""
    from safetensors.torch import save as to_bytes

    tensors, tied = {}, _other_names(weights)
    for name, value in weights.items():
        if name in tied:
            continue
        tensor = value.detach().clone(memory_format=torch.contiguous_format)
        if kind == "dense":
            tensors[name] = tensor
        else:
            for part, content in pack(tensor).items():
                tensors[f"{name}.{part}"] = content
    description = {"format": 1, "kind": kind, **asdict(about)}
    if tied:
        description |= {"format": FORMAT, "tied": tied}
    path.write_bytes(to_bytes(tensors, metadata={METADATA: json.dumps(description)}))


def _other_names(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the first name of each weight that has one before, by its other names."""
    first: dict[Any, str] = {}
    found = {}
    for name, value in weights.items():
        place = value.data_ptr(), value.shape, value.stride(), value.dtype
        if value.numel() and first.setdefault(place, name) != name:
            found[name] = first[place]
    return found


def _of_file(path: Path) -> tuple[About, dict[str, Tensor], str]:
    """Return description, weights and kind of a .safetensors file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    tensors, description = _read(path)
    if not isinstance(description, dict):
        raise ValueError(f"{path} does not describe its model: `dstrun export` has not written it")
    version = description.pop("format", 0)
    if isinstance(version, int) and version > FORMAT:
        raise ValueError(
            f"{path} is of a later dstrun (format {version}, this one reads up to {FORMAT})"
        )
    try:
        kind = description.pop("kind")
        tied = description.pop("tied", {})
        about = About(**description | {"shape": tuple(description["shape"])})
        weights = tensors if kind == "dense" else _unpack_all(tensors)
        return about, weights | {name: weights[tied[name]] for name in tied}, kind
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error_line(error)})") from error


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of a .safetensors file, and the description in its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata.get(METADATA, "null"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error_line(error)})") from error


def _unpack_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        weight, _, part = name.rpartition(".")
        parts.setdefault(weight, {})[part] = value
    return {name: unpack(of_weight) for name, of_weight in parts.items()}


def _of_run(folder: Path) -> nn.Module:
    config = load_config(folder)
    state = checkpoint.load_newest(folder)
    about = about_run(folder, config, state)
    return restore_model(about, state["model"], make_method(config))


def _program(path: Path) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with warnings.catch_warnings():
            # torch 2.11 warns of a buffer of its own.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            return torch.export.load(path).module()
    except Exception as error:  # of zipfile, json or torch
        raise ValueError(f"{path} cannot be read ({error_line(error)})") from error
