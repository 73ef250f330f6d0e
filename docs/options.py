"""Writes docs/options.md from the options themselves: python docs/options.py > docs/options.md."""

from typing import Any

from dstrun.cli.help import keys_of
from dstrun.config.messages import condition, expected
from dstrun.config.options import OPTIONS
from dstrun.config.sparsity_options import METHODS, OTHERS

HEAD = """# Options

`dstrun KEY=VALUE …` sets any of these options; `dstrun --cfg job` prints the config that a command
line results in. Recipes (`conf/recipe/<model>-<data>.yaml`) change the base values below, an
experiment changes the recipe, and the command line changes both.

Values may be spelled as people do: `5%` for a number that is at most 1, `10k` for a whole number,
`1×10^-4`, `VGG-16` for `vgg16`, `SGD` for `sgd`, a file name or path for a choice
(`sweep=sweeps/mine.yaml`), and `10,20` for a list if there is no `-m`. An option of text takes its
text as it is typed; `null` means none, and `'null'` the word. With `-m`, commas separate several
values: `-m group=a,b`; a list is then `[10,20]`. Use quotes for characters that the shell would
interpret: `'seed=range(5)'`. Any other value is refused with exit code 2, in one line that shows
the right spelling.

A run or sweep begins with notes on standard error: on options that have no effect, on schedules
longer than the run, on values that `reg.target_density` replaces, and on a pair of model and data
set without a recipe.

*Identity* marks the options that are part of a run's identity. Two commands that differ only in
other options are the same run, in the same folder.
"""
COLUMNS = "| option | base | expects | meaning | identity |\n|---|---|---|---|---|"


BY_METHOD = """### By method

`dstrun --help reg=NAME` shows them with the values that `conf/reg/NAME.yaml` gives them.

| method | options of `reg`, and others |
|---|---|
"""


def shown(value: Any) -> str:
    """Return a base value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")


def row(key: str) -> str:
    """Return the row of the table on one option."""
    meta = OPTIONS[key].metadata
    base, mark = shown(meta["default"]), "●" if meta["identity"] else ""
    only = f" (with {condition(key)})" if meta["when"] else ""
    cells = [f"`{key}`", base and f"`{base}`", expected(key), meta["doc"] + only, mark]
    return f"| {' | '.join(cells)} |"


def method_row(name: str) -> str:
    """Return the row of the table on the options of one method."""
    keys = [f"`{key.removeprefix('reg.')}`" for key in keys_of(name)]
    return f"| {name if name == OTHERS else f'`{name}`'} | {' '.join(keys)} |"


def page() -> str:
    """Return the whole page: a table for each section of options."""
    tables: dict[str, list[str]] = {}
    for key in OPTIONS:
        section = key.split(".")[0] if "." in key else "run"
        tables.setdefault(section, []).append(row(key))
    parts = [HEAD]
    for section, rows in tables.items():
        parts.append("\n".join([f"## {section}\n", COLUMNS, *rows, ""]))
        if section == "reg":
            methods = "\n".join(map(method_row, (*METHODS, OTHERS)))
            parts.append(f"{BY_METHOD}{methods}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
