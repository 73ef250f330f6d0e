"""The run that a path on the command line means."""

from difflib import get_close_matches
from pathlib import Path

from dstrun.system.errors import InputError
from dstrun.system.run_files import CONFIG_FILE

NAMED = 3  # runs that a message names


def find_run(path: Path) -> Path:
    """Return the folder of the run that a path means: the folder, a file in it or the one above.

    Raise InputError if there is none, or more than one.
    """
    for folder in (path, path.parent):
        if _is_run(folder) and (folder == path or path.exists()):
            return folder
    below = _runs_below(path)
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(str(run.relative_to(path)) for run in below[:NAMED])
        more = ", …" if len(below) > NAMED else ""
        raise InputError(
            f"{path}: expected the folder of one run, and there are {len(below)} in it: "
            f"{names}{more}"
        )
    hint = _similar_run(path)
    raise InputError(f"{path}: expected the folder of a run, with a {CONFIG_FILE} in it{hint}")


def _is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run."""
    return (folder / CONFIG_FILE).is_file()


def _runs_below(path: Path) -> list[Path]:
    """Return the folders of runs one or two levels below a folder."""
    runs = []
    for depth in ("*", "*/*"):
        runs += [file.parent for file in sorted(path.glob(f"{depth}/{CONFIG_FILE}"))]
    return runs


def _similar_run(path: Path) -> str:
    """Return '; did you mean …?' with a run beside a path that has a similar name, or ''."""
    runs = {run.name: run for run in path.parent.glob("*") if _is_run(run)}
    names = get_close_matches(path.name, runs, n=1, cutoff=0.7)
    return f"; did you mean {runs[names[0]]}?" if names else ""
