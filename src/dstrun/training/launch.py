"""Ranks of one run on this machine, through torch's launcher: `devices=N` is `torchrun` with as
many.

    launch  →  a process a rank, which calls `run` as well  →  the error of the rank that failed

Torch's launcher watches the ranks and ends all when one has failed. Call, stop signals and errors
go through files, so that the ranks share the config, have the time that a checkpoint takes, and an
error is reported once.
"""

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from dstrun.config.options import Config, flat
from dstrun.system.cores import usable_cores
from dstrun.system.errors import InputError, Interrupted, RunFailedError
from dstrun.system.gpu import find_gpu, gpu_names
from dstrun.system.signals import DELAYED, STOPPING, stays
from dstrun.training.launched import CALL, GRACE, PROGRAM, SIGNALS
from dstrun.training.ranks import OTHER_ENDED, RUN_ID, Ranks, is_of_lost_rank, local_rank

SECONDS_TO_STOP = "25"  # of ranks that cannot go on, before they are killed
ANY_DEVICE = ("auto", "cuda", "cpu")


class RankFailedError(RunFailedError):
    """The failure of a rank that the run's folder does not know of."""


def check_devices(config: Config) -> None:
    """Raise InputError where this machine lacks the devices that the ranks of a run need, or a
    batch the images.
    """
    if config.devices == 1:
        return
    _check_batch(config, config.devices)
    if config.device not in ANY_DEVICE:
        raise InputError(
            f"device: got {config.device}, expected one of {', '.join(ANY_DEVICE)} with "
            f"devices={config.devices}"
        )
    if config.device == "cpu" or (config.device == "auto" and not find_gpu()[0]):
        return
    if config.devices > (count := len(gpu_names())):
        raise InputError(
            f"devices: got {config.devices}, expected at most the number of GPUs that torch can "
            f"use, {count}; device=cpu trains on the CPU"
        )


def _check_batch(config: Config, ranks: int) -> None:
    if 2 * ranks > (size := config.schedule.batch_size):
        raise InputError(
            f"devices: each of {ranks} ranks needs two images of a batch, expected "
            f"schedule.batch_size ≥ {2 * ranks}, got {size}"
        )


def use_tasks() -> None:
    """Let the tasks of a job of submitit, such as SLURM's, be ranks; a task alone changes nothing.

    Each sees all GPUs of its node.
    """
    if not os.environ.get("SUBMITIT_EXECUTOR"):
        return
    from submitit.helpers import TorchDistributedEnvironment

    ranks = TorchDistributedEnvironment()
    if ranks.world_size > 1:
        ranks.export(set_cuda_visible_devices=False, overwrite=True)


def as_launched(config: Config) -> Config:
    """Return the config of a run whose ranks torchrun or SLURM has started; any other unchanged.

    Raise InputError for another number of ranks than `devices`. Ranks that torchrun starts again
    resume.
    """
    if local_rank() is None:
        return config
    started = int(os.environ["WORLD_SIZE"])
    if config.devices not in (1, started):
        raise InputError(
            f"devices: got {config.devices}, but {started} ranks have been started; leave it out"
        )
    _check_batch(config, started)
    restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return replace(config, overwrite=config.overwrite and not restarted)


def on_device_of_rank(config: Config) -> Config:
    """Return the config with the GPU that belongs to this process, if a launcher has started it."""
    local = local_rank()
    if local is None:
        return config
    kind = config.device.partition(":")[0]
    if kind == "cpu" or (kind == "auto" and not find_gpu()[0]):
        return replace(config, device="cpu")
    if local >= len(gpus := gpu_names()):
        raise InputError(
            f"devices: expected a GPU for each process, and there are {len(gpus)} for number "
            f"{local}; device=cpu trains on the CPU"
        )
    return replace(config, device=gpus[local])


def refuse_other_commands(config: Config, ranks: Ranks) -> None:
    """Raise InputError, on every rank, where the ranks have been started by different commands."""
    all_options = ranks.gather(flat(asdict(config)))
    for rank, options in enumerate(all_options):
        for key, value in options.items():
            if key != "device" and value != (first := all_options[0].get(key)):
                raise InputError(
                    f"{key}: got {value!r} on rank {rank} and {first!r} on rank 0, expected the "
                    "same command on all ranks"
                )


def launch(call: Callable[[], object], count: int) -> None:
    """Call `call` in `count` processes that train together, and return when all have.

    Raises what a rank has raised, the first one's if several have; RankFailedError where that is
    the failure of another rank, which the first could not know; Interrupted after a signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_STOP)
    with TemporaryDirectory(prefix="dstrun-") as folder, _own_handlers(Path(folder)) as signals:
        Path(folder, CALL).write_bytes(pickle.dumps(call))
        try:
            elastic_launch(_settings(count), sys.executable)(
                "-c", PROGRAM, folder, str(os.getpid())
            )
        except ChildFailedError as error:
            codes = {rank: one.exitcode for rank, one in error.failures.items()}
            raise error_of_ranks(codes, Path(folder)) from None
        except SignalException as error:
            raise Interrupted(error.sigval) from None
        if signals:  # too late for this run, but not for those after it
            raise Interrupted(signals[-1])


def _settings(count: int) -> Any:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"{RUN_ID}{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=GRACE,
        signals_to_handle="SIGQUIT",  # it would kill ranks that take longer than a failed one may
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )


@contextmanager
def _own_handlers(folder: Path) -> Iterator[list[int]]:
    """Pass stop signals in the block on to the ranks and yield them; silence torch's launcher.

    The ranks have said what is wrong. A delayed signal then gets to its earlier handler, as after
    `stop_request`.
    """
    before: dict[int, Any] = {}
    signals: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        signals.append(number)
        with (folder / SIGNALS).open("a", encoding="ascii") as file:
            file.write(f"{number}\n")

    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, pass_on) for one in STOPPING if not stays(one)}
    disabled, stopped_by = logging.root.manager.disable, 0
    logging.disable(logging.ERROR)
    try:
        yield signals
    except Interrupted as error:
        stopped_by = error.args[0]
        raise
    finally:
        logging.disable(disabled)
        for number, handler in before.items():
            signal.signal(number, handler)
        if stopped_by in DELAYED and callable(before.get(stopped_by)):
            signal.raise_signal(stopped_by)


def error_of_ranks(codes: Mapping[int, int], folder: Path) -> BaseException:
    """Return what to raise for the exit codes of ranks, −n for signal n, and their errors.

    The launcher ends by SIGTERM those ranks that have not failed.
    """
    for rank, code in codes.items():
        if code < 0 and -code not in STOPPING:
            line = f"rank {rank} was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                line += " (if memory ran out: a smaller schedule.batch_size needs less)"
            return RankFailedError(line)
    errors = _read_errors(sorted(codes), folder)
    for rank, error in errors.items():
        if not is_of_lost_rank(error) and OTHER_ENDED not in str(error):
            if not rank or not isinstance(error, RunFailedError):
                return error
            failed = RankFailedError(f"rank {rank}: {error}")
            failed.exit_code = error.exit_code
            return failed
    if errors:
        return next(iter(errors.values()))
    rank, code = next(iter(codes.items()))
    if -code in STOPPING:  # before there was anything to save
        return Interrupted(-code)
    return RankFailedError(f"rank {rank} ended with exit code {code}")


def _read_errors(ranks: Sequence[int], folder: Path) -> dict[int, BaseException]:
    """Return the errors that ranks have left, by rank."""
    files = {rank: folder / str(rank) for rank in ranks}
    return {rank: pickle.loads(file.read_bytes()) for rank, file in files.items() if file.is_file()}
