"""Folders and entry points that Hydra composes a config from, and the choices of a group in them.

Sources, the first that has a file wins: ./conf of the user, conf of dstrun, models and data sets
that installed packages offer through entry points; files of ./sweeps and of dstrun's sweeps are the
choices of the group `sweep`."""

from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.conf import HydraConf
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from dstrun.config.literals import find_spelling
from dstrun.config.options import Config
from dstrun.config.yaml_files import header_package, read_text, read_yaml
from dstrun.system.errors import InputError

AD_HOC = "grid"
WITHOUT_PACKAGE = ("recipe", "experiment", "sweep")  # their files speak of the whole config
HYDRA_PLUGINS = {
    "dstrun_launcher.local": "LocalLauncher",
    "dstrun_sweeper.grid": "GridSweeper",
    "dstrun_sweeper.pareto": "ParetoSweeper",
}


def packaged(name: str) -> Path:
    """Return dstrun's own `conf` or `sweeps`: inside the package (wheel), else at the checkout's
    root (editable)."""
    package = Path(__file__).resolve().parents[1]
    return (
        package / name
        if (package / "conf" / "config.yaml").is_file()
        else package.parents[1] / name
    )


def folders(group: str) -> list[Path]:
    """Return the folders in which a group's files lie, the user's first."""
    if group == "sweep":
        return [Path("sweeps"), packaged("sweeps")]
    return [Path("conf") / group, packaged("conf") / group]


def choices(group: str) -> list[str]:
    """Return what GROUP=… may be, from the sources in the module's docstring."""
    files = [file for folder in folders(group) for file in folder.glob("*.yaml")]
    return sorted({file.stem for file in files} | set(_offered(group)))


def find_choice(group: str, name: str) -> str:
    """Return the choice that is meant by a name in another spelling, a file's name or its path.

    The name itself where no choice is meant, or where it is one already. InputError for a file that
    lies elsewhere or must be called otherwise."""
    known = choices(group)
    if name in known or _is_nested(group, name):
        return name
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        _refuse_elsewhere(group, path)
        name = path.name.removesuffix(".yaml").removesuffix(".yml")
    for folder in folders(group):
        for other in (".yml", ".yaml.txt", ".YAML"):
            if name not in known and (file := folder / (name + other)).is_file():
                raise InputError(f"{group}: {file} must be called {name}.yaml")
    return find_spelling(name, known)


def _is_nested(group: str, name: str) -> bool:
    """Return whether a name is that of a file in a folder of the group's folder, which Hydra serves
    as NAME/NAME."""
    outside = group == "sweep" or "/" not in name or name.startswith((".", "/"))
    return not outside and any((folder / f"{name}.yaml").is_file() for folder in folders(group))


def _refuse_elsewhere(group: str, path: Path) -> None:
    if path.is_file() and path.resolve().parent not in [
        folder.resolve() for folder in folders(group)
    ]:
        raise InputError(
            f"{group}: {path} is in no folder that is looked in; copy it to {folders(group)[0]}/: {group}={path.stem}"
        )


class SearchPath(SearchPathPlugin):
    """Add the sources of the module's docstring, in their order."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = Path("conf").resolve()
        if own.is_dir() and own != packaged("conf"):
            search_path.prepend("user", f"file://{own}", anchor="main")
        search_path.append("plugins", "plugins://")
        for folder in dict.fromkeys(folder.resolve() for folder in folders("sweep")):
            if folder.is_dir():
                search_path.append("sweeps", f"sweeps://{folder}")


def _read(file: Path, group: str, source: ConfigSource) -> ConfigResult:
    """Return what Hydra takes for the file of a group's choice. InputError for a file that is
    none."""
    with suppress(ValueError):
        file = file.relative_to(Path.cwd())
    package = header_package(read_text(file))
    kind = group.partition("/")[0]
    if kind in WITHOUT_PACKAGE and package != "_global_":
        raise InputError(f"{kind}: {file} must begin with the line `# @package _global_`")
    below = {None: group.replace("/", "."), "_global_": "", "_group_": group.replace("/", ".")}.get(
        package, package
    )
    config = OmegaConf.create(read_yaml(file, below or ""))
    return ConfigResult(source.provider, source.full_path(), config, {"package": package})


class FileConfigSource(file_config_source.FileConfigSource):
    """A folder of config files, in place of Hydra's class of this name: one name is one source to
    its registry."""

    def load_config(self, config_path: str) -> ConfigResult:
        return _read(
            Path(self.path) / self._normalize_file_name(config_path),
            config_path.rpartition("/")[0],
            self,
        )


class NamedSource(ConfigSource):
    """A source that serves flat names as the choices of groups: subclasses say which names, and
    what is in one."""

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
        name = config_path.removesuffix(".yaml").removeprefix("sweep/")
        return _read(Path(self.path) / f"{name}.yaml", "sweep", self)


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
    """Return the names that installed packages offer for a group."""
    entry_group = {"model": "dstrun.models", "data": "dstrun.data"}.get(group)
    return list(entry_points(group=entry_group).names) if entry_group else []


def _group_folder(outputs: str, group: str | None, sweep: str | None) -> str:
    return str(Path(outputs).expanduser() / (group or sweep_group(sweep)))


def sweep_group(sweep: str | None) -> str:
    """Return the group of a sweep's runs where none is given: the name of its file, if it has
    one."""
    return sweep.removesuffix(".yaml") if sweep else AD_HOC


@cache  # Hydra keeps what it knows for the life of the process; 0.03 s
def register_plugins() -> None:
    """Make the schema, the sources, launcher, sweepers and resolvers known to Hydra and OmegaConf,
    once a process."""
    plugins, store = Plugins.instance(), ConfigStore.instance()
    for plugin in (SearchPath, SweepSource, PluginSource):
        plugins.register(plugin)
    SourcesRegistry.instance().types["file"] = FileConfigSource
    for (
        module,
        name,
    ) in HYDRA_PLUGINS.items():  # which Hydra does not find by itself in an editable install
        plugins.register(getattr(import_module(f"hydra_plugins.{module}"), name))
    store.store("schema", Config)
    store.store(
        "config", _hydra_defaults(launcher="local", sweeper="grid"), group="hydra", provider="hydra"
    )
    OmegaConf.register_new_resolver("dstrun.group_folder", _group_folder, replace=True)
    OmegaConf.register_new_resolver(
        "dstrun.last_part", lambda path: Path(path).resolve().name, replace=True
    )


def _hydra_defaults(**chosen: str) -> HydraConf:
    """Return Hydra's own config with other base choices, which a file may still override, unlike an
    override's."""
    config = HydraConf()
    config.defaults = [
        {key: chosen.get(key, value) for key, value in entry.items()}
        if isinstance(entry, dict)
        else entry
        for entry in config.defaults
    ]
    return config
