"""A trained network out of the training code: plain torch, with the weights it computes with.

    run's folder, or a file that `dstrun export` has written  →  load(path)  →  nn.Module, ready for inference

    file            what is in it
    .safetensors    dense: names and weights of the plain model, real zeros. packed: of each weight its `pack` parts
    .pt2            a program of torch.export, which needs no dstrun

Each .safetensors says in its metadata what model it is. Knows the models, masking (which weights
are kept), pack, csr, checkpoint, registry, and composition and config for a run's config; it knows
nothing of training."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.config.check import check
from dstrun.config.compose import load_saved_config
from dstrun.config.registry import lookup
from dstrun.export.csr import to_csr
from dstrun.export.packing import packed, unpacked
from dstrun.methods.base import Method
from dstrun.methods.masked_layers import load_plain
from dstrun.models import BUILDERS
from dstrun.runs import checkpoint
from dstrun.runs.method import make_method
from dstrun.system.errors import InputError, error_line, mismatch

FORMAT = 1
METADATA = "dstrun"


@dataclass(frozen=True)
class About:
    """What makes a model again, and how its images are to be prepared: (pixels / 255 − mean) /
    std."""

    builder: str
    args: dict[str, Any]
    shape: tuple[int, int, int]
    classes: int
    mean: list[float]
    std: list[float]

    def build(self) -> nn.Module:
        """The plain model, untrained."""
        build = lookup("model.builder", self.builder, BUILDERS, "dstrun.models")
        return build(tuple(self.shape), self.classes, **self.args)


def load(path: str | Path, kernels: str | None = None) -> nn.Module:
    """The network of a run's folder, or of a .safetensors or .pt2 file, for inference, on the CPU.

    kernels: 'dense', 'csr' for torch's kernels for sparse matrices, or None for what the file was
    exported for. `about` of the module says how images are prepared; a .pt2 has neither.
    FileNotFoundError where there is nothing; ValueError for what is no network, is damaged or is of
    a later version."""
    path = Path(path)
    if kernels not in (None, "dense", "csr"):
        raise ValueError(f"kernels is {kernels!r}, expected dense or csr")
    if path.suffix == ".onnx":
        raise ValueError(f"{path} is for ONNX Runtime, and not for torch")
    if path.suffix == ".pt2":
        if kernels:
            raise ValueError(f"kernels is {kernels!r}, and {path} has its own")
        return _program(path)
    try:
        if path.is_dir():
            model, kind = _of_run(path), "dense"
        else:
            about, weights, kind = _of_file(path)
            model = restored(about, weights)
    except InputError as error:  # a config or a builder that is not there
        raise ValueError(f"{path}: {error}") from error
    return to_csr(model) if (kernels or kind) == "csr" else model


def restored(
    about: About, weights: Mapping[str, Tensor], method: Method | None = None
) -> nn.Module:
    """Return the plain model with those weights, in evaluation mode.

    With the `method` they were trained by, they are the state of a model with its masks, and W ⊙ M
    becomes W. Raises ValueError where they are not that model's.
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


def about_run(folder: Path, state: Mapping[str, Any]) -> About:
    """What a run's config and its checkpoint say of its model. ValueError for a checkpoint that
    does not say it."""
    config = check(load_saved_config(folder / "config.yaml"))
    if "shape" not in state:
        raise ValueError(
            f"{folder}: an earlier dstrun has left no shape of images: `dstrun export {folder}` finds it"
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
    """A .safetensors file; kind: 'dense', 'packed', or 'csr', which is packed and loaded for sparse
    kernels."""
    from safetensors.torch import save as serialised

    tensors = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    if kind != "dense":
        parts = {name: packed(value) for name, value in tensors.items()}
        tensors = {
            f"{name}.{part}": value for name, all_ in parts.items() for part, value in all_.items()
        }
    told = {"format": FORMAT, "kind": kind, **asdict(about)}
    path.write_bytes(serialised(tensors, metadata={METADATA: json.dumps(told)}))


def _of_file(path: Path) -> tuple[About, dict[str, Tensor], str]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = json.loads(metadata.get(METADATA, "null"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error_line(error)})") from error
    if not isinstance(told, dict):
        raise ValueError(
            f"{path} does not say what model it is: it was not written by `dstrun export`"
        )
    if isinstance(version := told.pop("format", 0), int) and version > FORMAT:
        raise ValueError(
            f"{path} is of a later dstrun (format {version}, this one reads up to {FORMAT})"
        )
    try:
        kind = told.pop("kind")
        about = About(**told | {"shape": tuple(told["shape"])})
        return about, tensors if kind == "dense" else _unpacked(tensors), kind
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged ({error_line(error)})") from error


def _unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        whole, _, part = name.rpartition(".")
        parts.setdefault(whole, {})[part] = value
    return {name: unpacked(some) for name, some in parts.items()}


def _of_run(folder: Path) -> nn.Module:
    state = checkpoint.load_newest(folder)
    about = about_run(folder, state)
    return restored(
        about, state["model"], make_method(check(load_saved_config(folder / "config.yaml")))
    )


def _program(path: Path) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="The given buffer is not writable"
            )  # torch 2.11's own buffer
            return torch.export.load(path).module()
    except Exception as error:  # of zip, JSON and torch
        raise ValueError(f"{path} cannot be read ({error_line(error)})") from error
