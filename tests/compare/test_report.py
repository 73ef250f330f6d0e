"""`dstrun report` on the command line: table, CSV, Markdown, page, and errors."""

import csv
import io
import re
from pathlib import Path

import pytest

from dstrun.compare import aggregate
from dstrun.compare.labels import with_labels
from dstrun.compare.report.method_table import BEST
from dstrun.compare.report.report import MARKDOWN, report_layers, report_settings
from dstrun.compare.report.table import columns, title
from dstrun.compare.run_tables import Store
from dstrun.system.errors import InputError
from tests.helpers.commands import Command
from tests.helpers.folders import leave, leave_methods, status
from tests.helpers.tables import table

NARROW_HEADER = ["α", "runs", "accuracy %", "remaining %", "multiply-adds %", "epoch", "time"]


@pytest.fixture
def sweep() -> None:
    for seed, accuracy in enumerate((0.98, 0.96)):
        leave(
            accuracies=[0.5, accuracy],
            densities=[1.0, 1.0],
            seed=seed,
            reg__method="dense",
            created=seed,
        )
        leave(
            accuracies=[0.5, accuracy - 0.01],
            densities=[0.5, 0.1],
            seed=seed,
            reg__alpha=1e-3,
            created=3 + seed,
        )
    leave(accuracies=[0.9], densities=[0.05], reg__alpha=1e-2, state="failed", created=5)


@pytest.mark.slow
def test_methods_by_density(command: Command) -> None:
    """Below the table, or alone; one column for the density asked for, none for ΔT."""
    leave_methods(seeds=2)
    header, dense, sparser, *_ = table(command("report", "outputs/made").out)
    assert header == [
        *("method", "asked %", "runs", "accuracy %", "remaining %", "Δ dense"),
        *("multiply-adds %", "epoch", "time"),
    ]
    assert dense[:2] == ["dense", "2"]
    assert sparser[:3] == ["dst", "5", "2"]
    outcome = command("report", "--methods")
    title = "lenet_300_100 on mnist, accuracy % by density asked for; dense: 97.50 ± 0.71"
    assert outcome.out.splitlines()[0] == title
    assert table(outcome.out) == [
        ["method", "10 %", "5 %"],
        ["dst", "94.50 ± 0.71", "93.50 ± 0.71*"],
        ["rigl", "95.50 ± 0.71*", "91.50 ± 0.71"],
        ["set", "93.50 ± 0.71", "89.50 ± 0.71"],
    ]
    assert outcome.out.rstrip().endswith(f"*: {BEST}")
    marked = command("report", "--methods", "--markdown").out.splitlines()
    assert marked[:2] == [title, ""]
    assert marked[5] == "| rigl | **95.50 ± 0.71** | 91.50 ± 0.71 |"
    best = list(csv.DictReader(io.StringIO(command("report", "--methods", "--csv").out)))[1]
    assert (best["network"], best["method"], best["reg.density"], best["best"]) == (
        "lenet_300_100 on mnist",
        "dst",
        "0.05",
        "True",
    )
    assert "by density asked for" not in command("report", "--runs").out
    command("report", "--html", "page.html")
    assert "accuracy % by density asked for" in Path("page.html").read_text()


def test_methods_of_runs_of_one(command: Command, sweep: None) -> None:
    outcome = command("report", "--methods")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "dstrun: methods: expected runs of two methods or more, at two densities or more\n"
    )
    assert "by density asked for" not in command("report").out


def test_the_table(command: Command, sweep: None) -> None:
    outcome = command("report", "outputs/made")
    assert (outcome.code, outcome.err) == (0, "")
    title, *_ = outcome.out.splitlines()
    assert title == "outputs/made, lenet_300_100 on mnist: 5 runs, 4 finished, 1 failed"
    header, dense, sparse, failed = table(outcome.out)
    assert header == [
        "method",
        "α",
        "runs",
        "failed",
        "accuracy %",
        "remaining %",
        "Δ dense",
        "multiply-adds %",
        "epoch",
        "time",
    ]
    assert dense == ["dense", "2", "97.00 ± 1.41*", "100.00 ± 0.00", "50.00 ± 0.00", "2", "4 s"]
    assert sparse == [
        "dst",
        "1e-3",
        "2",
        "96.00 ± 1.41*",
        "10.00 ± 0.00",
        "-1.00",
        "5.00 ± 0.00",
        "2",
        "4 s",
    ]
    assert failed == ["dst", "1e-2", "0 of 1", "1", "90.00", "5.00", "2.50", "1 of 2", "2 s"], (
        "no Δ of what has not ended"
    )
    assert "*: on the Pareto front: no other row is as accurate and sparser" in outcome.out


