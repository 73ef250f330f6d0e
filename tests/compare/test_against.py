"""`dstrun report --against`: which setting is meant, differences, marks and words, in all forms."""

import csv
import io
import re
from pathlib import Path

import pytest

from dstrun.compare.against import EACH
from tests.helpers.commands import Command
from tests.helpers.folders import leave, leave_methods
from tests.helpers.tables import table

OUT = Path("outputs/made")
RIGL, SET, STATIC = (0.96, 0.97, 0.98), (0.95, 0.965, 0.965), (0.975, 0.965, 0.955)
SNFS = ("snfs", (0.95, 0.96, 0.985))


@pytest.fixture
def three() -> None:
    """Leave three seeds of RigL, of SET and static below it, and one of GMP, asked for 10 %.

    SET − RigL is −1, −0.5 and −1.5 %: −1 ± 4.303 · 0.5 / √3. static − RigL is 1.5, −0.5, −2.5 %:
    −0.5 ± 4.303 · 2 / √3. SNFS − RigL is −1, −1 and 0.5 %: −0.5 ± 4.303 · 0.866 / √3.
    """
    for method, values in (("rigl", RIGL), ("set", SET), ("static", STATIC), ("gmp", (0.5,)), SNFS):
        for seed, value in enumerate(values):
            leave(OUT, [value], [0.1004], seed=seed, reg__method=method, reg__density=0.1)


def test_differences_from_a_setting(command: Command, three: None) -> None:
    outcome = command("report", "--against", "method=rigl density=10%")
    assert (outcome.code, outcome.err) == (0, "")
    header, *rows = table(outcome.out)
    place = header.index("Δ method=rigl density=10%")
    assert [[row[0], row[place]] for row in rows if row[0] != "rigl"] == [
        ["gmp", "-47.00 [one seed]"],
        ["set", "-1.00 [-2.24, +0.24] ≈"],
        ["snfs", "-0.50 [-2.65, +1.65] ≈"],
        ["static", "-0.50 [-5.47, +4.47] ≈"],
    ]
    assert outcome.out.splitlines()[-3:] == [
        "Δ: difference from method=rigl density=10%, with its 95 % interval, paired by seed "
        "(3 pairs), none for 1 of one seed; ≈: it contains 0",
        "seeds cannot tell 3 of 3 differences; to tell one of 0.50 points, 26 seeds a setting are "
        "needed (power 80 %)",
        EACH,
    ]
    out = command(
        "report", "--against", "set", "--filter", "method!=static method!=snfs", "--csv"
    ).out
    gmp, rigl, same = csv.DictReader(io.StringIO(out))
    assert (rigl["against"], rigl["pairs"], rigl["seeds_needed"]) == ("set", "3", "5")
    figures = [float(rigl[key]) for key in ("difference_against", "low", "high", "p")]
    half = 4.302653 * 0.005 / 3**0.5
    assert figures == pytest.approx([0.01, 0.01 - half, 0.01 + half, 0.074180], abs=1e-6)
    assert (gmp["low"], gmp["pairs"], gmp["seeds_needed"]) == ("", "0", "")
    assert (same["difference_against"], same["pairs"]) == ("", "")
    assert "compared" not in rigl


def test_differences_in_documents(command: Command, three: None) -> None:
    head, _, *lines = command("report", "--against", "rigl", "--markdown").out.splitlines()
    assert " Δ rigl |" in head
    assert " -1.00 [-2.24, +0.24] ≈ |" in lines[2]
    assert lines[-1] == EACH
    assert (
        "$-$1.00 [$-$2.24, +0.24] $\\approx$ &"
        in command("report", "--against", "rigl", "--latex").out
    )
    command("report", "--against", "rigl", "--html", "page.html")
    page = Path("page.html").read_text()
    assert "<td>-1.00 [-2.24, +0.24] ≈</td>" in page
    assert EACH.capitalize() in page


