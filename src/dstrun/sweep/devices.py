"""GPUs of a sweep's jobs, and notes on the jobs' devices. This imports torch: for other processes.

A process that has asked torch for GPUs must not be forked.
"""

from collections.abc import Sequence, Set

from dstrun.config.options import Config
from dstrun.system.gpu import find_gpu, visible_gpus
from dstrun.training.config_notes import gpu_notes
from dstrun.training.device_notes import note_on_device

DEVICES_WITH_GPUS = {"auto", "cuda"}


def gpus_for(devices: Set[str], ranks: int = 1) -> list[str] | None:
    """Return the GPUs for jobs on `devices`, for each slot those of a job; [] where all use the
    CPU.

    A slot is as CUDA_VISIBLE_DEVICES has it: "2", or "2,3" for jobs of two ranks. None where a job
    names a GPU of its own. One job that may use a GPU is enough for one job per slot at a time: a
    job per core would share them.
    """
    if not devices <= DEVICES_WITH_GPUS | {"cpu"}:
        return None
    gpus = visible_gpus() if devices & DEVICES_WITH_GPUS else []
    ends = range(ranks, len(gpus) + 1, ranks)
    return [",".join(gpus[end - ranks : end]) for end in ends]


def notes_on_devices(configs: Sequence[Config]) -> list[str]:
    """Return notes on the devices of jobs, each once."""
    found, _ = find_gpu()
    names = {config.device for config in configs}
    notes = [note for note in map(note_on_device, sorted(names)) if note]
    uses_gpu = [one for one in configs if one.device != "cpu" and found]
    return [*notes, *gpu_notes(uses_gpu)]
