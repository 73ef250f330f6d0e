"""Groups of config files: the folders they are in, their choices, and choices by other spellings.

The sources of a group are, in the order in which they are searched: the user's ./conf, dstrun's
conf, and the models and data sets that installed packages register as entry points. The group
`sweep` has the files of ./sweeps and of dstrun's sweeps.
"""

from importlib.metadata import entry_points
from pathlib import Path

from dstrun.config.literals import find_spelling
from dstrun.system.errors import InputError

AD_HOC = "grid"
PACKAGES = ("timm", "torchvision")  # whose models are choices: model=timm:NAME
ENTRY_POINTS = {
    "model": "dstrun.models",
    "data": "dstrun.data",
    "reg": "dstrun.methods",
    "tracker": "dstrun.trackers",  # an option, no group
}


def packaged_folder(name: str) -> Path:
    """Return dstrun's own folder `conf` or `sweeps`.

    It is inside the package if dstrun was installed from a wheel, else at the checkout's root.
    """
    package = Path(__file__).resolve().parents[1]
    is_wheel = (package / "conf" / "config.yaml").is_file()
    return (package if is_wheel else package.parents[1]) / name


def folders(group: str) -> list[Path]:
    """Return the folders that contain a group's files, the user's first."""
    if group == "sweep":
        return [Path("sweeps"), packaged_folder("sweeps")]
    return [Path("conf") / group, packaged_folder("conf") / group]


def choices(group: str) -> list[str]:
    """Return the names that GROUP=NAME may have, sorted."""
    return sorted({*_file_names(group), *entry_names(group)})


def _file_names(group: str) -> set[str]:
    """Return the names of a group's files."""
    return {file.stem for folder in folders(group) for file in folder.glob("*.yaml")}


def is_of_package(group: str, name: str) -> bool:
    """Return whether a name is that of a model in a package: PACKAGE:NAME, known or not."""
    package, colon, own = name.partition(":")
    return group == "model" and package in PACKAGES and bool(colon and own)


def find_choice(group: str, name: str) -> str:
    """Return the choice of a group that is meant by another spelling, a file name or a path.

    A name that is a choice, or that means none, is returned unchanged. Raise InputError for a file
    in a folder that is not searched, or with another ending than .yaml.
    """
    if is_of_package(group, name) or name in _file_names(group) or _is_nested(group, name):
        return name  # entry points, below, take 10 ms to list
    known = choices(group)
    if name in known:
        return name
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        _refuse_elsewhere(group, path)
        name = path.name.removesuffix(".yaml").removesuffix(".yml")
    if name in known:
        return name
    _refuse_ending(group, name)
    return find_spelling(name, known)


def _is_nested(group: str, name: str) -> bool:
    """Return whether a name FOLDER/NAME is a file in a subfolder of a group, which Hydra reads."""
    if group == "sweep" or "/" not in name or name.startswith((".", "/")):
        return False
    return any((folder / f"{name}.yaml").is_file() for folder in folders(group))


def _refuse_elsewhere(group: str, path: Path) -> None:
    """Raise InputError for a file in a folder in which a group's files are not searched."""
    searched = [folder.resolve() for folder in folders(group)]
    if path.is_file() and path.resolve().parent not in searched:
        raise InputError(
            f"{group}: {path} is in a folder that is not searched; "
            f"copy it to {folders(group)[0]}/: {group}={path.stem}"
        )


def _refuse_ending(group: str, name: str) -> None:
    """Raise InputError for the file of a choice that has another ending than .yaml."""
    for folder in folders(group):
        for ending in (".yml", ".yaml.txt", ".YAML"):
            if (file := folder / (name + ending)).is_file():
                raise InputError(f"{group}: {file} must be called {name}.yaml")


def entry_names(group: str) -> list[str]:
    """Return the names that installed packages register for a group, sorted."""
    return sorted(entry_points(group=ENTRY_POINTS[group]).names) if group in ENTRY_POINTS else []


def sweep_group(sweep: str | None) -> str:
    """Return the default group of a sweep's runs: the name of its file, or `grid` without one."""
    return sweep.removesuffix(".yaml") if sweep else AD_HOC