def test_groups_that_share_no_seeds_and_figures_of_which_less_is_better(command: Command) -> None:
    """Bits per byte 2.0, 2.2 against 2.5, 2.9: −0.6 with four digits; and a clear difference."""
    for first, rate, values in ((0, 0.1, (2.0, 2.2)), (5, 0.2, (2.5, 2.9)), (8, 0.3, (9.0, 9.0))):
        for seed, value in enumerate(values, start=first):
            run = leave(OUT, [0.5], [0.1], seed=seed, schedule__lr=rate)
            text = (run / "metrics.csv").read_text().replace("test_accuracy", "test_bits_per_byte")
            (run / "metrics.csv").write_text(re.sub(r",0\.5,0\.1,", f",{value},0.1,", text))
            (run / "summary.json").unlink()
    out = command("report", "--against", "lr=0.2").out
    assert "-0.6000 [-1.9837, +0.7837] ≈" in out
    assert "+6.3000 [+3.7588, +8.8412]  " in out
    assert "all by Welch's t, as half of the seeds or fewer are shared; ≈" in out
    assert "to tell one of 0.6000 bits per byte, 4 seeds a setting" in out
    out = command("report", "--against", "lr=0.3", "--filter", "lr!=0.1").out
    assert "seeds can tell every difference that has an interval" in out
    assert EACH not in out


def test_methods_against_one_of_them(command: Command) -> None:
    """GMP at 10 % is best, by less than its two seeds can tell; all others differ from RigL."""
    leave_methods(seeds=2)
    for seed, value in enumerate((0.93, 0.99)):
        leave(OUT, [value], [0.1], seed=seed, reg__method="gmp", reg__density=0.1)
    outcome = command("report", "--methods", "--against", "rigl")
    assert [row[:2] for row in table(outcome.out)[1:5]] == [
        ["dst", "94.50 ± 0.71"],
        ["gmp", "96.00 ± 4.24* ≈"],
        ["rigl", "95.50 ± 0.71"],
        ["set", "93.50 ± 0.71"],
    ]
    note = "≈: the 95 % interval of the difference from rigl at the same density contains 0, paired"
    assert note in outcome.out
    assert "seeds cannot tell 1 of 5 differences" in outcome.out
    leave(OUT, [0.9], [0.1], seed=7, reg__method="gmp", reg__density=0.1)
    words = "paired by seed (2 pairs; seed 7 of {} left out)"
    assert words.format("gmp") in command("report", "--methods", "--against", "rigl").out
    only = ["--filter", "density=10% method!=dst method!=set"]
    assert words.format("method=gmp") in command("report", *only, "--against", "rigl").out
    out = command("report", "--methods", "--against", "dense", "--csv").out
    rows = {(row["method"], row["reg.density"]): row for row in csv.DictReader(io.StringIO(out))}
    assert float(rows["set", "0.05"]["difference_against"]) == pytest.approx(-0.08)
    assert rows["dense", "1.0"]["low"] == ""
    assert {"names", "values", "compared"}.isdisjoint(rows["dense", "1.0"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["rigl"],
            "against: 'rigl' is 2 settings of lenet_300_100 on mnist, expected one: "
            "add density=0.05; density=0.1; --methods compares at each density",
        ),
        (
            ["density=10%"],
            "against: 'density=10%' is 3 settings of lenet_300_100 on mnist, expected one: "
            "add method=dst; method=rigl; method=set",
        ),
        (
            ["method=rigl density=50%"],
            "against: no setting of lenet_300_100 on mnist meets 'method=rigl density=50%'; there "
            "are method=dense; method=dst density=0.05; method=dst density=0.1; "
            "method=rigl density=0.05; …",
        ),
        (["regl"], "against: got 'regl', expected a method or conditions such as"),
        (["regl"], "; did you mean rigl?"),
        (["?"], "'method=rigl density=0.1'; there are dense, rigl, set, dst"),
        (["alhpa=1"], "against: alhpa: there is no such column; did you mean alpha"),
        (["density=5"], "against: got density=5, expected a fraction or a percentage: 5%"),
        (
            ["method!=dst", "--methods"],
            "against: got 'method!=dst', expected one row of lenet_300_100 on mnist: "
            "dense; rigl; set",
        ),
        (["rigl", "--runs"], "against: got it with --runs, expected a table of settings"),
        (["rigl", "--layers"], "against: got it with --layers, expected a table of settings"),
    ],
)
def test_settings_that_are_several_or_none(
    command: Command, words: list[str], message: str
) -> None:
    leave_methods()
    outcome = command("report", "--against", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert ("compares at each density" in outcome.err) == (words == ["rigl"])
    assert len(outcome.err.splitlines()) == 1


def test_a_setting_without_a_finished_run(command: Command) -> None:
    leave(reg__alpha=1e-3, state="failed")
    leave(reg__alpha=1e-4, created=1)
    outcome = command("report", "--against", "alpha=1e-3")
    assert outcome.err == "dstrun: against: 'alpha=1e-3' has no finished run\n"
