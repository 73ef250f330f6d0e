"""Hydra's view of the groups: sources of config files, and plugins to register."""

from contextlib import suppress
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins import (
    file_config_source,
    importlib_resources_config_source,
    structured_config_source,
)
from hydra._internal.sources_registry import SourcesRegistry
from hydra.conf import HydraConf
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from dstrun.config.groups import (
    ENTRY_POINTS,
    entry_names,
    folders,
    is_of_package,
    packaged_folder,
    sweep_group,
)
from dstrun.config.options import GROUPS, Config
from dstrun.config.registry import default_options, lookup
from dstrun.config.yaml_files import header_package, read_text, read_yaml
from dstrun.system.errors import InputError

WITHOUT_PACKAGE = ("recipe", "experiment", "sweep")  # their files set options of any group
HYDRA_PLUGINS = {
    "dstrun_launcher.local": "LocalLauncher",
    "dstrun_sweeper.grid": "GridSweeper",
    "dstrun_sweeper.pareto": "ParetoSweeper",
}


class SearchPath(SearchPathPlugin):
    """The sources of `dstrun.config.groups`, in their order, for Hydra."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the user's folder in front of dstrun's, entry points and sweeps behind it."""
        own = Path("conf").resolve()
        if own.is_dir() and own != packaged_folder("conf"):
            search_path.prepend("user", f"file://{own}", anchor="main")
        search_path.append("plugins", "plugins://")
        for folder in dict.fromkeys(folder.resolve() for folder in folders("sweep")):
            if folder.is_dir():
                search_path.append("sweeps", f"sweeps://{folder}")


def _read(file: Path, group: str, source: ConfigSource) -> ConfigResult:
    """Return a config file as Hydra takes it; raise InputError for a file that is none."""
    with suppress(ValueError):
        file = file.relative_to(Path.cwd())
    package = header_package(read_text(file))
    kind = group.partition("/")[0]
    if kind in WITHOUT_PACKAGE and package != "_global_":
        raise InputError(f"{kind}: {file} must begin with the line `# @package _global_`")
    own_package = group.replace("/", ".")
    below = {None: own_package, "_group_": own_package, "_global_": ""}.get(package, package)
    config = OmegaConf.create(read_yaml(file, below or ""))
    return ConfigResult(source.provider, source.full_path(), config, {"package": package})


class FileConfigSource(file_config_source.FileConfigSource):
    """A folder of config files, read by `read_yaml`.

    It replaces Hydra's class of the same name, since Hydra's registry knows a source by name.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of the file of GROUP/NAME."""
        file = Path(self.path) / self._normalize_file_name(config_path)
        return _read(file, config_path.rpartition("/")[0], self)


class ImportlibResourcesConfigSource(
    importlib_resources_config_source.ImportlibResourcesConfigSource
):
    """The config files of a package: Hydra's own, each of which is read once a process.

    It has the name of Hydra's class, which a job registers later, in vain.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of a file."""
        return deepcopy(_packaged(self.provider, self.full_path(), config_path))


@cache
def _packaged(provider: str, folder: str, config_path: str) -> ConfigResult:
    """Return the content of a file of a package; the folder begins with pkg://."""
    source = importlib_resources_config_source.ImportlibResourcesConfigSource(provider, folder)
    return source.load_config(config_path)


class StructuredConfigSource(structured_config_source.StructuredConfigSource):
    """Hydra's store of schemas, which Hydra otherwise copies for each config: 7 ms."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "StructuredConfigSource":
        """Return the source itself, which never changes."""
        return self


class NamedSource(ConfigSource):
    """A source of choices by name; a subclass gives its groups, their names and their content."""

    def names(self, group: str) -> list[str]:
        """Return the names of a group's choices."""
        raise NotImplementedError

    def groups(self) -> tuple[str, ...]:
        """Return the groups that have choices here."""
        raise NotImplementedError

    def available(self) -> bool:
        """Return whether there is such a source: always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether a path is that of a group."""
        return config_path == "" or config_path in self.groups()

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is that of a choice."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in self.groups() and name in self.names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names below a path, as far as the filter allows."""
        if config_path in self.groups():
            return [] if results_filter == ObjectType.GROUP else sorted(self.names(config_path))
        return [] if results_filter == ObjectType.CONFIG else list(self.groups())