def test_the_paper_beside_ours(command: Command, sweep: None) -> None:
    outcome = command("report", "--paper")
    assert outcome.err == ""
    out = outcome.out
    assert ["paper: DST", "97.69 ± 0.14", "2.48 ± 0.21", "-0.47"] in table(out)
    assert ["paper: dense (DST)", "98.16 ± 0.06", "100.00"] in table(out)


def test_a_network_that_is_not_in_the_paper(command: Command) -> None:
    leave(data__name="digits", data__train_limit=100)
    outcome = command("report", "--paper")
    assert outcome.err == "dstrun: paper: it has no lenet_300_100 on digits\n"
    assert outcome.out.startswith("outputs, lenet_300_100 on digits (100 training images): 1 run")


def test_control_characters_are_replaced(command: Command) -> None:
    leave(Path("outputs/a"), model__name="m\x1b]0;x\ny|", reg__alpha=1e-3)
    leave(Path("outputs/b\x1b[2J"), reg__alpha=1e-2)
    for words in ([], ["--runs"], ["--markdown"]):
        out = command("report", *words).out
        assert "\x1b" not in out
        assert "m\ufffd]0;x\ufffdy" in out
    lines = command("report", "--markdown").out.splitlines()
    assert len({line.count("|") - line.count("\\|") for line in lines}) == 1


def test_a_row_a_run(command: Command, sweep: None) -> None:
    rows = table(command("report", "--runs", "--sort", "-accuracy").out)
    assert rows[0][:4] == ["method", "α", "seed", "state"]
    assert [row[-5 if row[0] == "dense" else -6] for row in rows[1:3]] == ["98.00*", "97.00*"]
    assert len(rows) == 6


def test_sorted_and_filtered(command: Command, sweep: None) -> None:
    out = command("report", "--filter", "method=dst state=finished", "--sort", "accuracy").out
    assert len(table(out)) == 2
    assert "-1.00" in out, "the baseline counts though it is filtered out"
    first, *_ = table(command("report", "--sort", "accuracy").out)[1:]
    assert first[:2] == ["dst", "1e-2"]


def test_csv_has_fractions(command: Command, sweep: None) -> None:
    rows = list(csv.DictReader(io.StringIO(command("report", "--csv").out)))
    assert [row["reg.method"] for row in rows] == ["dense", "dst", "dst"]
    assert float(rows[1]["accuracy"]) == pytest.approx(0.96)
    assert float(rows[1]["accuracy_std"]) == pytest.approx(0.02 / 2**0.5)
    assert float(rows[1]["difference"]) == pytest.approx(-0.01)
    assert (rows[1]["runs"], rows[0]["reg.alpha"], rows[2]["accuracy_std"]) == ("2", "", "")


def test_markdown(command: Command, sweep: None) -> None:
    lines = command("report", "--markdown", "--paper").out.splitlines()
    assert lines[1] == "|" + " --- |" * 10
    assert (
        lines[3]
        == "| dst | 1e-3 | 2 |  | **96.00 ± 1.41** | 10.00 ± 0.00 | -1.00 | 5.00 ± 0.00 | 2 | 4 s |"
    )
    assert lines[-1].startswith("| paper: DST |")


