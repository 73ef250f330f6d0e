"""How Hydra composes a config here: where conf and sweeps are found, and errors in one line.

Sources, the first that has a file wins: ./conf of the user, conf of dstrun, models and data sets that installed
packages offer through entry points; files of ./sweeps and of dstrun's sweeps are the choices of the group `sweep`.
Knows config and Hydra; it knows nothing of runs, and no torch.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dstrun.config import FREE, GROUPS, OPTIONS, Config, check_key, expected, explained, near, plain_key
from dstrun.errors import InputError

AD_HOC = "grid"
EXTRAS = {"submitit_slurm": "slurm", "submitit_local": "slurm", "ray": "ray", "ray_aws": "ray"}
HYDRA_PLUGINS = {
    "dstrun_launcher.local": "LocalLauncher",
    "dstrun_sweeper.grid": "GridSweeper",
    "dstrun_sweeper.pareto": "ParetoSweeper",
}


def packaged(name: str) -> Path:
    """dstrun's own `conf` or `sweeps`: inside the package (wheel), else at the checkout's root (editable)."""
    package = Path(__file__).resolve().parent
    return package / name if (package / "conf" / "config.yaml").is_file() else package.parents[1] / name


def choices(group: str) -> list[str]:
    """What GROUP=… may be, from the sources in the module's docstring."""
    if group == "sweep":
        return sorted({file.stem for folder in (Path("sweeps"), packaged("sweeps")) for file in folder.glob("*.yaml")})
    files = [file for conf in (Path("conf"), packaged("conf")) for file in (conf / group).glob("*.yaml")]
    return sorted({file.stem for file in files} | set(_offered(group)))


class SearchPath(SearchPathPlugin):
    """The sources of the module's docstring, in their order."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = Path("conf").resolve()
        if own.is_dir() and own != packaged("conf"):
            search_path.prepend("user", f"file://{own}", anchor="main")
        search_path.append("plugins", "plugins://")
        for folder in dict.fromkeys((Path("sweeps").resolve(), packaged("sweeps"))):
            if folder.is_dir():
                search_path.append("sweeps", f"sweeps://{folder}")


class NamedSource(ConfigSource):
    """A source that serves flat names as the choices of groups: subclasses say which names, and what is in one."""

    def names(self, group: str) -> list[str]:
        raise NotImplementedError

    def groups(self) -> tuple[str, ...]:
        raise NotImplementedError

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path == "" or config_path in self.groups()

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in self.groups() and name in self.names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path in self.groups():
            return [] if results_filter == ObjectType.GROUP else sorted(self.names(config_path))
        return [] if results_filter == ObjectType.CONFIG else list(self.groups())


class SweepSource(NamedSource):
    """A flat folder of sweep files."""

    @staticmethod
    def scheme() -> str:
        return "sweeps"

    def groups(self) -> tuple[str, ...]:
        return ("sweep",)

    def names(self, group: str) -> list[str]:
        return [file.stem for file in Path(self.path).glob("*.yaml")]

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / f"{config_path.removesuffix('.yaml').removeprefix('sweep/')}.yaml"
        header = self._get_header_dict(file.read_text(encoding="utf-8"))
        return ConfigResult(self.provider, self.full_path(), OmegaConf.load(file), header)


class PluginSource(NamedSource):
    """Models and data sets of installed packages, by the names of their entry points."""

    @staticmethod
    def scheme() -> str:
        return "plugins"

    def groups(self) -> tuple[str, ...]:
        return ("model", "data")

    def names(self, group: str) -> list[str]:
        return _offered(group)

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml").rpartition("/")[2]
        config = OmegaConf.create({"name": name, "builder": name})
        return ConfigResult(self.provider, self.full_path(), config, {"package": None})


def _offered(group: str) -> list[str]:
    """Names that installed packages offer for a group."""
    entry_group = {"model": "dstrun.models", "data": "dstrun.data"}.get(group)
    return list(entry_points(group=entry_group).names) if entry_group else []


def sweep_group(sweep: str | None) -> str:
    """The group of a sweep's runs where none is given: the name of its file, if it has one."""
    return sweep or AD_HOC


def _group_folder(outputs: str, group: str | None, sweep: str | None) -> str:
    return str(Path(outputs) / (group or sweep_group(sweep)))


def registered() -> None:
    """Makes Hydra and OmegaConf know the schema, the sources and the resolvers."""
    ConfigStore.instance().store("schema", Config)
    for plugin in (SearchPath, SweepSource, PluginSource):
        Plugins.instance().register(plugin)
    for module, name in HYDRA_PLUGINS.items():  # which Hydra does not find by itself in an editable install
        Plugins.instance().register(getattr(import_module(f"hydra_plugins.{module}"), name))
    OmegaConf.register_new_resolver("dstrun.group_folder", _group_folder, replace=True)
    OmegaConf.register_new_resolver("dstrun.last_part", lambda path: Path(path).resolve().name, replace=True)


def compose_and_run(arguments: Sequence[str], task: Callable[[DictConfig], None]) -> None:
    """Hands the arguments to Hydra, which calls `task` once, or once a job of a multirun.

    InputError for what Hydra or the schema refuses.
    """
    registered()
    _refuse_traps(arguments)
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    words = [argument for argument in arguments if argument not in flags]
    completing = {"-sc", "--shell-completion"} & set(words)  # its words, install=bash, look like overrides
    for word in _positional(words):
        if not completing and not _is_override(word):
            raise InputError(f"{word!r}: expected KEY=VALUE")
    showing = any(word.partition("=")[0] in ("--cfg", "-c", "--info", "-i", "--hydra-help") for word in words)
    if showing or completing:
        flags.clear()  # Hydra shows a config, or sweeps
    elif any(word.startswith("sweep=") and word != "sweep=null" for word in words):
        flags.append("-m")  # else it refuses several values of a key beside a sweep
    overrides = [as_hydra_takes_it(word) if _is_override(word) and not completing else word for word in words]
    sys.argv = [sys.argv[0], *flags[:1], *overrides]
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself and exits
    try:
        hydra.main(version_base="1.3", config_path=str(packaged("conf")), config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_line(error)) from error
    except YAMLError as error:
        raise InputError(" ".join(str(error).split())) from error
    except Exception as error:
        if _of_hydra(error):
            raise InputError(one_line(error)) from error
        raise
    finally:
        if not traceback_wanted:
            del os.environ["HYDRA_FULL_ERROR"]


