"""A table in words, and its forms for documents: Markdown, LaTeX and HTML."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

PACKAGES = "% in the preamble: \\usepackage{booktabs}"
SPREAD = " ± "
NAMES = (
    *("pm", "times", "cdot", "le", "ge", "approx", "to", "surd", "infty"),
    *("alpha", "beta", "epsilon", "mu", "sigma", "Delta", "Sigma"),
)
LATEX = {
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    **{letter: f"${letter}$" for letter in "<>|"},
    **{sign: f"$\\{name}$" for sign, name in zip("±×·≤≥≈→√∞αβεμσΔΣ", NAMES, strict=True)},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "−": "$-$",
    "²": "$^2$",
    "…": "\\ldots{}",
    "–": "--",
    "\ufffd": "?",
}
TOKEN = re.compile(
    r"(?<![\w.-])(?P<number>\d+(?:\.\d+)?)e(?P<power>-?\d+)(?![\w.])"  # 5e-4
    r"|(?P<minus>(?<![\w.)])-(?=\d))"  # a sign, no hyphen
    r"|(?P<letter>.)",
    re.DOTALL,
)
MARKS = re.compile(r"[\\|*`]|(?<=\])\(|&(?=#?\w+;)|(?<!\w)_+|_+(?!\w)")  # of Markdown
Lines = Sequence[Sequence[str]]
Cells = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Sheet:
    """A table in printable words.

    lines: the header and the rows, in bold the cells at `best`, which are (line, column). words:
    how many columns, from the first on, hold words; the others hold numbers. best_note: what bold
    means. notes: sentences below the table. sections: rows before which a line is drawn.
    """

    lines: Lines
    words: int = 1
    title: str = ""
    best: Cells = frozenset()
    best_note: str = ""
    notes: Sequence[str] = field(default=())
    sections: frozenset[int] = frozenset()

    def below(self, bold: str) -> list[str]:
        """Return the notes, the first one on the cells of `best`, which look like the word."""
        return [*([f"{bold}: {self.best_note}"] if self.best else []), *self.notes]


def markdown(sheet: Sheet) -> str:
    """Return a table in Markdown, with its title above and its notes below."""
    cells = [[markdown_text(cell) for cell in line] for line in sheet.lines]
    for row, column in sheet.best:
        cells[row][column] = f"**{cells[row][column]}**"
    title, *notes = map(markdown_text, (sheet.title, *sheet.notes))
    parts = [title, markdown_table(cells), *notes]
    return "\n\n".join(part for part in parts if part)


def markdown_table(lines: Lines) -> str:
    """Return lines of cells, the header first, as a table in Markdown."""
    head, *body = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))


def markdown_text(text: str) -> str:
    """Return text that Markdown shows as it is: no emphasis, link, code, tag or end of a cell.

    A _ within a word and a [ that begins no link, as those of an interval, stay as they are.
    """
    return MARKS.sub(lambda found: re.sub(r"(.)", r"\\\1", found[0]), text).replace("<", "&lt;")


def latex(sheet: Sheet) -> str:
    """Return a table environment of LaTeX, by booktabs; the title and the notes are its caption."""
    head, *body = _aligned(sheet.lines, sheet.words)
    kinds = "l" * sheet.words + "r" * (len(head) - sheet.words)
    rows = []
    for place, cells in enumerate(body, start=1):
        if place in sheet.sections:
            rows.append("\\midrule")
        words = [
            f"\\textbf{{{cell}}}" if (place, column) in sheet.best else cell
            for column, cell in enumerate(cells)
        ]
        rows.append(f"{' & '.join(words)} \\\\")
    below = [note[:1].upper() + note[1:] for note in sheet.below("bold")]
    sentences = [part for part in (sheet.title, *below) if part]  # a title begins with a name
    caption = f"\\caption{{{latex_text('. '.join(sentences))}.}}"
    parts = [
        *(PACKAGES, "\\begin{table}", "\\centering", *[caption] * bool(sentences)),
        *(f"\\begin{{tabular}}{{{kinds}}}", "\\toprule", f"{' & '.join(head)} \\\\", "\\midrule"),
        *(*rows, "\\bottomrule", "\\end{tabular}", "\\end{table}"),
    ]
    return "\n".join(parts)


def _aligned(lines: Lines, words: int) -> list[list[str]]:
    """Return lines in LaTeX, what follows ± as wide in all cells of a column of numbers."""
    columns = []
    for place, (head, *cells) in enumerate(zip(*lines, strict=True)):
        found = [latex_text(cell) for cell in cells]
        longest = max((cell.partition(SPREAD)[2] for cell in cells), key=len, default="")
        if place >= words and longest:
            found = [_padded(cell, longest) for cell in cells]
        columns.append([latex_text(head), *found])
    return [list(line) for line in zip(*columns, strict=True)]


def _padded(cell: str, longest: str) -> str:
    """Return a cell in LaTeX with as much space after it as the longest spread has room for."""
    spread = cell.partition(SPREAD)[2]
    lacks = longest[: len(longest) - len(spread)] if spread else SPREAD + longest
    space = f"\\phantom{{{latex_text(lacks)}}}" if cell and lacks else ""
    return latex_text(cell) + space


def latex_text(text: str) -> str:
    """Return text as LaTeX shows it, 5e-4 as a power of ten and the sign of a number as minus."""
    return TOKEN.sub(_token, text)


def _token(found: re.Match[str]) -> str:
    """Return a number, a sign or a letter in LaTeX."""
    if found["number"]:
        factor = "" if found["number"] == "1" else f"{found['number']} \\cdot "
        return f"${factor}10^{{{int(found['power'])}}}$"
    return "$-$" if found["minus"] else LATEX.get(found["letter"], found["letter"])


def html(sheet: Sheet) -> str:
    """Return a table in HTML, the best cells as <b>, with its notes below."""
    head, *body = sheet.lines
    rows = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    for place, cells in enumerate(body, start=1):
        words = []
        for column, cell in enumerate(cells):
            text = escape(cell)
            words.append(f"<b>{text}</b>" if (place, column) in sheet.best else text)
        rows.append("".join(f"<td>{text}</td>" for text in words))
    notes = "".join(
        f"<p>{escape(note[:1].upper() + note[1:])}.</p>" for note in sheet.below("bold")
    )
    return f'<div class="wide"><table><tr>{"</tr><tr>".join(rows)}</tr></table></div>{notes}'
