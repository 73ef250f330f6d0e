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


def load(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The state as saved: tensors, numbers, words and containers of them; anything else is refused.

    Raises FileNotFoundError where there is none, ValueError for a file that cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own kinds
        raise ValueError(f"checkpoint {path} cannot be read ({type(error).__name__})") from error


def generators() -> dict[str, Any]:
    """The state of torch's global generators, which layers such as dropout draw from."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_generators(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
