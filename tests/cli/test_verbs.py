"""Every argument of every verb has a test of what the documents say about it.

The arguments are read from the parsers, so that a new one without an entry here fails.
"""

import argparse
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dstrun.cli import arguments, main, view_arguments
from dstrun.compare.dashboard import server
from tests.helpers.commands import Command
from tests.helpers.folders import leave

TESTED = {
    "rerun": {
        "RUN": "training/test_run.py::test_rerun_with_changes_stays_in_the_group",
        "KEY=VALUE": "training/test_run.py"
        "::test_rerun_with_another_model_takes_no_arguments_of_the_old_one",
    },
    "eval": {
        "RUN": "training/test_run.py::test_eval_gives_the_figures_of_the_last_epoch",
        "KEY=VALUE": "training/test_run.py::test_eval_gives_the_figures_of_the_last_epoch",
    },
    "report": {
        "PATH": "compare/test_report.py::test_several_folders_and_models",
        "--paper": "compare/test_report.py::test_the_paper_beside_ours",
        "--filter": "compare/test_report.py::test_sorted_and_filtered",
        "--sort": "compare/test_report.py::test_sorted_and_filtered",
        "--runs": "compare/test_report.py::test_a_row_a_run",
        "--layers": "compare/test_report.py::test_what_every_layer_keeps",
        "--methods": "compare/test_report.py::test_methods_by_density",
        "--overlap": "export/test_masks.py::test_the_table_of_overlap",
        "--against": "compare/test_against.py::test_differences_from_a_setting",
        "--csv": "compare/test_report.py::test_csv_has_fractions",
        "--markdown": "compare/test_report.py::test_markdown",
        "--latex": "compare/test_sheet.py::test_latex_of_the_report",
        "--html": "compare/test_report.py::test_the_page",
    },
    "figure": {
        "NAME": "compare/test_drawing.py::test_a_file_for_a_paper",
        "PATH": "compare/test_drawing.py::test_a_file_for_a_paper",
        "--to": "compare/test_drawing.py::test_a_file_for_a_paper",
        "--filter": "compare/test_drawing.py::test_several_figures_of_a_name_are_numbered",
        "--width": "compare/test_drawing.py::test_sizes_and_font",
        "--height": "compare/test_drawing.py::test_sizes_and_font",
        "--font-size": "compare/test_drawing.py::test_sizes_and_font",
        "--font": "compare/test_drawing.py::test_sizes_and_font",
    },
    "dashboard": {
        "PATH": "compare/test_dashboard.py::test_it_serves_until_it_is_interrupted",
        "--port": "cli/test_verbs.py::test_a_dashboard_is_where_it_was_asked_for",
        "--host": "cli/test_verbs.py::test_a_dashboard_is_where_it_was_asked_for",
        "--open": "cli/test_verbs.py::test_a_dashboard_is_where_it_was_asked_for",
    },
    "export": {
        "RUN": "export/test_export.py::test_every_format",
        "KEY=VALUE": "cli/test_arguments.py::test_a_run_and_its_changes_come_in_any_order",
        "--to": "export/test_export.py::test_every_format",
        "--format": "export/test_export.py::test_every_format",
        "--shrink": "export/test_export.py::test_every_format",
        "--force": "cli/test_verbs.py::test_force_and_tolerance_let_a_file_be_written",
        "--tolerance": "cli/test_verbs.py::test_force_and_tolerance_let_a_file_be_written",
        "--bench": "export/test_export.py::test_the_bench",
    },
}  # verb: what it takes: the test of it


def arguments_of(verb: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return what a verb's parser takes: flags by their long names, others as help shows them."""
    parsers: list[argparse.ArgumentParser] = []

    def parsed(parser: argparse.ArgumentParser, words: Any) -> Any:
        parsers.append(parser)
        raise StopIteration

    monkeypatch.setattr(arguments.Parser, "parse_intermixed_args", parsed)
    module = view_arguments if hasattr(view_arguments, f"parse_{verb}") else arguments
    with pytest.raises(StopIteration):
        getattr(module, f"parse_{verb}")([])
    names: set[str] = set()
    for action in parsers[0]._actions:
        names |= set(action.option_strings[-1:] or re.findall(r"[A-Z=]+", str(action.metavar)))
    return names - {"--help"}


@pytest.mark.parametrize("verb", main.VERBS)
def test_all_that_a_verb_takes_has_a_test(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    assert set(TESTED[verb]) == arguments_of(verb, monkeypatch)
    for place in TESTED[verb].values():
        file, name = place.split("::")
        assert f"def {name}(" in (Path(__file__).parents[1] / file).read_text()


@pytest.mark.parametrize("verb", main.VERBS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_a_verb_says_what_it_takes(command: Command, verb: str, flag: str) -> None:
    outcome = command(verb, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert all(word in outcome.out for word in TESTED[verb] if word.startswith("--")), outcome.out
    assert f"dstrun {verb}" in outcome.out


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_dashboard_is_where_it_was_asked_for(
    command: Command, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    leave()
    served: list[tuple[str, int]] = []
    opened: list[str] = []

    class Server:
        def __init__(self, host: str, port: int, *_: Any, fd: int, **__: Any) -> None:
            with server.socket.socket(fileno=fd) as listening:
                served.append(listening.getsockname()[:2])

        def handle_request(self) -> None:
            signal.raise_signal(signal.SIGINT)

        def server_close(self) -> None:
            pass

    monkeypatch.setattr(server, "make_server", Server)
    monkeypatch.setattr(server.webbrowser, "open", opened.append)
    free, port = server.free_port(host, 18050)
    free.close()
    for words in ([], ["--open"]):
        outcome = command("dashboard", "outputs", "--host", host, "--port", str(port), *words)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith(f"http://{host}:{port}/ ")
        assert ("everyone who reaches this host" in outcome.out) == (host == "0.0.0.0")
    assert served == [(host, port)] * 2
    assert opened == [f"http://{host}:{port}/"]


def test_force_and_tolerance_let_a_file_be_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        command("schedule.epochs=1", "data.train_limit=64", "data.test_limit=20", "threads=1").code
        == 0
    )
    (run,) = Path("outputs/single").iterdir()
    from dstrun.export import load

    save = load.save
    monkeypatch.setattr(
        load,
        "save",
        lambda path, about, weights, kind: save(
            path, about, {**weights, "fc3.bias": weights["fc3.bias"] + 0.01}, kind
        ),
    )
    export = ["export", str(run), "--to", "a.safetensors"]
    refused = command(*export)
    assert (refused.code, "differ" in refused.err, Path("a.safetensors").exists()) == (
        2,
        True,
        False,
    )
    assert command(*export, "--tolerance", "0.1").code == 0
    before = Path("a.safetensors").stat().st_mtime_ns
    assert command(*export, "--tolerance", "0.1").code == 2
    assert Path("a.safetensors").stat().st_mtime_ns == before
    assert command(*export, "--tolerance", "0.1", "--force").code == 0
    assert Path("a.safetensors").stat().st_mtime_ns != before
    monkeypatch.setattr(
        load,
        "save",
        lambda path, about, weights, kind: save(
            path, about, {**weights, "fc3.bias": weights["fc3.bias"] + 9.0 * torch.arange(10)}, kind
        ),
    )
    other = command(*export, "--tolerance", "1000", "--force")
    assert (other.code, "and the class of " in other.err) == (2, True), (
        "no tolerance is for other classes"
    )
