"""Number of CPU cores that this process may use, alone or beside others of the same command."""

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


_jobs = 1  # of a sweep that run at a time, this one among them


def share_among(jobs: int) -> None:
    """Count on so many jobs of a sweep at a time, each with its share of the cores."""
    global _jobs
    _jobs = jobs


def own_cores() -> int:
    """Return this process's share of the usable cores: beside other jobs, or ranks of a launcher.

    At least 1.
    """
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, usable_cores() // _jobs // max(1, int(ranks) if ranks.isdecimal() else 1))