def test_the_report_is_a_function_with_plain_arguments(
    sweep: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check the tables of settings and of layers from Python, and an error."""
    outputs = [Path("outputs")]
    report_settings(outputs, "method=dst state=finished", MARKDOWN, sort="-accuracy", each_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"\d\d\.00", line)[0] for line in lines[2:]] == ["97.00", "95.00"]
    report_layers(outputs, "seed=0 state=finished", MARKDOWN)
    assert capsys.readouterr().out.splitlines()[-1] == "| all | 100.00 | 10.00 |"
    with pytest.raises(InputError, match="filter: none of 5 runs meets 'seed>9'"):
        report_layers(outputs, "seed>9")


def test_several_folders_and_models(command: Command) -> None:
    leave(Path("outputs/a"))
    leave(Path("outputs/b"), model__name="lenet5", model__builder="lenet5")
    header, *rows = table(command("report", "outputs/a", "outputs/b").out)
    assert header[:2] == ["group", "model"]
    assert [row[:2] for row in rows] == [["b", "lenet5"], ["a", "lenet_300_100"]]


def test_networks_and_data_sets_are_compared_within_themselves(command: Command) -> None:
    """Check that front and Δ are those of a row's own model and data."""
    for data, model, dense, sparse in (
        ("mnist", "lenet_300_100", 0.98, 0.96),
        ("digits", "lenet_300_100", 0.9, 0.85),
        ("mnist", "lenet5", 0.97, 0.93),
    ):
        which = {
            "data__name": data,
            "data__builder": data,
            "model__name": model,
            "model__builder": model,
        }
        leave(accuracies=[dense], densities=[1.0], reg__method="dense", **which)
        leave(accuracies=[sparse], densities=[0.1], **which)
    rows = list(csv.DictReader(io.StringIO(command("report", "--csv").out)))
    found = {
        (row["model.name"], row["data.name"]): round(float(row["difference"]), 6)
        for row in rows
        if row["difference"]
    }
    assert found == {
        ("lenet_300_100", "mnist"): -0.02,
        ("lenet_300_100", "digits"): -0.05,
        ("lenet5", "mnist"): -0.04,
    }
    assert re.findall(r"[\d.]+\*", command("report").out) == [
        "97.00*",
        "93.00*",
        "90.00*",
        "85.00*",
        "98.00*",
        "96.00*",
    ]


def test_other_arguments_or_numbers_of_images_have_a_front_of_their_own(command: Command) -> None:
    """Two settings of all images, and one more accurate and sparser of each other kind."""
    leave(accuracies=[0.9], densities=[0.1])
    leave(accuracies=[0.8], densities=[0.2], reg__alpha=1e-3)
    leave(accuracies=[0.96], densities=[0.05], data__train_limit=500)
    leave(accuracies=[0.97], densities=[0.05], data__test_limit=500)
    leave(accuracies=[0.98], densities=[0.05], model__args={"width": 3})
    assert re.findall(r"[\d.]+\*", command("report").out) == ["90.00*"]


def test_the_page(command: Command, sweep: None) -> None:
    outcome = command("report", "--html", "out/report.html")
    assert outcome.code == 0
    assert re.fullmatch(r"out/report.html: \d\.\d MB\n", outcome.err)
    page = Path("out/report.html").read_text()
    head = page[: page.index("</head>")]
    assert "default-src 'none'" in head
    assert not re.search(r"(src|href)=", re.sub(r"<script.*?</script>", "", page, flags=re.S)), (
        "it asks for nothing"
    )
    assert page.count('class="figure"') == 4 + 3 + 2 + 2 * 5, (
        "overview, layers, curves, and two runs layer by layer"
    )
    assert "<td><b>96.00 ± 1.41</b></td>" in page


def test_names_of_runs_are_shown_as_text(command: Command) -> None:
    """Check names with tags and markup in the terminal, in Markdown and on the page."""
    leave(model__name="<script>alert(1)</script>", data__name="a|[red]b")
    assert "<script>alert(1)</script> on a|[red]b" in command("report").out
    leave(model__name="</script><i>x", data__name="a|[red]b", created=1)
    assert "| &lt;script>alert(1)&lt;/script> |" in command("report", "--markdown").out
    command("report", "--html", "report.html")
    page = Path("report.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "</script><i>" not in page


def test_a_run_without_an_epoch_yet(command: Command) -> None:
    leave(accuracies=(), densities=(), state="interrupted")
    outcome = command("report", "--html", "report.html")
    assert (outcome.code, outcome.out.splitlines()[0]) == (
        0,
        "outputs, lenet_300_100 on mnist: 1 run, 1 interrupted",
    )
    assert "No run has finished an epoch yet" in Path("report.html").read_text()


def test_notes_on_unreadable_lines(command: Command, sweep: None) -> None:
    for seed in range(8):
        run = leave(seed=10 + seed)
        (run / "metrics.csv").write_text((run / "metrics.csv").read_text() + "cut\n")
    outcome = command("report")
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("metrics.csv: 1 line cannot be read")
    assert lines[-1] == "dstrun: and 3 more of that kind"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["empty"], "empty: no runs there; `dstrun sweep=quick` makes some in outputs/quick"),
        (["nowhere"], "nowhere: got nothing there, expected a folder of runs"),
        (
            ["--filter", "beauty>1"],
            "beauty: there is no such column; there are model, data, method, alpha, seed",
        ),
        (["--filter", "alpha>1"], "filter: none of 5 runs meets 'alpha>1'"),
        (["--sort", "beauty"], "beauty: there is no such column"),
        (["--csv", "--markdown"], "report: argument --markdown: not allowed with argument --csv"),
        (
            ["--wide"],
            "report: unrecognized arguments: --wide; `dstrun report --help` lists the arguments",
        ),
        (["--html", "empty"], "html: empty: Is a directory"),
        (["--html", "file/x.html"], "html: file/x.html: File exists"),
    ],
)
def test_errors(command: Command, sweep: None, words: list[str], message: str) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    outcome = command("report", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_without_outputs(command: Command) -> None:
    outcome = command("report")
    assert outcome.code == 2
    assert outcome.err.startswith(
        "dstrun: outputs: got nothing there, expected a folder of runs; `dstrun sweep=quick` "
    )


def test_a_future_metrics_file(command: Command) -> None:
    run = leave()
    (run / "metrics.csv").write_text("round;quality\n1;0.5\n")
    outcome = command("report")
    assert outcome.code == 0
    assert "metrics.csv: no column epoch, step" in outcome.err
    assert ": written by another version?" in outcome.err


def test_the_error_of_a_failed_run_is_no_markup(command: Command) -> None:
    status(leave(state="failed"), error="[bold]oops[/nothing]")
    assert command("report", "--runs").code == 0


def test_what_every_layer_keeps(command: Command, sweep: None) -> None:
    outcome = command("report", "--layers")
    assert (outcome.code, outcome.err) == (0, "")
    header, *rows = table(outcome.out)
    assert header == ["lenet_300_100 on mnist, remaining %", "dense", "dst"]
    assert rows == [[name, "100.00 ± 0.00", "10.00 ± 0.00"] for name in ("fc1", "fc2", "all")]


def test_what_every_layer_keeps_in_markdown_and_csv(command: Command, sweep: None) -> None:
    lines = command(
        "report", "--layers", "--markdown", "--filter", "method=dst seed=1"
    ).out.splitlines()
    assert lines[0] == "| lenet_300_100 on mnist, remaining % | lenet_300_100 on mnist |"
    assert lines[2] == "| fc1 | 10.00 |"
    rows = list(csv.DictReader(io.StringIO(command("report", "--layers", "--csv").out)))
    assert [(row["layer"], float(row["mean"]), row["count"]) for row in rows[3:]] == [
        ("fc1", 0.1, "2"),
        ("fc2", 0.1, "2"),
        ("", 0.1, "2"),
    ]


@pytest.mark.parametrize(
    "more", [["--paper"], ["--runs"], ["--sort", "accuracy"], ["--html", "page.html"]]
)
def test_layers_with_other_arguments_is_an_error(
    command: Command, sweep: None, more: list[str]
) -> None:
    outcome = command("report", "--layers", *more)
    assert outcome.code == 2
    assert (
        outcome.err == "dstrun: layers: expected alone, or with --filter and a form such as --csv\n"
    )
    assert not Path("page.html").exists()


def test_layers_of_runs_without_an_epoch(command: Command) -> None:
    leave(state="failed", accuracies=[], densities=[])
    assert command("report", "--layers").err == "dstrun: layers: none of 1 run has done an epoch\n"


def test_a_run_with_a_target_density_is_labelled_by_it(command: Command) -> None:
    leave(reg__target_density=0.05, reg__alpha=1e-3)
    leave(reg__target_density=0.1, reg__alpha=1e-3, created=1)
    leave(reg__alpha=1e-3, created=2)
    header, *rows = table(command("report").out)
    assert header[:3] == ["α", "asked %", "runs"]
    assert [row[:2] for row in rows] == [["1e-3", "1"], ["5", "1"], ["10", "1"]]


def test_an_option_that_no_run_has_is_no_column(command: Command) -> None:
    for seed in (0, 1):
        leave(reg__method="dense", schedule__lr=0.1 * (1 + seed))
    header, *_ = table(command("report").out)
    assert header == ["lr", "runs", "accuracy %", "remaining %", "multiply-adds %", "epoch", "time"]


def test_multiply_adds_are_a_column_if_their_share_is_not_that_of_weights() -> None:
    leave()
    rows = aggregate.by_setting(with_labels(Store([Path("outputs")]).runs))
    for flops, is_shown in (
        (rows["density"] + 1e-12, False),
        (rows["density"] - 1e-6, True),
        (float("nan"), False),
    ):
        assert ("flops" in columns(rows.assign(flops=flops))) == is_shown


def test_an_option_of_one_network_is_no_column(command: Command) -> None:
    leave(schedule__lr=0.1)
    leave(model__name="lenet5", model__builder="lenet5", created=1)
    header, *_ = table(command("report").out)
    assert header == ["model", *NARROW_HEADER]


def test_validation_accuracy_is_a_column_if_there_is_one(command: Command, sweep: None) -> None:
    assert "validation %" not in command("report").out
    (run, *_) = [folder for folder in Path("outputs").rglob("*-s0-*") if folder.is_dir()]
    lines = (run / "metrics.csv").read_text().splitlines()
    more = [",validation_loss,validation_accuracy", *[",0.1,0.75"] * (len(lines) - 1)]
    (run / "metrics.csv").write_text(
        "".join(f"{line}{end}\n" for line, end in zip(lines, more, strict=True))
    )
    header, _, *rows = [
        line.split(" | ") for line in command("report", "--runs", "--markdown").out.splitlines()
    ]
    assert [row[header.index("validation %")] for row in rows].count("75.00") == 1


NARROW = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}  # what rich takes for a terminal


