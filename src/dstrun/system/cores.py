"""Number of CPU cores that this process may use."""

import os
from pathlib import Path


def usable_cores(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores of the process's affinity, at most the quota of its container.

    torch considers neither, and a surplus thread delays every operation. `group` is the folder of
    the container's control group, version 2.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
