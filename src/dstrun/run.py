"""The composition root: a run from its config to its last file.

    is it there already?  →  can it be done at all?  →  its folder  →  train, a Record at a time  →  summary

Nothing is written before everything that can be checked has been. The only module that knows all the others.
"""

from dataclasses import replace
from pathlib import Path

from dstrun import checkpoint
from dstrun.build import make_autocast, make_batches, prepare, training_objects
from dstrun.composition import saved
from dstrun.config import Config, check
from dstrun.density import model_density
from dstrun.errors import InputError, first_line
from dstrun.evaluate import evaluate
from dstrun.identity import run_name, settings
from dstrun.machine import set_threads
from dstrun.session import Session
from dstrun.tracking import FINISHED, Status, read_json


def run(config: Config, default_group: str) -> Path:
    """Does the run that `config` describes, or what is left of it, and gives its folder.

    InputError before anything is written; RunFailedError, with the story in the folder, after that; Interrupted once a
    request to stop has been met with a checkpoint.
    """
    folder = Path(config.outputs) / (config.group or default_group) / run_name(config)
    state = _state_of(folder, config)
    if config.dry_run:
        print(f"{folder}: {state}")
        return folder
    if state == FINISHED and not config.overwrite:
        return _already_finished(folder)
    resumes = (folder / "checkpoint.pt").is_file() and not config.overwrite
    prepared = prepare(replace(config, init=None) if resumes else config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        status = Status(folder)
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    if _state_of(folder, config) == FINISHED and not config.overwrite:  # by another process, while we prepared
        status.release()
        return _already_finished(folder)
    Session(folder, config, prepared, status).go()
    return folder


def _already_finished(folder: Path) -> Path:
    print(f"{folder}: finished already (overwrite=true starts over)")
    return folder


def _state_of(folder: Path, config: Config) -> str:
    """new, or what status.json says; InputError for a folder that holds something else."""
    if not (folder / "config.yaml").is_file():
        return "new"
    _differing(folder, config, "holds another run, which differs in")
    state = read_json(folder / "status.json").get("state")
    if state is None and (folder / "summary.json").is_file():  # written once all is trained
        return FINISHED
    return state or "unfinished"


def _differing(folder: Path, config: Config, complaint: str) -> None:
    """InputError with the complaint and the options in which the run of a folder and this config are not the same."""
    there, here = settings(check(saved(folder / "config.yaml"))), settings(config)
    if keys := sorted(key for key in {**there, **here} if there.get(key) != here.get(key)):
        raise InputError(f"{folder}: {complaint} {', '.join(keys)}")


def evaluate_run(folder: Path, config: Config) -> None:
    """Prints the test figures of a run's checkpoint, under the run's config with what eval may change in it."""
    _differing(folder, config, "eval leaves a run as it was trained, `dstrun rerun` changes")
    config = replace(config, init=None)
    prepared = prepare(config)
    set_threads(config.threads)
    model, method = training_objects(config, prepared)
    try:
        model.load_state_dict(checkpoint.load(folder / "checkpoint.pt")["model"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {first_line(error)}") from error
    _, splits = make_batches(config, prepared)
    layers = method.measure()
    words = [str(folder)]
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split(), make_autocast(config, prepared.device))
        words.append(f"{name} accuracy {accuracy:.2%}  {name} loss {loss:.4f}")
    print("  ".join([*words, f"density {model_density(layers):.2%}"]))