def on_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    with monkeypatch.context() as patch:
        for name, value in NARROW.items():
            patch.setenv(name, value)
        lines = command("report", *words).out.splitlines()
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]


def test_a_narrow_terminal_shows_what_tells_rows_apart_and_names_what_it_leaves_out(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        leave(
            accuracies=[0.9, 0.95 + seed / 100],
            seed=seed,
            schedule__lr=0.1 * (1 + seed),
            data__train_limit=seed,
        )
        leave(
            accuracies=[0.9, 0.95],
            densities=[0.5, 0.2],
            seed=seed,
            reg__alpha=1e-3,
            schedule__batch_size=8 + seed,
        )
    lines = on_a_terminal(command, monkeypatch, "outputs")
    assert max(map(len, lines[1:])) <= 80  # below the title
    assert "left out at 80 columns: lr, time, epoch; --csv has all, or a wider terminal" in lines
    header, *_ = table("\n".join(lines[1:]))
    assert header == ["settings", "α", *NARROW_HEADER[1:-2]]
    text = " ".join(" ".join(lines).split())
    assert "all, batch size 9" in text, "folded"
    whole = command("report", "outputs").out
    assert "left out" not in whole
    assert re.search(r"α +training images +batch size +lr +runs", whole)
    assert re.search(r"\n 1e-3 +all", whole)
    monkeypatch.setenv("COLUMNS", "80")
    header, *_ = table(command("report", "outputs").out)
    assert header == ["settings", *NARROW_HEADER], "into a pipe no column is left out"


def test_a_narrow_terminal_folds_long_names_and_keeps_epochs_that_differ(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both tables of methods; nothing is wider than 80 columns, and no two rows look alike."""
    leave_methods(seeds=2)
    for schedule, drop in (("cosine", 0.1), ("cosine", 0.2), ("constant", 0.1)):
        options = {"reg__drop_schedule": schedule, "reg__drop": drop, "reg__until": 0.5}
        densities = {"reg__layer_densities": {"features.17": 0.5}}
        leave(reg__method="rigl", reg__density=0.1, reg__every=50, **options, **densities)
    leave(reg__method="imp", reg__density=0.1, reg__rounds=1)
    lines = on_a_terminal(command, monkeypatch, "outputs")
    assert all(len(line) <= 80 or "by density asked for" in line for line in lines)
    header, *_ = table("\n".join(lines[1:]))
    assert (header[:2], header[-1]) == (["method", "settings"], "epoch")
    lines = on_a_terminal(command, monkeypatch, "--methods")
    assert max(map(len, lines[1:])) <= 80
    first = next(place for place, line in enumerate(lines) if line.startswith(" rigl, layer"))
    assert lines[first + 1].startswith(" every 50, drop")
    assert any(line.startswith(" imp, epochs 4 ") for line in lines)


def test_a_narrow_terminal_shows_as_many_settings_as_fit_side_by_side(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for alpha in range(1, 9):
        leave(reg__alpha=alpha * 1e-3, densities=[0.5, 0.1 * alpha])
    lines = on_a_terminal(command, monkeypatch, "--layers")
    assert max(map(len, lines)) <= 80
    assert "left out at 80 columns: 4 settings; --csv has all, or a wider terminal" in lines


def test_the_title_has_the_numbers_of_training_images() -> None:
    for seed, limit in enumerate((0, 1000, 300)):
        leave(seed=seed, data__train_limit=limit)
    runs = Store([Path("outputs")]).runs
    assert title("outputs", runs).startswith(
        "outputs, lenet_300_100 on mnist (300, 1,000 or all training images): 3 runs"
    )
    assert (
        title("outputs", runs[runs["data.train_limit"] == 0])
        == "outputs, lenet_300_100 on mnist: 1 run, 1 finished"
    )
    assert title("outputs", runs.iloc[:0]) == "outputs: 0 runs, "
    mixed = runs.assign(**{"data.builder": ["text", "mnist", "mnist"]})
    assert "(300, 1,000 or all training images or sequences)" in title("outputs", mixed)
    assert "(1,000 training sequences)" in title(
        "outputs", mixed.assign(**{"data.builder": "text", "data.train_limit": 1000})
    )


def test_the_density_asked_for_is_one_column_wherever_settings_differ_in_it(
    command: Command,
) -> None:
    """DST with a fixed α or a target, alone and beside methods that were all asked for 10 %."""
    leave(accuracies=[0.98], densities=[1.0], reg__method="dense")
    leave(accuracies=[0.95], densities=[0.4], reg__alpha=1e-3, created=1)
    leave(accuracies=[0.95], densities=[0.1], reg__target_density=0.1, created=2)
    header, *rows = table(command("report").out)
    assert header.count("asked %") == 1
    leave(accuracies=[0.9], densities=[0.1], reg__method="rigl", reg__density=0.1, created=3)
    leave(accuracies=[0.9], densities=[0.1], reg__method="set", reg__density=0.1, created=4)
    leave(
        *(Path("outputs/other"), [0.9], [0.1]),
        model__name="lenet5",
        model__builder="lenet5",
        reg__target_density=0.1,
    )
    header, *rows = table(command("report", "outputs/made").out)
    assert header[:3] == ["method", "α", "asked %"]
    assert [row[:2] for row in rows[3:5]] == [["rigl", "10"], ["set", "10"]]
    header, *_ = table(command("report").out)
    assert header.count("asked %") == 1
    assert command("report", "--markdown").out.splitlines()[0].count("asked %") == 1
    header, *_ = table(command("report", "--filter", "density=10%").out)
    assert "asked %" not in header, "all were asked for the same"
