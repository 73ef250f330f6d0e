"""Writes docs/options.md from the options themselves: python docs/options.py > docs/options.md."""

from typing import Any

from dstrun.config.messages import expected
from dstrun.config.options import OPTIONS

HEAD = """# Options

`dstrun KEY=VALUE …` sets any of these; `dstrun --cfg job` shows what a command line comes to. The base values below
are what recipes (`conf/recipe/<model>-<data>.yaml`), experiments and the command line build on, in that order.

Values are taken in the spellings that people use: `5%` where a number ends at 1, `10k` for a whole number, `1×10^-4`,
`VGG-16` for `vgg16`, `SGD` for `sgd`, a file's name or path for a choice (`sweep=sweeps/mine.yaml`), `10,20` for a list
where there is no `-m`. An option of text takes its text as typed, whatever is in it; `null` is none, `'null'` the word.
Several values need `-m`, and then commas separate them: `-m group=a,b`; a list is `[10,20]`. Quote what the shell would
take: `'seed=range(5)'`. What is understood in no way is refused in one line with the right spelling, exit code 2.

A run or sweep begins with notes, on standard error, on options that have no effect in it, on schedules that are longer
than it, on values that a `reg.target_density` replaces, and on a pair of model and data that has no recipe.

*Identity* says whether an option is part of what a run is: two commands that differ only in options without the mark
are the same run, in the same folder.
"""


def shown(value: Any) -> str:
    if value in ("", None, [], {}):
        return "" if value == "" else {"None": "null"}.get(str(value), str(value))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def page() -> str:
    lines = [HEAD]
    section = None
    for key, entry in OPTIONS.items():
        part = key.split(".")[0] if "." in key else "run"
        if part != section:
            section = part
            lines += [
                f"## {part}\n",
                "| option | base | expects | meaning | identity |",
                "|---|---|---|---|---|",
            ]
        meta = entry.metadata
        only = (
            f" (with `{meta['when'][0]}={'` or `'.join(meta['when'][1:])}`)" if meta["when"] else ""
        )
        base, mark = shown(meta["default"]), "●" if meta["identity"] else ""
        lines.append(
            f"| `{key}` | {f'`{base}`' if base else ''} | {expected(key)} | {meta['doc']}{only} | {mark} |"
        )
    text = "\n".join(lines) + "\n"
    return text.replace("|\n## ", "|\n\n## ")


if __name__ == "__main__":
    print(page(), end="")