class SweepSource(NamedSource):
    """A folder of sweep files."""

    @staticmethod
    def scheme() -> str:
        """Return the prefix of this source's paths."""
        return "sweeps"

    def groups(self) -> tuple[str, ...]:
        """Return the one group."""
        return ("sweep",)

    def names(self, group: str) -> list[str]:
        """Return the names of the sweeps."""
        return [file.stem for file in Path(self.path).glob("*.yaml")]

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of the file of sweep/NAME."""
        name = config_path.removesuffix(".yaml").removeprefix("sweep/")
        return _read(Path(self.path) / f"{name}.yaml", "sweep", self)


class PluginSource(NamedSource):
    """Models, data sets and methods of installed packages, by the names of their entry points."""

    @staticmethod
    def scheme() -> str:
        """Return the prefix of this source's paths."""
        return "plugins"

    def groups(self) -> tuple[str, ...]:
        """Return the groups to which packages can add."""
        return tuple(group for group in ENTRY_POINTS if group in GROUPS)

    def names(self, group: str) -> list[str]:
        """Return the names of a group's entry points."""
        return entry_names(group)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is that of a choice; of PACKAGE:NAME only the package is known."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return is_of_package(group, name) or super().is_config(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the options of a choice: its name as that of the builder, too, or as method.

        A method's defaults are those of its class.
        """
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        options: dict[str, Any] = {"name": name, "builder": name}
        if group == "reg":
            made_of = lookup("reg.method", name, {}, ENTRY_POINTS["reg"])
            options = {"method": name, **default_options(made_of, "reg")}
        config = OmegaConf.create(options)
        return ConfigResult(self.provider, self.full_path(), config, {"package": None})


def _group_folder(outputs: str, group: str | None, sweep: str | None) -> str:
    """Return the folder of a sweep's runs, for ${dstrun.group_folder:…} in config files."""
    return str(Path(outputs).expanduser() / (group or sweep_group(sweep)))


def _last_part(path: str) -> str:
    """Return the name of a folder, for ${dstrun.last_part:…} in config files."""
    return Path(path).resolve().name


@cache  # Hydra's registries live as long as the process; 0.03 s
def register_plugins() -> None:
    """Register schema, sources, launcher, sweepers and resolvers with Hydra and OmegaConf, once."""
    plugins, store = Plugins.instance(), ConfigStore.instance()
    for plugin in (SearchPath, SweepSource, PluginSource):
        plugins.register(plugin)
    for source in (FileConfigSource, ImportlibResourcesConfigSource, StructuredConfigSource):
        SourcesRegistry.instance().types[source.scheme()] = source
    for module, name in HYDRA_PLUGINS.items():  # Hydra finds none in an editable install
        plugins.register(getattr(import_module(f"hydra_plugins.{module}"), name))
    store.store("schema", Config)
    hydras = _hydra_config(launcher="local", sweeper="grid")
    store.store("config", hydras, group="hydra", provider="hydra")
    OmegaConf.register_new_resolver("dstrun.group_folder", _group_folder, replace=True)
    OmegaConf.register_new_resolver("dstrun.last_part", _last_part, replace=True)


def _hydra_config(**choices: str) -> HydraConf:
    """Return Hydra's own config with other base choices.

    A config file may override a base choice, while it may not override an override.
    """
    config = HydraConf()
    for entry in config.defaults:
        if isinstance(entry, dict):
            entry.update({key: choices[key] for key in entry if key in choices})
    return config
