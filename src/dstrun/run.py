"""The composition root: a run from its config to its last file.

    is it there already?  →  can it be done at all?  →  its folder  →  train, a Record at a time  →  summary

Nothing is written before everything that can be checked has been. The only module that knows all the others.
"""

from pathlib import Path

from dstrun import checkpoint
from dstrun.build import make_autocast, make_batches, prepare, training_objects
from dstrun.composition import saved
from dstrun.config import Config, InputError, check
from dstrun.density import model_density
from dstrun.evaluate import evaluate
from dstrun.identity import run_name, settings
from dstrun.machine import set_threads
from dstrun.session import Session
from dstrun.tracking import FINISHED, BusyError, Status, read_json


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
        print(f"{folder}: finished already (overwrite=true starts over)")
        return folder
    prepared = prepare(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        status = Status(folder)
    except BusyError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"outputs: {error}") from error
    Session(folder, config, prepared, status).go()
    return folder


def _state_of(folder: Path, config: Config) -> str:
    """new, or what status.json says; InputError for a folder that holds something else."""
    if not (folder / "config.yaml").is_file():
        return "new"
    there = settings(check(saved(folder / "config.yaml")))
    if there != settings(config):
        differing = sorted(key for key in {**there, **settings(config)} if there.get(key) != settings(config).get(key))
        raise InputError(f"{folder}: holds another run, which differs in {', '.join(differing)}")
    return read_json(folder / "status.json").get("state", "unfinished")


def evaluate_run(folder: Path, config: Config) -> None:
    """Prints the test figures of a run's checkpoint, under the run's config with what eval may change in it."""
    original = settings(check(saved(folder / "config.yaml")))
    if changed := sorted(key for key, value in settings(config).items() if original.get(key) != value):
        raise InputError(f"{changed[0]}: eval leaves a run as it was trained; `dstrun rerun` changes it")
    prepared = prepare(config)
    set_threads(config.threads)
    model, method = training_objects(config, prepared)
    try:
        model.load_state_dict(checkpoint.load(folder / "checkpoint.pt")["model"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{folder}: {str(error).splitlines()[0]}") from error
    model.to(prepared.device)
    _, splits = make_batches(config, prepared)
    layers = method.measure()
    words = [str(folder)]
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split(), make_autocast(config, prepared.device))
        words.append(f"{name} accuracy {accuracy:.2%}  {name} loss {loss:.4f}")
    print("  ".join([*words, f"density {model_density(layers):.2%}"]))
