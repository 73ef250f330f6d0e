"""Facts of a run in words, and those in which two runs differ."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dstrun.compare.labels import cell_text, is_partly_masked
from dstrun.compare.run_reader import SHOWN_OPTIONS
from dstrun.runs.tasks import TASKS

FIGURES = {
    "remaining": "density",
    "remaining of the whole model": "density_model",
    "multiply-adds": "flops_fraction",
}


def facts_of(row: pd.Series, status: Mapping[str, Any]) -> dict[str, str]:
    """Return options, state, environment and figures of a run in words, '' for a missing one.

    `row` is that of the table of runs, `status` the content of status.json.
    """
    facts = {key: cell_text(row[key], key) for key in SHOWN_OPTIONS}
    for key in ("state", "device_name", "epoch"):
        facts[key] = cell_text(row[key])
    facts["git commit"] = str(status.get("git_commit") or "")
    facts["versions"] = _versions(status.get("versions"))
    for figure in (figure for task in TASKS.values() for figure in task.figures):
        value = row[figure.column()]
        facts[figure.title] = figure.shown(value) if pd.notna(value) else ""
    for word, key in FIGURES.items():
        is_known = pd.notna(row[key]) and (key != "density_model" or is_partly_masked(row))
        facts[word] = f"{row[key]:.2%}" if is_known else ""
    facts["created"] = str(row["created"] or "")
    return facts


def _versions(versions: Any) -> str:
    """Return 'torch 2.8, numpy 2.2' from a mapping; '' for anything else."""
    if not isinstance(versions, dict):
        return ""
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def differing_facts(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the names of the facts in which two runs differ."""
    return [key for key in first if first[key] != second[key]]
