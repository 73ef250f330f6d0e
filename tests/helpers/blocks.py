"""Steps of a page: its blocks of commands and of Python, and the files it shows.

A block is indented by four spaces or fenced. Indented ones, and those fenced as sh, bash or
console, hold shell commands; output and everything else is fenced as text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

SHELL = ("sh", "bash", "console", "shell")
FENCE = re.compile(r"\s*```+ *(\w*)")
FILE_NAME = re.compile(r"[\w./-]+\.(py|toml|yaml)")


@dataclass(frozen=True)
class Step:
    """One step that a page tells its reader to do. kind: shell, python, or file with its `name`."""

    page: str
    line: int
    kind: str
    text: str
    name: str = ""

    @property
    def command(self) -> str:
        """Return a shell command on one line and without its comment."""
        joined = self.text.replace("\\\n", " ")
        return " ".join(re.sub(r"\s+#.*$", "", joined).split())


def steps_of(page: Path) -> list[Step]:
    """Return all steps of a page, in its order."""
    found: list[Step] = []
    before = ""
    for line, language, text in _blocks(page.read_text(encoding="utf-8")):
        if language == "|":  # the text between blocks
            before = text
        elif language in SHELL:
            found += [
                Step(page.name, line + at, "shell", command) for at, command in _commands(text)
            ]
        elif name := _file_name(language, text, before):
            found.append(Step(page.name, line, "file", text, name))
        elif language == "python":
            found.append(Step(page.name, line, "python", text))
    return found


def _blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (first line, language, text) of each block.

    The text before a block is yielded with the language "|".
    """
    lines = text.splitlines()
    at, prose = 0, ""
    while at < len(lines):
        start = at
        if fence := FENCE.match(lines[at]):
            at += 1
            while not FENCE.match(lines[at]):
                at += 1
            yield start + 1, "|", prose
            yield start + 2, fence[1], dedent("\n".join(lines[start + 1 : at]))
        elif lines[at].startswith("    ") and not lines[at - 1].strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield start + 1, "sh", dedent("\n".join(lines[start:at])).rstrip()
            at -= 1
        else:
            prose = prose + "\n" + lines[at] if lines[at].strip() else prose
        at += 1


def _commands(block: str) -> Iterator[tuple[int, str]]:
    """Yield (line in the block, command), a command with the lines that `\\` continues.

    In a block with `$ ` prompts, lines without one are output.
    """
    lines = block.splitlines()
    prompts = any(line.startswith("$ ") for line in lines)
    at = 0
    while at < len(lines):
        start, line = at, lines[at]
        while lines[at].endswith("\\"):
            at += 1
            line += "\n" + lines[at]
        at += 1
        if prompts and not line.startswith("$ "):
            continue
        command = line.removeprefix("$ ") if prompts else line
        if command.strip() and not command.lstrip().startswith("#"):
            yield start, command


def _file_name(language: str, text: str, before: str) -> str:
    """Return the name of the file that a block shows, "" for none.

    It is in its first line or, for YAML, the last one named in the text before it.
    """
    first = text.split("\n", 1)[0].removeprefix("#").strip()
    if FILE_NAME.fullmatch(first):
        return first
    named = re.findall(r"`(?:\./)?([\w./-]+\.yaml)`", before)
    return named[-1] if language == "yaml" and named else ""
