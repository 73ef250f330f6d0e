"""A run's copy in Weights & Biases: what the options and W&B's own variables say, and a tracker
that may fail.

An option that is given wins over the environment; where it is at its default, W&B's variable holds.
The copy may fail without harm: the files of the run are the source of truth."""

import logging
import netrc
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from dstrun.config.check import check_text
from dstrun.config.messages import near
from dstrun.config.options import OPTIONS, Config, WandbConfig, value_of
from dstrun.runs.identity import run_hash
from dstrun.system.errors import InputError, first_line

MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
VARIABLES = {
    "wandb.project": "WANDB_PROJECT",
    "wandb.entity": "WANDB_ENTITY",
    "wandb.tags": "WANDB_TAGS",
}
OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_NAME")  # which the runs of a sweep must not share
RUN_ID = r"[^\s:;,#?/'](?:[^:;,#?/']*[^\s:;,#?/'])?"  # as wandb.Settings checks it
START_SECONDS, END_SECONDS = (
    6.0,
    10.0,
)  # for W&B's server to answer, of the 10 and 15 that it may cost a run


# what is asked for


def wandb_options(config: Config) -> WandbConfig:
    """Return the options of W&B, those at their default as W&B's variables have them.

    InputError for a variable that W&B would refuse.
    """
    if config.wandb.mode == "disabled":
        return config.wandb
    found: dict[str, Any] = {}
    if config.wandb.mode == "auto":
        found["mode"] = _mode_of_environment()
    for key, variable in VARIABLES.items():
        entry, text = OPTIONS[key], os.environ.get(variable, "").strip()
        if text and value_of(config, key) == entry.metadata["default"]:
            value = _words(text) if entry.type == list[str] else text
            check_text(variable, value, entry.metadata)
            found[entry.name] = value
    run_id = os.environ.get("WANDB_RUN_ID", "")
    if run_id and not re.fullmatch(RUN_ID, run_id):
        raise InputError(f"WANDB_RUN_ID: got {run_id!r}, expected text without : ; , # ? / '")
    return replace(config.wandb, **found)


def _mode_of_environment() -> str:
    """What WANDB_DISABLED and WANDB_MODE say: online, offline or disabled; auto where they say
    nothing."""
    if os.environ.get("WANDB_DISABLED", "").strip().lower() in ("true", "1", "yes", "on"):
        return "disabled"
    word = os.environ.get("WANDB_MODE", "").strip().lower()
    if word and word not in MODES:
        raise InputError(
            f"WANDB_MODE: got {word!r}, expected one of {', '.join(MODES)}{near(word, MODES)}"
        )
    return MODES.get(word, "auto")


def _words(text: str) -> list[str]:
    """Tags between commas, each once."""
    return list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def wandb_init(config: Config, folder: Path, begun_over: int) -> dict[str, Any]:
    """Return what wandb.init is to be told of the run in that folder, which has been begun over so
    many times.

    Begun over, a run has another id, since the history under the old one would go on with the new
    rows."""
    options, group, told = wandb_options(config), folder.parent.name, os.environ.get
    run_id = _run_id(config, folder)
    return {
        "dir": told("WANDB_DIR") or str(folder),
        "project": options.project,
        "entity": options.entity,
        "tags": options.tags,
        "group": group if config.group else told("WANDB_RUN_GROUP") or group,
        "job_type": told("WANDB_JOB_TYPE") or config.reg.method,
        "id": f"{run_id}-{begun_over}" if begun_over else run_id,
        "name": told("WANDB_NAME") or folder.name,
        "notes": config.name or told("WANDB_NOTES"),
        "config": asdict(config),
    }


def _run_id(config: Config, folder: Path) -> str:
    return os.environ.get("WANDB_RUN_ID") or f"{folder.parent.name}-{run_hash(config)}"


def remove_local_copies(config: Config, folder: Path) -> None:
    """Remove W&B's own folders of the run, which is begun over: `wandb sync` would send their rows
    before the new."""
    names = re.compile(
        rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(_run_id(config, folder))}(-\d+)?"
    )
    with suppress(OSError):
        for path in Path(os.environ.get("WANDB_DIR") or folder, "wandb").iterdir():
            if names.fullmatch(path.name) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


