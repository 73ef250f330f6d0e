"""Checkpoints: written atomically, read without running code, damage detected by checksums.

checkpoint.pt          the newest while a run trains; of a finished run, the model alone
checkpoint.before.pt   the one before it, while a run trains
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from dstrun.runs.metrics import check_mark
from dstrun.system.files import atomic_write
from dstrun.system.run_files import CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE

FORMAT = 1


class LaterFormatError(ValueError):
    """The checkpoint was written by a later version of dstrun."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write the state as the newest checkpoint; the newest so far becomes the previous one."""
    before = folder / PREVIOUS_CHECKPOINT_FILE
    with atomic_write(folder / CHECKPOINT_FILE, "wb", before=before) as file:
        _write(state, file)


def save_last(folder: Path, state: dict[str, Any]) -> None:
    """Write the state as the only checkpoint of a run folder."""
    with atomic_write(folder / CHECKPOINT_FILE, "wb") as file:
        _write(state, file)
    (folder / PREVIOUS_CHECKPOINT_FILE).unlink(missing_ok=True)


def _write(state: dict[str, Any], file: IO[bytes]) -> None:
    """Write a state; raise OSError for a full disk, which torch reports as a RuntimeError."""
    try:
        torch.save({"format": FORMAT, **state}, file)
    except RuntimeError as error:
        cause = error.__cause__ or error.__context__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from error


def remove(folder: Path) -> None:
    """Delete the checkpoints of a run folder."""
    for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE):
        (folder / name).unlink(missing_ok=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the newest first."""
    paths = [folder / name for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE)]
    return [path for path in paths if path.is_file()]


def load_newest(folder: Path) -> dict[str, Any]:
    """Return the state in checkpoint.pt of a run folder, for use. Raises as `load` does.

    Its model has the averages of a run with `schedule.ema`, as those of the run's figures do.
    """
    state = load(folder / CHECKPOINT_FILE)
    state["model"] |= state.get("average", {}).get("weights", {})
    return state


def load(path: Path) -> dict[str, Any]:
    """Return the state as saved: tensors, numbers, text and containers of them; nothing else loads.

    Raises FileNotFoundError where there is none, ValueError for a file that is damaged or holds
    something else, LaterFormatError for a later format. Checksums are compared first: torch itself
    reads weights with flipped bits.
    """
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


def load_resumable(folder: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest state that a run can resume from; None where there is none.

    The rows logged before it must still be there. `say` is told of each checkpoint that cannot be
    used. Raises LaterFormatError, rather than starting over, for one that a later dstrun can use.
    """
    paths = list_checkpoints(folder)
    for place, path in enumerate(paths):
        then = "starting over" if path is paths[-1] else f"trying {paths[place + 1].name}"
        try:
            state = load(path)
            for name, mark in state["files"].items():
                check_mark(folder / name, mark)
        except LaterFormatError:
            raise
        except KeyError:
            say(f"{path} is not one that a run can resume from: {then}")
        except (OSError, ValueError) as error:
            say(f"{error}: {then}")
        else:
            return state
    return None


def generators(device: torch.device) -> dict[str, Any]:
    """Return the states of torch's global generators, on the CPU and on the run's device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generators(state: dict[str, Any], device: torch.device) -> None:
    """Restore the generators; the state of another kind of device than the run's is left out."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
