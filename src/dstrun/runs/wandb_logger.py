"""Copy of a run in Weights & Biases, by a tracker that receives rows.

The copy may fail without harm to the run, whose files are the source of truth.
"""

import logging
import netrc
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dstrun.config.options import Config
from dstrun.runs.trackers.tracker import NoTracker, Tracker
from dstrun.runs.wandb_options import MODES, is_installed, wandb_run_id
from dstrun.system.errors import first_line

# Time limits of W&B's server, below the 10 s and 15 s that it may cost a run.
START_SECONDS = 6.0
END_SECONDS = 10.0


class WandbTracker:
    """Tracker that logs to W&B, where figures are plotted over `epoch`.

    init: arguments of wandb.init. An error of W&B after the start is a warning in `log`.
    """

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
        self._try(self._run.log, dict(row))

    def finish(self, exit_code: int) -> None:
        self._try(self._run.finish, exit_code=exit_code)

    def _try(self, call: Callable, *args: Any, **options: Any) -> None:
        try:
            call(*args, **options)
        except Exception as error:  # the run goes on without its copy
            self._log.warning("W&B: %s: %s", type(error).__name__, error)


def start_wandb(mode: str, log: logging.Logger, say: Callable[[str], None], **init: Any) -> Tracker:
    """Start W&B and return its tracker; without an answer from the server it logs offline.

    mode: online, offline, disabled, or auto, which means online if there is an API key.
    say: shows the user a line about what has failed.
    init: arguments of wandb.init, from `wandb_init`.
    """
    if mode == "disabled":
        return NoTracker()
    if not is_installed():
        say("W&B is not installed, so this run is not logged there (no line: wandb.mode=disabled)")
        return NoTracker()
    _set_environment(mode, init.get("tags") or ())
    import wandb  # which reads the environment

    if os.environ.get("WANDB_SWEEP_ID"):  # the agent of a W&B sweep has chosen the run's id
        init.pop("id", None)
    if init.get("dir"):
        init["dir"] = _make_directory(init["dir"])
    if mode == "auto":
        mode = _automatic_mode()
    if mode == "disabled":
        return NoTracker()
    if mode == "online":
        started = time.monotonic()
        try:
            return WandbTracker("online", log, **init)
        except Exception as error:  # of wandb's own kinds, and of the libraries under it
            waited = time.monotonic() - started
            why = first_line(error) or type(error).__name__
            say(
                f"W&B not reachable after {waited:.0f} s ({why}); "
                "logging offline, upload with `wandb sync`"
            )
            wandb.teardown()  # else the failed start keeps the run's id occupied
    return _start_offline(log, say, init)


def _start_offline(
    log: logging.Logger, say: Callable[[str], None], init: Mapping[str, Any]
) -> Tracker:
    try:
        return WandbTracker("offline", log, **init)
    except Exception as error:
        why = " ".join(str(error).split())[:300]  # pydantic names the setting in its second line
        say(
            "W&B could not be started, so this run is not logged there "
            f"({type(error).__name__}: {why})"
        )
        return NoTracker()


def _set_environment(mode: str, tags: Sequence[str]) -> None:
    """Set the variables that W&B reads when it is imported, and in its own process."""
    # Its error reports can delay the end of a process by 20 s, where a server does not answer.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not os.access(os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME", ""), os.W_OK):
        # else W&B's own process writes its log to our stderr
        os.environ["XDG_CACHE_HOME"] = tempfile.gettempdir()
    # W&B refuses some spellings that `wandb_options` accepts.
    for name, value in {"WANDB_MODE": mode, "WANDB_TAGS": ",".join(tags)}.items():
        if os.environ.get(name):
            os.environ[name] = value


def _make_directory(path: str) -> str:
    """Make the directory for W&B's files; return it absolute: W&B's process may run elsewhere."""
    with suppress(OSError):  # then W&B uses a temporary folder
        Path(path).mkdir(parents=True, exist_ok=True)
    return str(Path(path).absolute())


def _automatic_mode() -> str:
    """Return the mode that `wandb offline` or `wandb disabled` has set for this folder.

    If none is set: online if there is an API key, else offline.
    """
    import wandb

    mode = MODES.get(wandb.setup().settings.mode, "online")
    return mode if mode != "online" or _has_key() else "offline"


def _has_key() -> bool:
    """Return whether W&B finds credentials without asking for them."""
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


def remove_local_copies(config: Config, folder: Path) -> None:
    """Remove W&B's own folders of a run that starts over.

    Otherwise `wandb sync` would upload their rows before the new ones.
    """
    run_id = re.escape(wandb_run_id(config, folder))
    names = re.compile(rf"(offline-)?run-\d{{8}}_\d{{6}}-{run_id}(-\d+)?")
    with suppress(OSError):
        for path in Path(os.environ.get("WANDB_DIR") or folder, "wandb").iterdir():
            if names.fullmatch(path.name) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
