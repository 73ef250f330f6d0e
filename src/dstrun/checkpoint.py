"""A checkpoint: one file, whole or absent, that never runs code when it is read. Knows torch alone."""

import os
from pathlib import Path
from typing import Any

import torch


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes beside and moves into place, so that a reader sees the old file or the new one, never a part."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path) -> dict[str, Any]:
    """The state as saved: tensors, numbers, words and containers of them; anything else is refused.

    Raises FileNotFoundError where there is none, ValueError for a file that cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own kinds
        raise ValueError(f"checkpoint {path} cannot be read ({type(error).__name__})") from error


def generators(device: torch.device) -> dict[str, Any]:
    """The state of torch's global generators, on the CPU and on the run's device, which dropout, say, draws from."""
    on_device = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **on_device}


def set_generators(state: dict[str, Any], device: torch.device) -> None:
    """Puts the generators back; a state of another kind of device than the run's is left out."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
