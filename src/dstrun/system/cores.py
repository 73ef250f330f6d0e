"""Number of CPU cores that this process may use, alone or beside others of the same command."""

import os
from pathlib import Path

# Environment variable, for the ranks of a job too: processes of a sweep that train at a time.
SHARED_BY = "DSTRUN_SHARED_BY"


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


def own_cores() -> int:
    """Return this process's share of the usable cores beside jobs of a sweep and ranks, at least 1.

    SHARED_BY counts the ranks of all jobs, LOCAL_WORLD_SIZE, of torch's launcher, those of a run.
    """
    counts = [os.environ.get(name, "") for name in (SHARED_BY, "LOCAL_WORLD_SIZE")]
    return max(1, usable_cores() // max(1, *(int(one) for one in counts if one.isdecimal()), 1))
