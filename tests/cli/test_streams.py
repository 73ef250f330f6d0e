"""Encodings: replacements on a terminal that is not UTF-8, and files in UTF-8 in any locale."""

import ast
import errno
import io
import json
import locale
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dstrun.cli import main
from dstrun.config.check import check
from dstrun.runs.folder import RunFolder
from dstrun.runs.log import close_log, open_log
from dstrun.system.errors import InputError
from dstrun.system.files import atomic_write, read_json, write_json
from dstrun.system.streams import accept_all_text, legible
from dstrun.system.terminal import LastingConsole
from tests.covered import SOURCE
from tests.helpers.commands import Command, Trained
from tests.helpers.folders import leave
from tests.helpers.runs import only_run

QUICK = ("schedule.epochs=1", "data.train_limit=80", "data.test_limit=40", "seed=0")


class Screen(io.TextIOWrapper):
    """A stdout in some encoding, strict as Python makes it, that records what was shown."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding, errors="strict")

    @property
    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("ascii", "a 97.91 +- 0.06 x2 D >= #. Grosse ? name"),
        ("latin-1", "a 97.91 ± 0.06 ×2 D >= #. Größe ? name"),
        ("utf-8", "α 97.91 ± 0.06 ×2 Δ ≥ █▁ Größe ? name"),
    ],
)
def test_a_screen_shows_what_its_encoding_lacks_by_stand_ins(
    monkeypatch: pytest.MonkeyPatch, encoding: str, seen: str
) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Screen(encoding))
    accept_all_text()
    text = "α 97.91 ± 0.06 ×2 Δ ≥ █▁ Größe \udce9 name"
    print(text)
    assert (screen.shown, legible(text)) == (seen + "\n", seen)


def test_a_run_is_finished_and_reported_whatever_the_screen_can_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for words in (
        QUICK,
        ["--help"],
        ["report", "--markdown"],
        ["-m", "reg.alpha=1e-3,1e-4", "dry_run=true"],
    ):
        monkeypatch.setattr(sys, "argv", ["dstrun", *words])
        monkeypatch.setattr(sys, "stdout", screen := Screen("ascii"))
        main.main()
        assert len(screen.shown) > 50
    assert json.loads((only_run() / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(("asked", "name"), [("", "Größe"), ("ascii", "Grosse")])
def test_a_table_for_a_file_is_utf_8(
    monkeypatch: pytest.MonkeyPatch, asked: str, name: str
) -> None:
    leave(model__name="Größe")
    monkeypatch.setenv("PYTHONIOENCODING", asked)
    for form in ("--csv", "--markdown"):
        monkeypatch.setattr(sys, "argv", ["dstrun", "report", form, "--runs"])
        monkeypatch.setattr(sys, "stdout", screen := Screen("ascii"))
        main.main()
        assert form == "--markdown" or f",{name}," in screen.shown
        assert "\ufffd" not in screen.shown


@pytest.fixture
def in_the_c_locale() -> Iterator[None]:
    """Set the C locale, in which text is ASCII: nothing may depend on it."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


def test_files_are_utf_8_whatever_the_locale(
    command: Command, trained: Trained, in_the_c_locale: None
) -> None:
    trained(*QUICK, 'name="Größe"')
    config = only_run() / "config.yaml"
    assert yaml.safe_load(config.read_bytes().decode())["name"] == "Größe"
    assert "█" in (only_run() / "train.log").read_bytes().decode()
    assert command("eval", str(only_run())).code == 0
    assert "finished already" in command(*QUICK, 'name="Größe"').out


def test_every_file_is_opened_in_an_encoding_that_is_named() -> None:
    calls = [
        (f"{file.name}:{node.lineno}", node)
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node) != "path.open(mode)"  # which is binary there
    ]
    opening = [(place, call) for place, call in calls if _opens_text(call)]
    assert len(opening) > 8
    assert [
        place for place, call in opening if all(word.arg != "encoding" for word in call.keywords)
    ] == []


def _opens_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name == "open":
        binary = any(
            isinstance(word, ast.Constant) and "b" in str(word.value) for word in call.args
        )
        return not binary and owner not in ("os", "Image", "webbrowser", "gzip")
    method = isinstance(call.func, ast.Attribute) and name in ("read_text", "write_text")
    return method or name in ("fdopen", "_LogFile", "FileHandler")


def test_a_name_that_is_no_text_is_written_and_read_back(tmp_path: Path) -> None:
    """Write a file name with bytes that are no character, as os.fsdecode returns it."""
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "it.json", {"error": name})
    assert read_json(tmp_path / "it.json") == {"error": name}
    with atomic_write(tmp_path / "it.csv") as file:
        file.write(name)
    log = open_log(tmp_path)
    log.info(name)
    close_log(log)
    assert r"caf\udce9.png" in (tmp_path / "train.log").read_text()


def test_a_path_that_is_no_text_is_refused_where_a_config_would_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"outputs: got 'o\\udcff', expected text in UTF-8"):
        check({"outputs": "o\udcff"})
    place = tmp_path / os.fsdecode(b"d\xff")
    place.mkdir()
    monkeypatch.chdir(place)
    assert RunFolder(place, check({"data.root": "here"})).write_config().data.root == "here"


class FullDisk(Screen):
    """A stdout that leads to a full disk."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self) -> int:
        return 1


def test_a_full_disk_behind_stdout_ends_no_run_and_no_report_in_a_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave()
    monkeypatch.setattr(sys, "stdout", FullDisk("utf-8"))
    given_up: list[int] = []
    monkeypatch.setattr(os, "dup2", lambda _, number: given_up.append(number))
    LastingConsole().print("an epoch")
    answer = command("report", "--markdown")
    assert (answer.code, answer.err) == (
        1,
        "dstrun: the output cannot be written: No space left on device\n",
    )
    assert given_up == [1, 1]
