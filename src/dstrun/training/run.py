"""Train or evaluate the run of a config: the place where every part of the program meets.

    read the state of the run folder  →  prepare data and model  →  lock the folder  →  train

Nothing is written before everything that can be checked has been.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dstrun.config.options import Config
from dstrun.methods.mask_stats import masked_density, model_density, weights_left_dense
from dstrun.runs import checkpoint
from dstrun.runs.data_record import OF_THE_NETWORK, refuse_other_classes, refuse_other_data
from dstrun.runs.folder import NEW, RunFolder
from dstrun.runs.status import FINISHED, RUNNING, Status, holder
from dstrun.runs.trackers.start import check_trackers
from dstrun.runs.wandb_options import forget_names_of_one_run
from dstrun.system.errors import (
    BusyError,
    DivergedError,
    InputError,
    Interrupted,
    RunFailedError,
    error_line,
    first_line,
    mismatch,
    print_notes,
    printable,
)
from dstrun.system.machine import set_threads
from dstrun.training.build import make_batches, training_objects
from dstrun.training.config_notes import gpu_notes
from dstrun.training.describe import density_words, failure_line
from dstrun.training.evaluate import evaluate, make_autocast
from dstrun.training.follower import follow
from dstrun.training.launch import (
    RankFailedError,
    as_launched,
    check_devices,
    launch,
    on_device_of_rank,
    refuse_other_commands,
)
from dstrun.training.prepare import Prepared, prepare, rehearse
from dstrun.training.ranks import (
    Ranks,
    RanksDifferError,
    is_of_lost_rank,
    is_of_own_launcher,
    joined,
    local_rank,
)
from dstrun.training.session import Session
from dstrun.training.task_check import data_option

OF_ALL_RANKS = (DivergedError, RanksDifferError)  # which the first one says


def run(
    config: Config, default_group: str, notes: Sequence[str] = (), advises: bool = True
) -> Path:
    """Train the run of a config, or what is left of it, and return its folder.

    Raises InputError before anything is written; after that RunFailedError, with the traceback in
    the folder, and Interrupted once a request to stop has been met with a checkpoint. Notes are
    printed once nothing is wrong; with `advises`, one on what is faster on a GPU is among them. Of
    the processes that a launcher has started, the first decides, and the others follow.
    """
    config = as_launched(config)
    folder = RunFolder.of(config, default_group)
    if config.devices > 1 and local_rank() is None and _is_to_train(folder):
        _train_on_ranks(folder, partial(run, config, default_group, notes, advises))
        return folder.path
    config = on_device_of_rank(config)
    folder = RunFolder.of(config, default_group)
    with joined(config.device) as ranks:
        refuse_other_commands(config, ranks)
        try:
            if ranks.is_first:
                _train(folder, notes, advises, ranks)
            else:
                _follow(config, ranks)
        except Interrupted:
            ranks.end_together()
            raise
        ranks.end_together()
    return folder.path


def _is_to_train(folder: RunFolder) -> bool:
    """Return whether there is something to train, by several ranks where they are asked for."""
    config = folder.config
    return not config.dry_run and (config.overwrite or folder.state() != FINISHED)


def _train_on_ranks(folder: RunFolder, call: Callable[[], object]) -> None:
    """Make the call in a process for each of the run's devices; record what the folder cannot
    know: how a rank failed, unless it did after the end of the run.
    """
    check_devices(folder.config)
    started = folder.read_status().get("started")
    try:
        launch(call, folder.config.devices)
    except RankFailedError as error:
        status = folder.read_status()
        if status.get("state") == FINISHED and status["started"] != started:
            return
        print(f"{folder}: failed, {error}", file=sys.stderr)
        with suppress(OSError, InputError):  # a full disk, or another run's folder
            folder.record_failure(str(error), str(error))
        raise


def _train(folder: RunFolder, notes: Sequence[str], advises: bool, ranks: Ranks) -> None:
    """Train as the first rank, or alone; tell the others where there is nothing to train."""
    config, state = folder.config, folder.state()
    if config.dry_run:
        more = rehearse(config) if state == NEW else []
        print(f"{folder}: {state}")
        print_notes([*notes, *more])
        return ranks.tell()
    if state == FINISHED and not config.overwrite:
        _report_finished(folder)
        return ranks.tell()
    if state == RUNNING:
        raise BusyError(f"{folder} is being written by {holder(folder.path)}")
    check_trackers(config)
    prepared = _prepare(folder)
    print_notes([*notes, *(gpu_notes([config]) if advises and prepared.gpu else [])])
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        status = Status(folder.path)
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    try:
        if folder.state() == FINISHED and not config.overwrite:  # by another process meanwhile
            _report_finished(folder)
            return ranks.tell()
        Session(folder, prepared, status, ranks).run()
    finally:
        status.release()


def _follow(config: Config, ranks: Ranks) -> None:
    """Train what the first rank trains, if anything, and say what only this one can know."""
    try:
        folder = ranks.tell()
        if folder is not None:
            folder = replace(folder, config=on_device_of_rank(folder.config))
            follow(folder.config, _prepare(folder), ranks)
    except Interrupted:
        raise
    except Exception as error:
        is_told = isinstance(error, OF_ALL_RANKS) or is_of_lost_rank(error) or is_of_own_launcher()
        if not is_told:
            line = printable(failure_line(error, config, config.device))
            print(f"dstrun: rank {ranks.rank}: {line}", file=sys.stderr)
        failed = RunFailedError(str(error))
        failed.exit_code = getattr(error, "exit_code", failed.exit_code)
        raise failed from error


def _prepare(folder: RunFolder) -> Prepared:
    """Return the data and the model; refuse other data than a run to resume was trained on."""
    config = folder.config
    resumes = bool(checkpoint.list_checkpoints(folder.path)) and not config.overwrite
    prepared = prepare(config, resumes)
    if resumes:
        recorded = folder.recorded_data() or _data_in_checkpoint(folder.path)
        refuse_other_data(folder.path, data_option(config), recorded, prepared.data)
    return prepared


def _data_in_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the data recorded in a run's newest checkpoint; {} where it cannot be read."""
    try:
        state = checkpoint.load_newest(folder)
    except (OSError, ValueError):
        return {}
    return state.get("data") or {key: state[key] for key in OF_THE_NETWORK if key in state}


