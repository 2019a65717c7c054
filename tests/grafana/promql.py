"""Owns the comparison of PromQL with the catalog: metrics, labels and values that there are."""

from collections.abc import Iterable, Iterator

from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Expr,
    MatrixSelector,
    VectorSelector,
    parse,
    walk,
)

from server.metrics.catalog import LABELS, METRICS

OF_THE_TARGET = frozenset(("job", "instance"))
_VALUES = {label.name: label.values for label in LABELS if label.values}


def series() -> dict[str, frozenset[str]]:
    """Return the labels of every series that a scrape brings, by the name of the series."""
    found = {"up": OF_THE_TARGET}
    for metric in METRICS:
        labels = OF_THE_TARGET | set(metric.labels)
        if metric.buckets:
            found[f"{metric.name}_bucket"] = labels | {"le"}
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = labels
        else:
            found[metric.name] = labels
    return found


def level_labels(recorded: str) -> frozenset[str]:
    """Return the labels of a recorded series, which its name begins with."""
    level, _, _ = recorded.partition(":")
    return OF_THE_TARGET | set(level.split("_"))


def problems(query: str, recorded: Iterable[str]) -> list[str]:
    """Say what a query asks for that is not there.

    Raises:
        ValueError: it is no PromQL.
    """
    known = series() | {name: level_labels(name) for name in recorded}
    found: list[str] = []
    for node in _nodes(parse(query)):
        found += _of_node(node, known)
    return found


def names(query: str) -> set[str]:
    """Return the names of the series that a query asks for."""
    return {node.name or "" for node in _nodes(parse(query)) if isinstance(node, VectorSelector)}


def _of_node(node: Expr, known: dict[str, frozenset[str]]) -> Iterator[str]:
    if isinstance(node, VectorSelector):
        yield from _of_selector(node, known)
    elif isinstance(node, AggregateExpr) and node.modifier is not None:
        yield from _unknown(node.modifier.labels, node.expr, known)
    elif isinstance(node, BinaryExpr) and node.modifier is not None:
        matching = node.modifier.matching
        if matching is not None:
            for side in (node.lhs, node.rhs):
                yield from _unknown(matching.labels, side, known)


def _of_selector(selector: VectorSelector, known: dict[str, frozenset[str]]) -> Iterator[str]:
    name = selector.name or ""
    if name not in known:
        yield f"there is no series {name!r}"
        return
    for matcher in selector.matchers.matchers:
        if matcher.name not in known[name]:
            yield f"{name} has no label {matcher.name!r}"
        for value in matcher.value.split("|"):
            if matcher.name in _VALUES and value not in _VALUES[matcher.name]:
                yield f"{matcher.name} is never {value!r}"


def _unknown(
    labels: Iterable[str], expression: Expr, known: dict[str, frozenset[str]]
) -> Iterator[str]:
    """Labels that no series of an expression has."""
    there = {
        label
        for node in _nodes(expression)
        if isinstance(node, VectorSelector)
        for label in known.get(node.name or "", frozenset())
    }
    for label in labels:
        if label not in there:
            text = " ".join(expression.prettify().split())
            yield f"nothing in {text} has {label!r}"


def _nodes(expression: Expr) -> list[Expr]:
    nodes: list[Expr] = []

    def visit(node: Expr) -> bool:
        nodes.append(node)
        if isinstance(node, MatrixSelector):
            nodes.append(node.vector_selector)
        return True

    walk(expression, visit)
    return nodes
