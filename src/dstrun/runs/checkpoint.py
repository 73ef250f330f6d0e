"""A checkpoint: a file that is whole or absent, that never runs code when it is read, and that
knows when it has been damaged; the one before it is kept.

    checkpoint.pt          the newest, while a run lasts; once it is finished, the model alone
    checkpoint.before.pt   the one before, while a run lasts

Knows torch and files.
"""

import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from dstrun.system.files import whole

NEWEST, BEFORE = "checkpoint.pt", "checkpoint.before.pt"
FORMAT = 1


class LaterFormatError(ValueError):
    """The checkpoint was written by a dstrun that knows more than this one."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Makes the state the newest checkpoint of a run's folder, and what was the newest the one
    before."""
    with whole(folder / NEWEST, "wb", before=folder / BEFORE) as file:
        _write(state, file)


def save_last(folder: Path, state: dict[str, Any]) -> None:
    """Makes the state the only checkpoint of a run's folder."""
    with whole(folder / NEWEST, "wb") as file:
        _write(state, file)
    remove(folder, BEFORE)


def _write(state: dict[str, Any], file: IO[bytes]) -> None:
    """OSError where the disk does not take it, which torch reports as an error in its archive."""
    try:
        torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        cause = error.__cause__ or error.__context__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from error


def remove(folder: Path, *names: str) -> None:
    """Takes a folder's checkpoints away, or those that are named."""
    for name in names or (NEWEST, BEFORE):
        (folder / name).unlink(missing_ok=True)


def there(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, the newest first."""
    return [folder / name for name in (NEWEST, BEFORE) if (folder / name).is_file()]


def load(path: Path) -> dict[str, Any]:
    """The state as saved: tensors, numbers, words and containers of them; anything else is refused.

    Raises FileNotFoundError where there is none, ValueError for a file that is damaged, holds
    something else or is of a later version. Its sums are compared first: torch itself reads weights
    of which bits have been turned."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own kinds
        raise ValueError(f"{path} cannot be read ({type(error).__name__})") from error
    if broken:
        raise ValueError(f"{path} is damaged ({broken})")
    if not isinstance(state, dict) or "model" not in state:
        raise ValueError(f"{path} is no checkpoint of a run")
    if state.get("format", 0) > FORMAT:
        raise LaterFormatError(
            f"{path} is of a later dstrun (format {state['format']}, this one reads up to {FORMAT})"
        )
    return state


def generators(device: torch.device) -> dict[str, Any]:
    """The state of torch's global generators, on the CPU and on the run's device, which dropout,
    say, draws from."""
    on_device = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **on_device}


def set_generators(state: dict[str, Any], device: torch.device) -> None:
    """Puts the generators back; a state of another kind of device than the run's is left out."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
