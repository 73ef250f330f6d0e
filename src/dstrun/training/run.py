"""The composition root: a run from its config to its last file.

    is it there already?  →  can it be done at all?  →  its folder  →  train, a Record at a time  →  summary

Nothing is written before everything that can be checked has been. The only module that knows all
the others."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dstrun.config.options import Config
from dstrun.methods.mask_stats import masked_density, model_density, weights_left_dense
from dstrun.runs import checkpoint
from dstrun.runs.data_record import OF_THE_NETWORK, refuse_other_classes, refuse_other_data
from dstrun.runs.folder import (
    record_failure,
    recorded_data,
    refuse_difference,
    run_folder,
    state_of,
)
from dstrun.runs.metrics import RESULTS, read_json
from dstrun.runs.status import FINISHED, RUNNING, Status, altered, holder
from dstrun.runs.wandb_logger import OF_ONE_RUN, wandb_options
from dstrun.system.errors import (
    BusyError,
    InputError,
    RunFailedError,
    described,
    first_line,
    mismatch,
    print_notes,
)
from dstrun.system.machine import set_threads
from dstrun.training.build import make_autocast, make_batches, prepare, training_objects
from dstrun.training.describe import density_words
from dstrun.training.evaluate import evaluate
from dstrun.training.session import Session


def run(config: Config, default_group: str, notes: Sequence[str] = ()) -> Path:
    """Does the run that `config` describes, or what is left of it, and gives its folder.

    InputError before anything is written; RunFailedError, with the story in the folder, after that;
    Interrupted once a request to stop has been met with a checkpoint. Notes are printed once
    nothing is wrong."""
    folder = run_folder(config, default_group)
    state = state_of(folder, config)
    if config.dry_run:
        print(f"{folder}: {state}")
        print_notes(notes)
        return folder
    if state == FINISHED and not config.overwrite:
        return _already_finished(folder)
    if state == RUNNING:
        raise BusyError(f"{folder} is being written by {holder(folder)}")
    wandb_options(config)
    resumes = bool(checkpoint.there(folder)) and not config.overwrite
    prepared = prepare(config, resumes)
    if resumes:
        recorded = recorded_data(folder) or _data_of_checkpoint(folder)
        refuse_other_data(folder, f"data={config.data.name}", recorded, prepared.data)
    print_notes(notes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        status = Status(folder)
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    try:
        if (
            state_of(folder, config) == FINISHED and not config.overwrite
        ):  # by another process, while we prepared
            return _already_finished(folder)
        Session(folder, config, prepared, status).go()
    finally:
        status.release()
    return folder


def _data_of_checkpoint(folder: Path) -> dict[str, Any]:
    """Return what a run was trained on, as its newest checkpoint says, for a run without a readable
    status.json."""
    try:
        state = checkpoint.load(folder / checkpoint.NEWEST)
    except (OSError, ValueError):
        return {}
    return state.get("data") or {key: state[key] for key in OF_THE_NETWORK if key in state}


def run_as_job(config: Config, default_group: str) -> None:
    """`run` for a sweep, where a run that cannot even begin has failed like any other: its folder
    says so.

    BusyError, RunFailedError and Interrupted as `run`.
    """
    for name in OF_ONE_RUN:
        os.environ.pop(name, None)
    try:
        run(config, default_group)
    except BusyError:
        raise
    except Exception as error:
        if isinstance(error, RunFailedError):
            raise
        line = str(error) if isinstance(error, InputError) else described(error)
        with suppress(
            OSError, InputError
        ):  # a full disk, or a folder of another run, which stays as it is
            record_failure(run_folder(config, default_group), config, line, traceback.format_exc())
        raise RunFailedError(line) from error


def _already_finished(folder: Path) -> Path:
    print(f"{folder}: finished already (overwrite=true starts over)")
    for line in altered(folder, read_json(folder / "status.json"), RESULTS):
        print(f"{folder}: {line}", file=sys.stderr)
    return folder


def evaluate_run(folder: Path, config: Config) -> None:
    """Prints the test figures of a run's checkpoint, under the run's config with what eval may
    change in it."""
    refuse_difference(folder, config, "eval leaves a run as it was trained, `dstrun rerun` changes")
    config = replace(config, init=None)
    prepared = prepare(config, resumes=True)
    set_threads(config.threads)
    model, method = training_objects(config, prepared)
    try:
        state = checkpoint.load(folder / checkpoint.NEWEST)
        refuse_other_classes(folder, state.get("data") or state, prepared.data)
        model.load_state_dict(state["model"])
    except FileNotFoundError as error:
        state = read_json(folder / "status.json").get("state", "unknown")
        raise InputError(f"{folder}: {error}; the run's state is {state}") from error
    except RuntimeError as error:
        raise InputError(
            f"{folder}: the checkpoint is another model's ({mismatch(error)})"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    _, splits = make_batches(config, prepared)
    layers = method.measure()
    words = [str(folder)]
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split(), make_autocast(config, prepared.device))
        words.append(f"{name} accuracy {accuracy:.2%}  {name} loss {loss:.4f}")
    left_dense = sum(weights_left_dense(model, method.left_dense).values())
    print(
        "  ".join(
            [*words, density_words(masked_density(layers), model_density(layers, left_dense))]
        )
    )
