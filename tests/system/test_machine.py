"""Cores, memory and compilers of the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from dstrun.system.cores import usable_cores


@pytest.mark.parametrize(
    ("granted", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("", 8)],
)
def test_no_more_threads_than_the_container_is_granted(
    granted: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    if granted:
        (tmp_path / "cpu.max").write_text(granted + "\n")
    assert usable_cores(tmp_path) == cores


FAULTS = """
import resource, torch
from dstrun.system import machine

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(7 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

machine.keep_freed_memory()
# larger, so that its place in memory fits later ones of any alignment
torch.ones(8 * 2**20 - 2**18)
print(min(faults() for _ in range(5)))
"""


@pytest.mark.slow
def test_what_a_step_frees_is_kept_for_the_next() -> None:
    """Allocate 28 MiB again in a process without other memory: no page faults."""
    pytest.importorskip("resource")
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True
    ).stdout
    assert int(found) < 700  # of the 7168 pages
