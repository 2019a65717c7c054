"""Owns the Markdown summary of a run."""

from datetime import UTC, datetime

from loadtest.report.tables import Table, headline, tables
from loadtest.results import Run
from loadtest.slo import Verdict


def markdown(run: Run, verdict: Verdict) -> str:
    """Write the verdict, the notes and the tables."""
    began = datetime.fromtimestamp(run.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    parts = [
        f"# Load test: {run.scenario}",
        f"{run.target}, {began}",
        f"**{'All limits were kept.' if verdict.is_kept else 'Limits were broken:'}**",
    ]
    if verdict.broken:
        parts.append("\n".join(f"- {_escape(sentence)}" for sentence in verdict.broken))
    if verdict.notes:
        parts.append("To be read with it:")
        parts.append("\n".join(f"- {_escape(sentence)}" for sentence in verdict.notes))
    parts.append(table(Table("", ["figure", ""], [list(pair) for pair in headline(run)])))
    for one in tables(run, verdict):
        parts += [f"## {one.title}", table(one)]
    return "\n\n".join(parts) + "\n"


def table(of: Table) -> str:
    """Write a table."""
    aligned = ["---", *("---:" for _ in of.columns[1:])]
    rows = [of.columns, aligned, *([_escape(cell) for cell in row] for row in of.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
