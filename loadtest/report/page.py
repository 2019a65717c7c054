"""Owns the HTML page of a run: one file that needs no other and no network; draws no chart."""

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from loadtest.report.charts import charts
from loadtest.report.svg import Chart, draw
from loadtest.report.tables import Table, headline, tables
from loadtest.results import Run
from loadtest.slo import Verdict
from loadtest.words import count

_STYLE = Path(__file__).with_name("page.css")


def page(run: Run, verdict: Verdict) -> str:
    """Write the page."""
    title = f"Load test: {run.scenario}"
    began = datetime.fromtimestamp(run.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE.read_text()}</style></head><body>",
            f"<header><h1>{escape(title)}</h1>",
            f"<p>{escape(run.target)}, {began}</p></header>",
            _verdict(verdict),
            _tiles(run),
            '<main class="charts">',
            *(_figure(chart) for chart in charts(run)),
            _bars("Close codes", "connections", run.totals.closed),
            "</main>",
            '<section class="tables">',
            *(_table(table) for table in tables(run, verdict) if table.title != "Close codes"),
            "</section></body></html>\n",
        ]
    )


def _verdict(verdict: Verdict) -> str:
    kind, text = ("kept", "All limits were kept")
    if not verdict.is_kept:
        kind, text = ("broken", "Limits were broken")
    mark = "&#10003;" if verdict.is_kept else "&#10007;"
    return (
        f'<section class="verdict {kind}"><h2><span aria-hidden="true">{mark}</span> {text}</h2>'
        f"{_list(verdict.broken)}</section>"
        + (f'<section class="notes">{_list(verdict.notes)}</section>' if verdict.notes else "")
    )


def _list(sentences: list[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _tiles(run: Run) -> str:
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in headline(run)
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _figure(chart: Chart) -> str:
    legend = "".join(
        f'<li><i class="key k{line.colour}"></i>{escape(line.name)}</li>' for line in chart.lines
    )
    many = f'<ul class="legend">{legend}</ul>' if len(chart.lines) > 1 else ""
    scale = ", logarithmic" if chart.is_log else ""
    return (
        f"<figure><figcaption>{escape(chart.title)} <small>{escape(chart.unit)}{scale}</small>"
        f"</figcaption>{many}{draw(chart)}</figure>"
    )


def _bars(title: str, unit: str, amounts: dict[str, int]) -> str:
    """Draw a bar for each name, as long as its share of the most."""
    if not amounts:
        return ""
    most = max(amounts.values())
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd><i class="bar{" odd" if name != "1000" else ""}" '
        f'style="width:{max(0.4, 100 * amount / most):.1f}%"></i><span>{count(amount)}</span></dd>'
        "</div>"
        for name, amount in sorted(amounts.items(), key=lambda item: -item[1])
    )
    return (
        f"<figure><figcaption>{escape(title)} <small>{escape(unit)}</small></figcaption>"
        f'<dl class="bars">{rows}</dl></figure>'
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr{_kind(row)}><th>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="table"><h2>{escape(table.title)}</h2><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def _kind(row: list[str]) -> str:
    return ' class="broken"' if row[-1] == "BROKEN" else ""
