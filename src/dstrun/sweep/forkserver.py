"""Forkserver of a sweep: a process with torch imported, from which the jobs are forked."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.forkserver import ensure_running
from typing import Any

from dstrun.system.errors import InputError

PRELOADED = ("dstrun.training.run", "dstrun.sweep.worker")
# What the first optimiser loads, in two seconds. A job that compiles has to load it itself, since
# the number of compiling processes is read from the environment at that moment.
OPTIMISER_MODULE = "torch._dynamo"
# Bytes that the address of a socket leaves for the name of its folder.
MAX_FOLDER_BYTES = 107 - len("/pymp-xxxxxxxx/listener-xxxxxxxx")
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def fork_context() -> Any:
    """Return the context of multiprocessing that forks processes from the forkserver."""
    return multiprocessing.get_context("forkserver")


def start_forkserver(threads: int, modules: Sequence[str] = ()) -> None:
    """Start the forkserver unless it is running, with the jobs' modules and `modules` imported.

    `threads`: CPU threads of each job, unless the environment sets another number. The forkserver
    ignores Ctrl-C; the parent process stops the jobs.
    """
    fork_context().set_forkserver_preload([*PRELOADED, *modules])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with (
            _default_environment(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads)),
            short_temporary_folder(),
        ):
            ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def short_temporary_folder() -> Iterator[None]:
    """Use a temporary folder whose name leaves room for the address of a socket.

    TMPDIR is used where it is short enough. Raise InputError where no such folder is writable.
    """
    before = tempfile.gettempdir()
    folder = next(filter(_is_usable, (before, *SHORT_FOLDERS)), None)
    if folder is None:
        raise InputError(
            f"TMPDIR: got {before}, expected a folder with a name of at most "
            f"{MAX_FOLDER_BYTES} bytes"
        )
    tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _is_usable(folder: str) -> bool:
    return len(os.fsencode(folder)) <= MAX_FOLDER_BYTES and os.access(folder, os.W_OK | os.X_OK)


@contextmanager
def _default_environment(**values: str) -> Iterator[None]:
    """Set environment variables for the block; those that are set already keep their values."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
