"""Page of a report: one HTML file that loads nothing, light or dark as the reader's system.

Figures are drawn when they come into view, so that the page opens at once.
"""

from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib.metadata import version

import pandas as pd
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from dstrun.compare.aggregate import choose_runs
from dstrun.compare.figures import catalogue
from dstrun.compare.figures.layer_views import LAYERED, which_layered
from dstrun.compare.figures.style import INK, LINE, template
from dstrun.compare.figures.view import Source, View
from dstrun.compare.report import method_table, table
from dstrun.compare.report.sheet import Sheet, html

STYLE = f"""
:root {{ color-scheme: light dark; --ink: light-dark({", ".join(INK)});
        --line: light-dark({", ".join(LINE)}); --ground: light-dark(#fff, #18181c) }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
       max-width: 1240px; margin: 2em auto; padding: 0 1em }}
h1 {{ font-size: 1.4em }} h2 {{ font-size: 1.15em; margin: 2.5em 0 0 }}
p {{ margin: .2em 0 .6em; opacity: .75 }}
.wide {{ overflow: auto; max-height: 60vh }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25em .8em; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line) }}
th {{ position: sticky; top: 0; background: var(--ground) }}
b {{ font-weight: 600 }}
summary {{ cursor: pointer; padding: .3em 0 }}
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
  const config = {responsive: true, displaylogo: false, showSendToCloud: false};
  Plotly.newPlot(place, figure.data, figure.layout, config);
}
const drawVisible = entries =>
  entries.filter(entry => entry.isIntersecting).forEach(entry => draw(entry.target));
const observer = new IntersectionObserver(drawVisible, {rootMargin: '300px'});
const places = document.querySelectorAll('.figure');
places.forEach(place => observer.observe(place));
dark.addEventListener('change',
  () => drawn.forEach(place => Plotly.relayout(place, {template: template()})));
addEventListener('beforeprint', () => places.forEach(draw));
"""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)


def page(title: str, rows: pd.DataFrame, source: Source) -> str:
    """Return the page of a table of settings, `rows`, and of the figures of the source's runs."""
    made = f"dstrun {version('dstrun')}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    templates = ", ".join(_json(template(dark)) for dark in (False, True))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{escape(made)}</p>{html(table.sheet(rows))}",
        *(_methods(method_table.sheet(*found)) for found in method_table.tables(rows)),
        *_figures(source),
        f"<script>{get_plotlyjs()}</script>",
        f"<script>const TEMPLATES = [{templates}];{SCRIPT}</script></body></html>",
    ]
    return "\n".join(parts)


def _figures(source: Source) -> list[str]:
    """Return the figures of all runs, then those of a few runs layer by layer, as HTML."""
    runs = source.runs
    if not runs["epoch"].notna().any():
        return ["<p>No run has finished an epoch yet; figures come with the first one.</p>"]
    views = (catalogue.overview, catalogue.layers, catalogue.overlap, catalogue.curves)
    parts = [
        *(_sections(make(source)) for make in views),
        f"<h2>Layer by layer</h2><p>Runs, {which_layered(runs)}.</p>",
    ]
    for name in choose_runs(runs, LAYERED):
        summary = f"<summary>{escape(runs.loc[name, 'label'])} · {escape(name)}</summary>"
        sections = _sections(catalogue.one_run(source.of(runs.loc[[name]])))
        parts.append(f"<details>{summary}{sections}</details>")
    return parts


def _methods(sheet: Sheet) -> str:
    """Return a table of methods as HTML, below its title."""
    return f"<h2>{escape(sheet.title)}</h2>{html(sheet)}"


def _sections(views: Iterable[View]) -> str:
    """Return figures with title and caption as HTML."""
    return "".join(map(_section, views))


def _section(view: View) -> str:
    """Return a figure with title and caption as HTML."""
    height = view.figure["layout"]["height"]
    return (
        f"<section><h2>{escape(view.title)}</h2><p>{escape(view.caption)}</p>"
        f'<div class="figure" style="min-height:{height}px"></div>'
        f'<script type="application/json">{_json(view.figure)}</script></section>'
    )


def _json(figure: object) -> str:
    """Return a figure or template as JSON in which nothing can end the script element around it."""
    return to_json_plotly(figure).replace("<", "\\u003c")
