"""Writes docs/options.md from the options themselves: python docs/options.py > docs/options.md."""

from typing import Any

from dstrun.config import OPTIONS, expected

HEAD = """# Options

`dstrun KEY=VALUE …` sets any of these; `dstrun --cfg job` shows what a command line comes to. The base values below
are what recipes (`conf/recipe/<model>-<data>.yaml`), experiments and the command line build on, in that order.

*Identity* says whether an option is part of what a run is: two commands that differ only in options without the mark
are the same run, in the same folder.
"""


def shown(value: Any) -> str:
    if value in ("", None, [], {}):
        return "" if value == "" else {"None": "null"}.get(str(value), str(value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def page() -> str:
    lines = [HEAD]
    section = None
    for key, entry in OPTIONS.items():
        part = key.split(".")[0] if "." in key else "run"
        if part != section:
            section = part
            lines += [f"## {part}\n", "| option | base | expects | meaning | identity |", "|---|---|---|---|---|"]
        meta = entry.metadata
        only = f" (with `{meta['when'][0]}={'` or `'.join(meta['when'][1:])}`)" if meta["when"] else ""
        base, mark = shown(meta["default"]), "●" if meta["identity"] else ""
        lines.append(f"| `{key}` | {f'`{base}`' if base else ''} | {expected(key)} | {meta['doc']}{only} | {mark} |")
    text = "\n".join(lines) + "\n"
    return text.replace("|\n## ", "|\n\n## ")


if __name__ == "__main__":
    print(page(), end="")
