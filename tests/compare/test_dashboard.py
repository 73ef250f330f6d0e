"""The dashboard without a browser: its server, its address, and the contents of its views."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from dstrun.cli import main
from dstrun.compare.dashboard import grid, layout, server, views
from dstrun.compare.dashboard.app import make_app
from dstrun.compare.dashboard.groups import groups
from dstrun.compare.dashboard.watch import Watch
from dstrun.compare.figures import style
from dstrun.compare.figures.view import Source
from dstrun.compare.labels import with_labels
from dstrun.compare.run_tables import Store
from dstrun.system.errors import InputError
from tests.helpers.commands import Command
from tests.helpers.folders import leave, leave_methods


def as_text(component: Any) -> str:
    def plain(one: Any) -> Any:
        return one.to_plotly_json() if hasattr(one, "to_plotly_json") else one.tolist()

    return json.dumps(component, default=plain, ensure_ascii=False)


def shown(view: str, *names: str) -> str:
    store = Store([Path("outputs")])
    runs = with_labels(store.runs)
    return as_text(
        list(
            views.content(
                Source(store, runs), views.Shown(view, names or list(runs.index)), groups(runs)
            )
        )
    )


def test_methods_are_compared_at_each_density() -> None:
    """RigL is best at 10 %, DST at 5 %; nothing is said of a single method."""
    leave_methods()
    store = Store([Path("outputs")])
    runs = with_labels(store.runs)

    def tables(names: list[str]) -> list[str]:
        parts = views.content(Source(store, runs), views.Shown("overview", names), {})
        return [as_text(part) for part in parts if "by density asked for" in str(part.key)]

    (table,) = tables(list(runs.index))
    assert "lenet_300_100 on mnist, accuracy % by density asked for; dense: 98.00" in table
    bold = re.findall(r'"([^"]+)"}, "type": "Th"', table)
    assert bold == ["method", "10 %", "5 %", "94.00", "96.00"]
    assert tables([name for name in runs.index if "rigl" in name]) == []


def groups_view(first: str, other: str, **bits: float) -> list[str]:
    """Return the view of two groups, part by part; `bits` per byte of text, by method."""
    store = Store([Path("outputs")])
    runs = store.runs
    if bits:
        is_text = runs["data.name"] == "text"
        runs["test_bits_per_byte"] = runs["reg.method"].map(bits).where(is_text)
        runs["test_accuracy"] = runs["test_accuracy"].mask(is_text)
    runs = with_labels(runs)
    chosen = views.Shown("groups", list(runs.index), groups=(first, other))
    return [as_text(part) for part in views.content(Source(store, runs), chosen, groups(runs))]


def test_groups_of_two_tasks_have_a_figure_for_each_headline() -> None:
    """Bits per byte, which have four digits, are no points of per cent."""
    for seed in range(2):
        for place, data in enumerate(("mnist", "text")):
            common: dict[str, Any] = {"seed": seed, "data__name": data, "densities": [0.1]}
            leave(accuracies=[0.9], reg__method="dense", created=place, **common)
            leave(accuracies=[0.88], reg__method="rigl", reg__density=0.1, **common)
    parts = groups_view("rigl", "dense", dense=2.0, rigl=2.25)
    titles = [re.search(r'"key": "([^"]*(minus|In figures)[^"]*)"', part) for part in parts]
    assert [found[1] for found in titles if found] == [
        *("Accuracy: rigl minus dense", "In figures: accuracy"),
        *("Bits per byte: rigl minus dense", "In figures: bits per byte"),
    ]
    of_images, shares, of_text, bits = parts[:4]
    assert "difference in accuracy (points of per cent)" in of_images
    assert '"-2.00"' in shares
    assert '"difference in bits per byte"' in of_text
    assert '"x": [0.25]' in of_text
    assert '"+0.2500"' in bits
    assert "points" not in of_text + bits


def test_of_folders_methods_are_never_averaged() -> None:
    """Two lines of one folder and one of the other are two rows; what has no partner is named."""
    for seed in range(3):
        for folder, method, value in (("a", "rigl", 0.9), ("a", "set", 0.8), ("b", "gmp", 0.7)):
            leave(
                Path("outputs", folder),
                [value],
                [0.1],
                seed=seed,
                reg__method=method,
                reg__density=0.1,
            )
    text = "".join(groups_view("folder a", "folder b"))
    assert '"rigl minus gmp 10 %"' in text
    assert '"set minus gmp 10 %"' in text
    assert '"+20.00"' in text
    assert '"+10.00"' in text
    assert "+15.00" not in text
    assert "Not compared" not in text
    leave(Path("outputs/b"), [0.9], [0.1], reg__method="set", reg__density=0.1, seed=1)
    leave(Path("outputs/b"), [0.5], [0.1], reg__method="set", reg__density=0.1, state="running")
    text = "".join(groups_view("folder a", "folder b"))
    assert "Not compared: rigl of folder a; gmp of folder b." in text
    assert '"80.00 ± 0.00"' in text
    assert '"90.00"' in text, "of the finished run alone"


def test_groups_name_what_their_seeds_cannot_pair_and_several_settings() -> None:
    for seed in (0, 1, 2, 7):
        leave(accuracies=[0.9], densities=[0.1], seed=seed, reg__method="rigl", reg__density=0.1)
        if seed < 7:
            leave(accuracies=[0.8], densities=[0.1], seed=seed, reg__method="set", reg__density=0.1)
    by_seed = "paired by seed (3 pairs; seed 7 of rigl left out)"
    assert by_seed in "".join(groups_view("rigl", "set"))
    for alpha in (1e-3, 1e-4):
        leave(accuracies=[0.9], densities=[0.1], reg__alpha=alpha, reg__target_density=0.1)
    text = "".join(groups_view("dst", "set"))
    assert "Not compared: 10 %, where runs of one group differ in more than the seed." in text
    assert "In figures" not in text


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted() -> None:
    leave()
    command = [sys.executable, "-m", "dstrun", "dashboard", "outputs", "--port", "0"]
    before = signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # what a shell starts with & ignores it, and so its children
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    assert server.stdout is not None
    said = server.stdout.readline()
    address, _, rest = said.partition(" ")
    assert rest == "shows outputs, lenet_300_100 on mnist: 1 run, 1 finished; Ctrl-C ends it\n"
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "dstrun outputs" in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(
            urllib.request.Request(address, headers={"Host": "elsewhere.example"})
        )
    server.send_signal(signal.SIGINT)
    _, complaint = server.communicate()
    assert (server.returncode, complaint) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_request_ends_the_server_and_not_the_request(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    leave()
    done: list[str] = []

    class Server:
        timeout = None

        def handle_request(self) -> None:
            os.kill(os.getpid(), number)
            done.append("request")

        def server_close(self) -> None:
            done.append("closed")

    monkeypatch.setattr(server, "make_server", lambda *_, fd, **__: os.close(fd) or Server())
    monkeypatch.setattr("sys.argv", ["dstrun", "dashboard", "outputs", "--port", "0"])
    main.main()
    assert done == ["request", "closed"]


def test_a_port_in_use_means_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found, chosen = server.free_port("127.0.0.1", port)
        found.close()
    assert port < chosen < port + 50
    assert capsys.readouterr().out == f"port {port} is in use, {chosen} is free\n"


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 70000, "port: got 70000, expected a number from 0 to 65535"),
        ("192.0.2.1", 8050, "host: got 192.0.2.1, which is no address of this machine"),
        (
            "no.such.host.invalid",
            8050,
            "host: got no.such.host.invalid, which is no address of this machine",
        ),
    ],
)
def test_errors_of_ports_and_hosts(host: str, port: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        server.free_port(host, port)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: got nothing there, expected a folder of runs"),
        (["--port", "x"], "dashboard: argument --port: invalid int value: 'x'"),
        (["--prot", "1"], "dashboard: unrecognized arguments: --prot"),
    ],
)
def test_errors_of_arguments(command: Command, words: list[str], message: str) -> None:
    outcome = command("dashboard", *words)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert message in outcome.err


def test_names_from_an_address_are_no_paths() -> None:
    leave()
    Path("secret").write_text("treasure")
    for name in ("../secret", "/etc/passwd", "made/../../secret"):
        for view in ("run", "diff"):
            words = shown(view, name)
            assert f"No run here is called {name}." in words
            assert "treasure" not in words


@pytest.mark.parametrize(
    "search", ["", "?", "?view=x&sort=[]&runs={}", "?%%%=&&", "?runs=" + "[" * 5000]
)
def test_an_address_that_says_nothing_useful(search: str) -> None:
    state = layout.read_address(search)
    assert (state["view"], state["theme"], state["runs"], state["sort"]) == (
        "overview",
        "auto",
        [],
        {},
    )


def test_an_address() -> None:
    state = layout.read_address(
        '?view=run&run=a%2Fb&runs=["x"]&sort={"density":"asc"}&theme=dark&filter=alpha%3E1'
    )
    assert (state["view"], state["run"], state["runs"], state["theme"]) == (
        "run",
        "a/b",
        ["x"],
        "dark",
    )
    assert (state["sort"], state["filter"]) == ({"density": "asc"}, "alpha>1")


def test_columns_are_the_options_in_which_runs_vary() -> None:
    leave(seed=0)
    leave(seed=1, schedule__lr=0.1)
    runs = with_labels(Store([Path("outputs")]).runs)
    columns = grid.columns(runs)
    assert [one.get("headerName", one["field"]) for one in columns] == [
        "state",
        "α",
        "lr",
        "seed",
        "epoch",
        "accuracy",
        "remaining",
        "multiply-adds",
        "time",
        "run",
    ]
    first = grid.rows(runs.iloc[1:], columns)[0]
    assert (first["test_accuracy"], first["density"], first["schedule.lr"]) == (0.95, 0.25, 0.1)
    json.dumps(grid.rows(runs, columns), allow_nan=False)


def test_every_symbol_of_the_figures_has_a_sign_in_the_table() -> None:
    assert {*style.SYMBOLS, *style.METHOD_SYMBOLS} == grid.SIGNS.keys()


def test_differences_of_two_runs() -> None:
    one, other = leave(seed=0), leave(seed=0, reg__method="dense", densities=(1, 1), created=1)
    words = shown("diff", f"made/{one.name}", f"made/{other.name}")
    for word in ("α", "granularity", "remaining", "25.00%", "100.00%"):
        assert f'"{word}"' in words
    assert '"lr"' not in words
    assert "This compares two runs." in shown("diff", f"made/{one.name}")


@pytest.mark.parametrize("view", layout.VIEWS)
def test_every_view_of_nothing_and_of_little(view: str) -> None:
    Path("outputs").mkdir()
    assert "There is no run here yet." in shown(view)
    run = leave(accuracies=(), densities=(), state="interrupted")
    hints = {"run": "This run has not finished an epoch yet.", "diff": "This compares two runs."}
    assert hints.get(view, "None of these runs has finished an epoch yet.") in shown(view)
    (run / "metrics.csv").unlink()
    (run / "train.log").unlink()
    assert shown(view)


def test_a_run_seen_while_it_is_taken_away() -> None:
    run = leave()
    watch = Watch([Path("outputs")])
    for file in run.iterdir():
        file.unlink()
    found = list(views.content(watch.source, views.Shown("run", [f"made/{run.name}"]), {}))
    assert "This run has not" in as_text(found) or "Density" in as_text(found)


def test_folders_are_read_once_a_second_for_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    leave()
    watch = Watch([Path("outputs")])
    leave(seed=1)
    begun = watch.version
    assert watch.refresh() == begun, "once a second at most"
    monkeypatch.setattr("dstrun.compare.dashboard.watch.REFRESH_SECONDS", 0)
    assert watch.refresh() == begun + 1
    assert watch.refresh() == begun + 1
    assert len(watch.runs) == 2
    changed = [name for name in watch.runs.index if watch.has_changed_since([name], begun)]
    assert [name.split("-")[-2] for name in changed] == ["s1"]


def test_requests_under_foreign_names_are_refused() -> None:
    leave()
    client = make_app(Watch([Path("outputs")]), "outputs").server.test_client()
    codes = {
        host: client.get("/", headers={"Host": host}).status_code
        for host in (
            "127.0.0.1:8050",
            "localhost:8050",
            "[::1]:8050",
            "localhost",
            "evil.example",
            "localhost.evil.example",
        )
    }
    assert list(codes.values()) == [200, 200, 200, 200, 403, 403]
    open_to_all = make_app(Watch([Path("outputs")]), "outputs", host="0.0.0.0").server.test_client()
    assert open_to_all.get("/", headers={"Host": "workstation:8050"}).status_code == 200


def test_nothing_is_asked_of_other_hosts() -> None:
    leave()
    client = make_app(Watch([Path("outputs")]), "outputs").server.test_client()
    page = client.get("/").text
    assert "dash_renderer" in page
    assert not re.search(r'(src|href)="http', page)


def test_help_names_the_arguments(command: Command) -> None:
    with redirect_stderr(io.StringIO()):
        said = command("dashboard", "--help").out
    for word in ("--port", "--host", "--open", "this machine only"):
        assert word in said
