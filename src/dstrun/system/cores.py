"""How many cores there are for us. Knows nothing."""

import os
from pathlib import Path


def usable_cores(group: Path = Path("/sys/fs/cgroup")) -> int:
    """How many cores this process may use: those of its affinity, at most what its container is
    granted.

    torch looks at neither, and a thread too many waits for its turn in every operation.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no bound
        return cores
