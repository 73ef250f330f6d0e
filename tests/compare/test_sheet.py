"""Tables in documents: LaTeX that has no stray special character, Markdown, HTML."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dstrun.compare.report.sheet import Sheet, html, latex, latex_text, markdown
from tests.helpers.commands import Command
from tests.helpers.folders import leave, leave_methods

SHEET = Sheet(
    lines=[
        ["a_b & c", "α", "accuracy %", "Δ x|y"],
        ["m#1 {~^\\}", "5e-4", "97.91 ± 0.06", "-0.31 [-0.62, +0.00] ≈"],
        ["lenet-300-1e-3", "1e-10", "98.40", "$1 <2>"],
        ["", "", "9.15 ± 12.00", ""],
    ],
    words=2,
    title="T_1, 100 %",
    best=frozenset({(1, 2)}),
    best_note="best #1",
    notes=["≈: 10 % · 2 × 3 ≤ 4 ± 5"],
    sections=frozenset({2}),
)
TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[^\\]", re.DOTALL)


def cells_of(document: str) -> list[int]:
    """Return the number of cells of each row; fail for what LaTeX would not typeset as text."""
    rows, cells, is_math, depth = [], 1, False, 0
    for token in TOKEN.findall(re.sub(r"(?m)^%.*$", "", document)):
        is_math ^= token == "$"
        depth += (token == "{") - (token == "}")
        assert depth >= 0
        assert token.isascii() or token.isalpha(), f"{token!r} is in no font of pdflatex"
        assert token not in "#%~", f"{token!r} is not escaped"
        assert is_math or token not in "^_<>|", f"{token!r} is no text"
        cells += token == "&"
        if token == "\\\\":
            rows.append(cells)
            cells = 1
    assert not depth
    assert not is_math
    return rows


def test_latex_escapes_and_aligns() -> None:
    document = latex(SHEET)
    assert cells_of(document) == [4] * 4
    first, *_ = document.splitlines()
    assert first == "% in the preamble: \\usepackage{booktabs}"
    lines = document.splitlines()[3:]
    assert lines[0] == (
        "\\caption{T\\_1, 100 \\%. Bold: best \\#1. "
        "$\\approx$: 10 \\% $\\cdot$ 2 $\\times$ 3 $\\le$ 4 $\\pm$ 5.}"
    )
    assert lines[1:6] == [
        "\\begin{tabular}{llrr}",
        "\\toprule",
        "a\\_b \\& c & $\\alpha$ & accuracy \\% & $\\Delta$ x$|$y \\\\",
        "\\midrule",
        "m\\#1 \\{\\textasciitilde{}\\textasciicircum{}\\textbackslash{}\\} & $5 \\cdot 10^{-4}$ & "
        "\\textbf{97.91 $\\pm$ 0.06\\phantom{1}} & "
        "$-$0.31 [$-$0.62, +0.00] $\\approx$ \\\\",
    ]
    assert lines[6] == "\\midrule"
    assert lines[7].startswith("lenet-300-1e-3 & $10^{-10}$ & 98.40\\phantom{ $\\pm$ 12.00} & \\$1")
    assert "caption" not in latex(Sheet([["a"], ["b"]]))
    assert latex_text("-1.5 to 2e5 of x-1") == "$-$1.5 to $2 \\cdot 10^{5}$ of x-1"


def test_markdown_and_html_of_a_sheet() -> None:
    above, _, *lines, _, note = markdown(SHEET).splitlines()
    assert (above, note) == (SHEET.title, SHEET.notes[0])
    assert lines[2] == "| m#1 {~^\\\\} | 5e-4 | **97.91 ± 0.06** | -0.31 [-0.62, +0.00] ≈ |"
    page = html(SHEET)
    assert "<td>$1 &lt;2&gt;</td>" in page
    assert "<td><b>97.91 ± 0.06</b></td>" in page
    assert page.endswith(f"<p>Bold: best #1.</p><p>{SHEET.notes[0]}.</p>")


def test_markdown_shows_names_as_they_are() -> None:
    """Only marks that CommonMark reads are escaped: a _ within a word is none."""
    for text, expected in (
        ("lenet_300_100 a__b", "lenet_300_100 a__b"),
        ("_x_ __init__ a_", r"\_x\_ \_\_init\_\_ a\_"),
        ("*a* `b` c|d \\", r"\*a\* \`b\` c\|d " + "\\" * 2),
        ("-0.31 [-0.62, +0.00] (x)", "-0.31 [-0.62, +0.00] (x)"),
        ("[a](b) <b> &amp; R&D", r"[a]\(b) &lt;b> \&amp; R&D"),
    ):
        document = markdown(Sheet([["a", text], ["b", text]], title=text, notes=[text]))
        head, _, row = [line for line in document.splitlines() if line.startswith("| ")]
        assert (head, row) == (f"| a | {expected} |", f"| b | {expected} |")
        assert document.splitlines()[0] == document.splitlines()[-1] == expected


def test_a_path_in_a_caption_is_as_it_is() -> None:
    caption = latex(Sheet([["a"], ["b"]], title="docs/runs/x_y", notes=["less is better"]))
    assert "\\caption{docs/runs/x\\_y. Less is better.}" in caption


def test_latex_of_the_report(command: Command) -> None:
    """Of settings with differences, of methods and of layers; the best is in bold."""
    leave_methods()
    for words in (["--against", "dense"], ["--methods"], ["--layers", "--filter", "density=5%"]):
        outcome = command("report", "--latex", *words)
        assert (outcome.code, outcome.err) == (0, "")
        assert len({*cells_of(outcome.out)}) == 1
        assert ("\\textbf{96.00}" in outcome.out) == ("--layers" not in words)


@pytest.mark.slow
def test_every_table_is_one_of_latex(command: Command, tmp_path: Path) -> None:
    """Of settings, methods and layers; compiled where there is pdflatex."""
    leave_methods(seeds=2)
    leave(reg__method="set", reg__density=0.1, data__name="a_b & c#")
    leave(reg__method="set", reg__density=0.1, seed=1, data__name="a_b & c#")
    documents = [latex(SHEET)]
    only = ["--filter", "data=mnist"]
    for words in (
        [*only, "--paper"],
        [*only, "--against", "method=dense"],
        ["--methods"],
        ["--layers"],
    ):
        outcome = command("report", *words, "--latex")
        assert (outcome.code, outcome.err) == (0, "")
        documents.append(outcome.out)
    for document in documents:
        for single in document.split("% in the preamble")[1:]:
            assert len({*cells_of(f"% in the preamble{single}")}) == 1
    if shutil.which("pdflatex"):
        body = "\n".join(documents)
        whole = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}"
        (tmp_path / "all.tex").write_text(f"{whole}\\end{{document}}")
        program = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Missing character" not in (tmp_path / "all.log").read_text(errors="replace")
