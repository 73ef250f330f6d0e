"""Errors of Hydra and OmegaConf in one line: the option, what came, what was expected."""

import traceback
from collections.abc import Iterator, Sequence

from hydra.errors import MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from dstrun.config.groups import PACKAGES
from dstrun.config.keys import check_key
from dstrun.config.messages import explained, near, near_of_package, plain_key
from dstrun.config.options import OPTIONS
from dstrun.system.errors import InputError, first_line

EXTRAS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray", "ray_aws": "ray"}


def one_line(error: BaseException) -> str:
    """Return an error of Hydra or OmegaConf in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if extra := EXTRAS.get(name):
            return f"{group}: needs a package that is not installed: pip install 'dstrun[{extra}]'"
        if error.options is not None:
            packages = PACKAGES if group == "model" else ()
            choices = ", ".join([*error.options, *(f"{package}:NAME" for package in packages)])
            hint = near_of_package(name, packages) or near(name, error.options)
            return f"{group}: there is no {name!r}{hint} (choices: {choices})"
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OmegaConfBaseException):
            key = plain_key(cause.full_key)
            return explained(cause) if key in OPTIONS or not key else _unknown_key(key, causes)
    return first_line(error) or type(error).__name__


def is_from_hydra(error: Exception) -> bool:
    """Return whether code of Hydra or OmegaConf raised an error.

    They raise arbitrary errors for input that they do not check, such as hydra=3.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf", "antlr4")


def _unknown_key(key: str, causes: Sequence[BaseException]) -> str:
    """Return the message for an error at a key that is no option."""
    if not key.startswith("hydra"):
        try:
            check_key(key)
        except InputError as error:
            return str(error)
    line = first_line(causes[-1])
    return line if key in line else f"{key}: {line}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that and so on, each once.

    The causes of OmegaConf's errors form a circle in a debugger.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