# the tracker


class Tracker(Protocol):
    """What a run tells the outside: a row of named figures an epoch, and that it has ended."""

    def log(self, row: Mapping[str, float]) -> None: ...
    def finish(self, exit_code: int) -> None: ...


class NoTracker:
    """wandb.mode=disabled."""

    def log(self, row: Mapping[str, float]) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        pass


class WandbTracker:
    """A W&B run in the run's own folder; figures are drawn over `epoch`."""

    def __init__(self, mode: str, log: logging.Logger, **init: Any) -> None:
        import wandb

        self._log = log
        settings = wandb.Settings(
            init_timeout=START_SECONDS,
            login_timeout=START_SECONDS,
            finish_timeout=END_SECONDS,
            console="off",
            silent=True,
        )
        self._run = wandb.init(
            mode=mode,  # type: ignore[arg-type]
            resume="allow" if "id" in init else None,
            reinit="finish_previous",
            settings=settings,
            **init,
        )
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def log(self, row: Mapping[str, float]) -> None:
        self._harmless(self._run.log, dict(row))

    def finish(self, exit_code: int) -> None:
        self._harmless(self._run.finish, exit_code=exit_code)

    def _harmless(self, call: Callable, *args: Any, **options: Any) -> None:
        try:
            call(*args, **options)
        except Exception as error:  # a copy that fails must not take the run with it
            self._log.warning("W&B: %s: %s", type(error).__name__, error)


def start_wandb(mode: str, log: logging.Logger, say: Callable[[str], None], **init: Any) -> Tracker:
    """Start W&B as asked: auto is online where a key is set, else offline; no answer from the
    server means offline.

    What does not go as asked is said to the user by `say`. `init` goes to wandb.init: see
    `wandb_init`."""
    if mode == "disabled":
        return NoTracker()
    # its reports on itself, which wait 20 s at a process's end for a server that hangs; read when
    # it is imported
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not os.access(os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME", ""), os.W_OK):
        os.environ["XDG_CACHE_HOME"] = (
            tempfile.gettempdir()
        )  # else W&B's own process writes its log to our stderr
    for name, value in {"WANDB_MODE": mode, "WANDB_TAGS": ",".join(init.get("tags") or ())}.items():
        if os.environ.get(name):
            os.environ[name] = (
                value  # W&B reads its variables itself, and refuses spellings that are taken here
            )
    import wandb

    if os.environ.get("WANDB_SWEEP_ID"):  # the agent of a W&B sweep has chosen the run's id already
        init.pop("id", None)
    if init.get("dir"):
        with suppress(OSError):  # then W&B takes a temporary folder
            Path(init["dir"]).mkdir(parents=True, exist_ok=True)
        init["dir"] = str(
            Path(init["dir"]).absolute()
        )  # W&B's own process may have been started in another folder
    if mode == "auto":
        mode = _automatic_mode()
    if mode == "disabled":
        return NoTracker()
    if mode == "online":
        started = time.monotonic()
        try:
            return WandbTracker("online", log, **init)
        except Exception as error:  # wandb raises its own kinds, and those of what it is built on
            waited = time.monotonic() - started
            why = first_line(error) or type(error).__name__
            say(
                f"W&B not reachable after {waited:.0f} s ({why}); logging offline, upload with `wandb sync`"
            )
            wandb.teardown()  # else the attempt keeps the run's id to itself
    try:
        return WandbTracker("offline", log, **init)
    except Exception as error:
        why = " ".join(str(error).split())[:300]  # pydantic names the setting in its second line
        say(
            f"W&B could not be started, so this run is not logged there ({type(error).__name__}: {why})"
        )
        return NoTracker()


def _automatic_mode() -> str:
    """What `wandb offline` or `wandb disabled` have written for this folder; else online where
    there is a key."""
    import wandb

    mode = MODES.get(wandb.setup().settings.mode, "online")
    return mode if mode != "online" or _has_key() else "offline"


def _has_key() -> bool:
    """Whether W&B would find credentials without asking a person."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb

    host = urlsplit(wandb.setup().settings.base_url).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            if name and netrc.netrc(os.path.expanduser(name)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
