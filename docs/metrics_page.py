"""Owns docs/reference/metrics.md: it makes the page from the catalog, and knows no file."""

from collections.abc import Callable, Sequence

from server.metrics.catalog import LABELS, METRICS, SECTIONS, Label, Metric

Table = Callable[[tuple[str, ...], Sequence[tuple[str, ...]]], str]

HEAD = """\
# Metrics

All that `/metrics` of the admin port serves, for all workers at once. How they are counted and what
to ask them is told in [metrics](../topics/metrics.md).
"""

LABELS_HEAD = """\
## Labels

No label has a value that a client can make up. Where no values are listed, the app or the machine
decides.
"""

BUCKETS_HEAD = """\
## Buckets

Upper bounds; `+Inf` follows the last.
"""


def metrics_page(table: Table) -> str:
    """Return the page, with tables made by `table(header, rows)`."""
    parts = [HEAD]
    for title, metrics in SECTIONS.items():
        rows = [_metric_row(metric) for metric in metrics]
        parts.append(f"## {title}\n\n{table(('metric', 'type', 'labels', 'what it is'), rows)}")
    parts.append(LABELS_HEAD)
    rows = [_label_row(label) for label in LABELS]
    parts.append(table(("label", "what it is", "values"), rows))
    parts.append(BUCKETS_HEAD)
    rows = [_buckets_row(metric) for metric in METRICS if metric.buckets]
    parts.append(table(("histogram", "unit", "buckets"), rows))
    return "\n".join(parts)


def _metric_row(metric: Metric) -> tuple[str, ...]:
    return f"`{metric.name}`", metric.kind, _code(metric.labels), metric.help


def _label_row(label: Label) -> tuple[str, ...]:
    return f"`{label.name}`", label.meaning, _code(label.values)


def _buckets_row(metric: Metric) -> tuple[str, ...]:
    bounds = ", ".join(f"{bound:g}" for bound in metric.buckets)
    return f"`{metric.name}`", metric.unit, bounds


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