def _of_hydra(error: Exception) -> bool:
    """Whether Hydra or OmegaConf stumbled, as they do over what they did not foresee: hydra=3, say."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf", "antlr4")


def _positional(words: Sequence[str]) -> list[str]:
    """The words that are neither flags of Hydra's nor their values; InputError for a flag that it does not take."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise InputError(message.removeprefix("argument "))

    parser.error = refuse  # type: ignore[method-assign]  # which would print how to use it, and exit
    return parser.parse_args(words).overrides


def _refuse_traps(arguments: Sequence[str]) -> None:
    """InputError for flags of Hydra that would train something else than asked for, or run what they read."""
    for flag, value in pairwise([*arguments, ""]):
        name, _, attached = flag.partition("=")
        if name == "--experimental-rerun":
            raise InputError(f"{name}: it runs what a file holds; `dstrun rerun RUN` does not")
        if name in ("--config-dir", "-cd") and (Path(attached or value) / "status.json").is_file():
            raise InputError(f"{name}: {attached or value} is a run, its config would not be used; `dstrun rerun` does")


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def as_hydra_takes_it(word: str) -> str:
    """The override as Hydra should get it; InputError for a key that is no option, however it is written."""
    for override in parsed([word]):
        key = override.key_or_group
        if key == "sweep" and override.is_sweep_override():
            raise InputError(f"sweep: got {word.partition('=')[2]}, expected one sweep")
        if key == "recipe":
            raise InputError("recipe: it follows from model and data; choose those, or an experiment")
        if key in GROUPS and not (override.is_sweep_override() or isinstance(override.value(), str | None)):
            raise InputError(f"{key}: got {override.value()!r}, expected the name of a choice")
        if key in GROUPS or key.startswith("hydra") or "/" in key or override.is_delete():
            continue
        check_key(key)
        if any(key.startswith(f"{free}.") for free in FREE):
            return "++" + word.lstrip("+")
    return word


def parsed(words: Sequence[str]) -> list[Override]:
    """Overrides in Hydra's grammar; InputError for what is not one."""
    try:
        return OverridesParser.create().parse_overrides(list(words))
    except (OverrideParseException, HydraException) as error:
        raise InputError(f"{' '.join(words)}: expected KEY=VALUE ({one_line(error)})") from error


def saved(file: Path, words: Sequence[str] = ()) -> dict[str, Any]:
    """The config of a run's folder, some of it changed: plain values, not yet checked.

    A group's choice, such as reg=dense, brings the values of its file; another model or data set brings all of its own,
    but for the data's place and limits. Recipes are not looked at. InputError for a file or word that is none.
    """
    try:
        config = OmegaConf.load(file)
        assert isinstance(config, DictConfig)
    except Exception as error:  # whatever the file system, YAML or OmegaConf make of a damaged file
        raise InputError(f"{file}: no config of a run can be read there ({type(error).__name__})") from error
    for override in parsed(words):
        key = override.key_or_group
        if override.is_sweep_override() or override.is_delete() or key == "sweep":
            raise InputError(f"{override.input_line}: expected one value for {key}")
        if key in GROUPS:
            config = OmegaConf.merge(_without(config, key), _choice(key, str(override.value())))
        else:
            check_key(key)
            OmegaConf.update(config, key, override.value())
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _without(config: Any, group: str) -> DictConfig:
    """The config less what a new choice of `group` must not inherit; the check puts base values there."""
    if group in ("model", "data"):
        kept = ("root", "download", "train_limit", "test_limit", "validation")
        config[group] = {key: value for key, value in config[group].items() if key in kept}
    return config


def _choice(group: str, name: str) -> DictConfig:
    """What choosing `name` in `group` sets, as composed from its file."""
    registered()
    try:
        with hydra.initialize_config_dir(str(packaged("conf")), version_base="1.3"):
            return hydra.compose(f"{group}/{name}")
    except HydraException as error:
        raise InputError(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """A complaint of Hydra or OmegaConf in one line: the option, what came, what was expected."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if extra := EXTRAS.get(name):
            return f"{group}: needs a package that is not installed: pip install 'dstrun[{extra}]'"
        if error.options is not None:
            return f"{group}: there is no {name!r}{near(name, error.options)} (choices: {', '.join(error.options)})"
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OmegaConfBaseException):
            key = plain_key(cause.full_key)
            return explained(cause) if key in OPTIONS or not key else _unknown(key, causes)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Ambiguous value"):
        key, _, value = lines[0].split("'")[1].partition("=")
        return f"{key}: got {value!r}, expected {expected(key) if key in OPTIONS else 'one choice'}; several need -m"
    return lines[0] if lines else type(error).__name__


def _unknown(key: str, causes: Sequence[BaseException]) -> str:
    if key in ("recipe", "experiment", "sweep"):
        return f"{key}: its file must begin with the line `# @package _global_`"
    try:
        check_key(key)
    except InputError as error:
        return str(error)
    return str(causes[-1]).splitlines()[0]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
