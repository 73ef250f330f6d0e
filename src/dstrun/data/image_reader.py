"""Processes that read images for training, and what one of them does.

A process is told what to read, path by path, so that it holds nothing of the tree. It hands back
bytes in shared memory: a quarter of what floats would take.
"""

import multiprocessing
import os
import random
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dstrun.data.image_files import Undecodable, centre_box, random_box, read_crop
from dstrun.system.errors import InputError, error_line, print_note

AHEAD = 2  # pieces that a process reads before they are asked for
PIECE = 32  # images that a process reads at a time


class Wanted(NamedTuple):
    """An image to read: a random crop and perhaps mirrored by a seed, the centre without one."""

    path: str
    seed: int | None


class Piece(NamedTuple):
    """Images, uint8 (N, size, size, 3), which are to be mirrored, (N,) bool, and which are damaged.

    `damaged`: reasons by place; the pixels there are 0.
    """

    pixels: Tensor
    flips: Tensor
    damaged: dict[int, str]


class Images:
    """The data set of a DataLoader: any image there is, cut to a square of a size."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __getitems__(self, wanted: Sequence[Wanted]) -> Piece:
        """Read several images; a damaged one is reported and not raised."""
        pixels = torch.zeros(len(wanted), self._size, self._size, 3, dtype=torch.uint8)
        flips = torch.zeros(len(wanted), dtype=torch.bool)
        damaged: dict[int, str] = {}
        for place, (path, seed) in enumerate(wanted):
            box_of: Callable = centre_box
            if seed is not None:
                draws = random.Random(seed)
                flips[place] = draws.random() < 0.5
                box_of = partial(random_box, draws)
            try:
                pixels[place] = read_crop(path, self._size, box_of)
            except Undecodable as error:
                damaged[place] = str(error)
        return Piece(pixels, flips, damaged)


class ImageReader:
    """Reads pieces in the order in which they are asked for; one for all splits of a run.

    workers: processes that read, 0: none but this one. pins: whether to copy what is read to pinned
    memory, for a GPU. say: what is told of images that are left out.
    """

    def __init__(
        self,
        size: int,
        workers: int,
        pins: bool = False,
        say: Callable[[str], None] = print_note,
    ) -> None:
        self.say = say
        self._size, self._workers, self._pins = size, workers, pins
        self._wanted: Iterable[list[Wanted]] = ()
        self._turn = object()

    @cached_property
    def _loader(self) -> DataLoader:
        options: dict[str, Any] = {}
        if self._workers:
            options = {
                "multiprocessing_context": _context(),
                "persistent_workers": True,
                "prefetch_factor": AHEAD,
                "worker_init_fn": _outlive_signals,
            }
        return DataLoader(
            Images(self._size),  # type: ignore[arg-type]
            batch_sampler=self,
            collate_fn=_as_it_is,  # type: ignore[arg-type]
            num_workers=self._workers,
            pin_memory=self._pins,
            generator=torch.Generator(),  # from which it draws a seed, instead of torch's own
            **options,
        )

    def __iter__(self) -> Iterator[list[Wanted]]:
        return iter(self._wanted)

    def read(self, pieces: Callable[[int], Iterable[list[Wanted]]]) -> Iterator[Piece]:
        """Yield the pieces of `pieces(0)`; `pieces(n)` are those after the first n.

        Where another call has begun meanwhile, as to repeat steps, the rest is read anew.
        """
        done, is_read = 0, False
        while not is_read:
            turn = self._turn = object()
            self._wanted, is_read = pieces(done), True
            for piece in self._started():
                yield piece
                done += 1
                if self._turn is not turn:
                    is_read = False
                    break

    def _started(self) -> Iterator[Piece]:
        """Return the loader's iterator; raise InputError where its processes cannot be started."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # more processes than cores are the user's choice
                return iter(self._loader)
        except (OSError, EOFError) as error:  # EOFError: of the server that forks them
            raise InputError(
                f"data.workers: cannot start {self._workers} processes ({error_line(error)}); "
                "data.workers=0 needs none"
            ) from error


def missing_memory(workers: int, size: int, shared: Path = Path("/dev/shm")) -> str:
    """Return, in words, what the shared memory lacks for processes that read; '' if nothing."""
    needed = (AHEAD * workers + 1) * PIECE * 3 * size * size
    if not shared.is_dir() or (free := shutil.disk_usage(shared).free) >= needed:
        return ""
    need, there = (f"{count / 2**20:,.0f} MiB" for count in (needed, free))
    return f"{need} of {shared}, where {there} are free (docker run --shm-size=1g has more)"


def _as_it_is(piece: Piece) -> Piece:
    return piece


def _context() -> Any:
    """Return the context of multiprocessing whose processes are forked with all they need."""
    context = multiprocessing.get_context("forkserver")  # fork hangs beside threads, as gloo's
    context.set_forkserver_preload([__name__])
    return context


def _outlive_signals(worker: int) -> None:
    """Leave it to the trainer what a signal means, and end as soon as it ends or asks for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    trainer = parent_process()
    assert trainer is not None
    while trainer.is_alive():
        sent = signal.sigtimedwait({signal.SIGTERM}, 1.0)
        if sent and sent.si_pid == trainer.pid:
            break
    os._exit(0)
