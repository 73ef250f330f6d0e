"""A report as one HTML file that needs nothing else: no request to any host, light or dark as the
reader's system is.

A figure is drawn when it comes into view, so that the page opens at once. Knows store, compare,
drawing and views."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from importlib.metadata import version

import pandas as pd
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from dstrun.compare import aggregate
from dstrun.compare.figures import catalogue, panels
from dstrun.compare.run_tables import Store

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#26262b, #d8d8dc); --line: light-dark(#dcdce2, #3a3a42) }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: light-dark(#fff, #18181c);
       max-width: 1240px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.15em; margin: 2.5em 0 0 }
p { margin: .2em 0 .6em; opacity: .75 }
.wide { overflow: auto; max-height: 60vh }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25em .8em; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { position: sticky; top: 0; background: light-dark(#fff, #18181c) }
tr.best { font-weight: 600 }
summary { cursor: pointer; padding: .3em 0 }
"""
SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
const template = () => TEMPLATES[dark.matches ? 1 : 0];
const drawn = new Set();
function draw(place) {
  if (drawn.has(place)) return;
  drawn.add(place);
  const figure = JSON.parse(place.nextElementSibling.textContent);
  figure.layout.template = template();
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displaylogo: false});
}
const seen = new IntersectionObserver(
  entries => entries.filter(entry => entry.isIntersecting).forEach(entry => draw(entry.target)), {rootMargin: '300px'});
document.querySelectorAll('.figure').forEach(place => seen.observe(place));
dark.addEventListener('change', () => drawn.forEach(place => Plotly.relayout(place, {template: template()})));
addEventListener('beforeprint', () => document.querySelectorAll('.figure').forEach(draw));
"""
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def page(
    title: str,
    rows: Sequence[Sequence[str]],
    best: Sequence[bool],
    store: Store,
    runs: pd.DataFrame,
) -> str:
    """The page of a table, its header first, and of the figures of the runs."""
    some = runs["epoch"].notna().any()
    shown = (
        [*catalogue.overview(runs), *catalogue.layers(store, runs), *catalogue.curves(store, runs)]
        if some
        else []
    )
    closer = [
        f"<details><summary>{escape(runs.loc[name, 'label'])} · {escape(name)}</summary>"
        f"{_sections(catalogue.one_run(store, runs.loc[[name]]))}</details>"
        for name in aggregate.choice(runs, catalogue.LAYERED)
    ]
    templates = ", ".join(_json(panels.template(dark)) for dark in (False, True))
    made = f"dstrun {version('dstrun')}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p>{escape(made)}</p>{_table(rows, best)}{_sections(shown)}",
            "<h2>Layer by layer</h2><p>Runs spread over density.</p>" if closer else "",
            ""
            if some
            else "<p>No run has finished an epoch yet; figures come with the first one.</p>",
            *closer,
            f"<script>{get_plotlyjs()}</script>",
            f"<script>const TEMPLATES = [{templates}];{SCRIPT}</script></body></html>",
        ]
    )


def _table(rows: Sequence[Sequence[str]], best: Sequence[bool]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row, stands_out in zip(body, best, strict=True):
        kind = ' class="best"' if stands_out else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    said = f"<p>Bold: {aggregate.FRONT}.</p>" if any(best) else ""
    return f'<div class="wide"><table>{"".join(lines)}</table></div>{said}'


def _sections(shown: Iterable[catalogue.View]) -> str:
    return "".join(
        f"<section><h2>{escape(view.title)}</h2><p>{escape(view.caption)}</p>"
        f'<div class="figure" style="min-height:{view.figure["layout"]["height"]}px"></div>'
        f'<script type="application/json">{_json(view.figure)}</script></section>'
        for view in shown
    )


def _json(figure: object) -> str:
    """Of a figure or template, so that nothing in it can end the script element around it."""
    return to_json_plotly(figure).replace("<", "\\u003c")
