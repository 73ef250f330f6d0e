"""The verb rerun: train with the settings of a run. Heavy modules are imported on use."""

import os
from collections.abc import Sequence
from pathlib import Path

from dstrun.system.run_files import CONFIG_FILE


def rerun(arguments: Sequence[str]) -> None:
    """Run `dstrun rerun RUN [KEY=VALUE ...]`: train with the settings of a run, or changed ones."""
    from dstrun.cli.arguments import parse_rerun

    given = parse_rerun(arguments)
    from dstrun.config.check import check
    from dstrun.config.command_line import normalize_words
    from dstrun.config.compose import load_saved_config
    from dstrun.runs.folder import load_config
    from dstrun.runs.target_density import released
    from dstrun.training.config_notes import given_keys, notes

    changes = normalize_words(given.changes)
    config = load_saved_config(given.run / CONFIG_FILE, changes)
    changed = given_keys(changes)
    for key, value in place_of(given.run).items():
        if key not in changed:
            config[key] = value
    checked = released(check(config), load_config(given.run))
    if changed and "group" not in changed:
        into = Path(checked.outputs, checked.group or "")
        print(
            f"{given.run}: again with {' '.join(changes)}, into {into} (group=NAME: into another)"
        )
    from dstrun.training.run import run

    run(checked, default_group="single", notes=notes(checked, changed))


def place_of(run: Path) -> dict[str, str | bool]:
    """Return the options that keep a rerun beside a run, in the folder where the run is now.

    Options that say how the old run was started are off.
    """
    folder, outputs = run.resolve(), Path(os.path.normpath(run / ".." / ".."))
    if (outputs / folder.parent.name).resolve() != folder.parent:  # the path contains a link
        outputs = folder.parent.parent
    return {
        "outputs": str(outputs),
        "group": folder.parent.name,
        "overwrite": False,
        "dry_run": False,
    }
