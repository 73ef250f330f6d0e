"""Random command lines: a plan of valid runs, or one line and exit code 2; never a traceback."""

import contextlib
import io
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dstrun.cli import main
from dstrun.config.groups import packaged_folder
from dstrun.config.options import OPTIONS

FEW, MANY, PARTS = 5, 5000, 4
GROUPS = {
    group: [file.stem for file in (packaged_folder("conf") / group).glob("*.yaml")]
    for group in ("model", "data", "reg", "schedule", "experiment", "recipe")
}
GROUPS["sweep"] = [file.stem for file in packaged_folder("sweeps").glob("*.yaml")]
SECONDS = 10

numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, -1, 0.5, 1e-6, 2**31, 2**63, 1e308]),
).map(str)
words = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            "null",
            "true",
            "no",
            "nan",
            "inf",
            "-inf",
            "auto",
            "cpu",
            "fp32",
            "${seed}",
            "${nope}",
            "${oc.env:HOME}",
            "${a",
            "${model}-${data}",
            "../..",
            "/dev/null",
            "a b",
            "'a'",
            '"',
            "\\",
            "[",
            "]",
            "{",
            "}",
            "[]",
            "{}",
            "choice(1,2)",
            "range(3)",
            "range(0)",
            "interval(0,1)",
            "glob(*)",
            "sort(3,1)",
            "int(x)",
            "1e",
            "0x10",
            "é",
            "\u202e",
            "\x1b[2J",
            "\n",
            "\t",
            "\0",
            "%s",
            "${oc.decode:'['}",
            "${hydra:runtime.cwd}",
            "a=b",
            "*",
            "1_000",
            "???",
            "~",
        ]
    ),
)
scalars = st.one_of(
    numbers, words, st.sampled_from([name for names in GROUPS.values() for name in names])
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3).map(lambda parts: f"[{','.join(parts)}]"),
    st.lists(scalars, max_size=3).map(",".join),
    st.dictionaries(st.text("abc.", max_size=3), scalars, max_size=2).map(
        lambda parts: "{" + ",".join(f"{key}:{value}" for key, value in parts.items()) + "}"
    ),
)
keys = st.one_of(
    st.sampled_from(sorted(OPTIONS)),
    st.sampled_from(sorted(OPTIONS)),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(
        [
            "hydra",
            "model.args.width",
            "data.args.x",
            "hydra.launcher",
            "hydra/sweeper",
            "reg.",
            ".a",
            "hydra.sweeper.params",
            "hydra.job.name",
            "seed.x",
            "experiment@x",
            "model@reg",
            "schedule.lr.x",
            "a..b",
        ]
    ),
    st.text(max_size=6),
)
assigned = st.tuples(st.sampled_from(["", "", "", "", "+", "++", "~"]), keys, values).map(
    lambda t: f"{t[0]}{t[1]}={t[2]}"
)
chosen = st.sampled_from(sorted(GROUPS)).flatmap(
    lambda group: st.sampled_from(GROUPS[group]).map(lambda name: f"{group}={name}")
)
PLAUSIBLE = {
    int: st.integers(1, 9),
    float: st.floats(0.001, 0.9),
    bool: st.booleans(),
    str: st.sampled_from(["a", "cpu"]),
}
plausible = st.sampled_from(sorted(OPTIONS)).flatmap(
    lambda key: PLAUSIBLE.get(OPTIONS[key].type, scalars).map(lambda value: f"{key}={value}")
)
odd = st.one_of(
    st.sampled_from(
        [
            "-m",
            "--multirun",
            "-c",
            "--cfg",
            "job",
            "~seed",
            "--info",
            "--resolve",
            "-x",
            "--",
            "=",
            "@",
            "-h",
        ]
    ),
    words,
)
lines = st.one_of(
    st.lists(st.one_of(plausible, chosen), max_size=6),
    st.lists(st.one_of(assigned, assigned, plausible, chosen, odd), min_size=1, max_size=5),
)


def call(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of `dstrun ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("sys.argv", ["dstrun", *arguments])
        try:
            main.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
    return code, out.getvalue(), err.getvalue()


def without_effect(arguments: Sequence[str]) -> list[str]:
    """Return the words with options that keep a run from training and a verb from serving."""
    kept = [
        word
        for word in arguments
        if word not in main.VERBS and not re.match(r"[+~]*(dry_run|n_jobs)\b", word)
    ]
    return [*kept, "dry_run=true"]


def check(arguments: Sequence[str]) -> None:
    arguments = without_effect(arguments)
    before = sorted(Path().rglob("*"))
    started = time.process_time()
    code, out, err = call(arguments)
    assert time.process_time() - started < SECONDS
    assert code in (0, 2), (arguments, code, err)
    assert "Traceback" not in out + err
    if code == 2:
        lines = err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("dstrun: ")
        assert lines[0].isprintable()
    assert sorted(Path().rglob("*")) == before, "a dry run leaves nothing"


relaxed = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@settings(relaxed, max_examples=FEW)
@given(lines)
def test_a_few_command_lines(arguments: list[str]) -> None:
    check(arguments)


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))  # so that they share the cores
@settings(relaxed, max_examples=MANY // PARTS, derandomize=False)
@given(arguments=lines)
def test_thousands_of_command_lines(part: int, arguments: list[str]) -> None:
    check(arguments)