def run_as_job(config: Config, default_group: str) -> None:
    """Call `run` for a sweep: a run that cannot even begin has failed, and its folder says so.

    Raises BusyError, RunFailedError and Interrupted as `run`.
    """
    forget_names_of_one_run()
    try:
        run(config, default_group, advises=False)
    except (BusyError, RunFailedError):
        raise
    except Exception as error:
        line = str(error) if isinstance(error, InputError) else error_line(error)
        with suppress(OSError, InputError):  # a full disk, or another run's folder
            RunFolder.of(config, default_group).record_failure(line, traceback.format_exc())
        raise RunFailedError(line) from error


def _report_finished(folder: RunFolder) -> None:
    print(f"{folder}: finished already (overwrite=true starts over)")
    for line in folder.changes():
        print(f"{folder}: {line}", file=sys.stderr)


def evaluate_run(path: Path, config: Config) -> None:
    """Print loss and figures of a run's checkpoint on its held-out splits.

    `config` is the run's own, with what eval may change in it. Raises InputError for any other
    change, and where checkpoint, model and data do not fit.
    """
    folder = RunFolder(path, config)
    folder.refuse_difference("eval leaves a run as it was trained, `dstrun rerun` changes")
    config = replace(config, init=None)
    prepared = prepare(config, resumes=True)
    print_notes(prepared.notes)
    set_threads(config.threads)
    model, method = training_objects(config, prepared)
    try:
        state = checkpoint.load_newest(path)
        refuse_other_classes(path, state.get("data") or state, prepared.data)
        model.load_state_dict(state["model"])
    except FileNotFoundError as error:
        raise InputError(f"{path}: {error}; the run's state is {folder.state()}") from error
    except RuntimeError as error:
        other = f"the checkpoint is another model's ({mismatch(error)})"
        raise InputError(f"{path}: {other}") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: {first_line(error)}") from error
    _, splits = make_batches(config, prepared)
    layers = method.measure()
    words = [str(path)]
    for name, split in splits.items():
        loss, right = evaluate(
            model, split(), make_autocast(config.schedule.precision, prepared.device)
        )
        for figure in prepared.task.figures:
            words.append(f"{name} {figure.title} {figure.shown(figure.of(loss, right))}")
        words.append(f"{name} loss {loss:.4f}")
    left_dense = sum(weights_left_dense(model, method.left_dense).values())
    words.append(density_words(masked_density(layers), model_density(layers, left_dense)))
    print("  ".join(words))
