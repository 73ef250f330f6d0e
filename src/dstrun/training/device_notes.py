"""Words on the device of a run: why it is the CPU, what a GPU has, and what its memory holds."""

from collections.abc import Sequence

import torch

from dstrun.config.sections import ScheduleConfig
from dstrun.data import AnySplit, Split
from dstrun.system.gpu import find_gpu, free_memory, number_format, total_memory

SHARE_FOR_DATA = 0.5  # of a GPU's free memory; the rest is the training step's


def note_on_device(name: str) -> str:
    """Return a note if auto is the CPU for an unusable driver; '' for any other device."""
    _, reason = find_gpu() if name == "auto" else (True, "")
    return f"device: the CPU is used, since {reason}" if reason else ""


def gpu_words(schedule: ScheduleConfig, device: torch.device) -> tuple[str, ...]:
    """Return memory and number format of a GPU; () for the CPU."""
    if device.type != "cuda":
        return ()
    return f"{total_memory() / 2**30:.0f} GiB", number_format(schedule.precision)


def note_on_memory(device: torch.device, splits: Sequence[AnySplit]) -> str:
    """Return a note if the images take too much of what is free on a GPU: they stay on the host."""
    if device.type != "cuda":
        return ""
    kept = [split.images.nbytes for split in splits if isinstance(split, Split)]
    size, free = sum(kept), free_memory()
    if size <= SHARE_FOR_DATA * free:
        return ""
    return (
        f"device: the images, {size / 2**20:,.0f} MiB, stay in the host's memory, since "
        f"{free / 2**20:,.0f} MiB are free on {device}; batches are copied while it computes"
    )
