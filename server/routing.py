"""Owns path patterns and the table that finds a route for a path; knows no view and no request.

`{name}` matches one path segment, `{name:path}` the rest of the path (it may be empty), `{}` the
rest without handing it to the view. Everything else is literal. Trailing slashes are significant.
"""

import re
from keyword import iskeyword
from typing import Generic, NamedTuple, TypeVar

from server.exceptions import RouteError

_FIELD = re.compile(r"\{([^{}]*)\}")
_SEGMENT = "[^/]+"
_REST = ".*"


class Pattern:
    """One compiled pattern.

    Attributes:
        text: the pattern as routes and metrics show it, with its leading slash.
        names: the parameters it extracts, in order.
        shape: the pattern without its names; equal shapes match the same paths.
        is_static: no parameters, so a path matches only if it is equal to `text`.

    Raises:
        RouteError: unbalanced braces, a parameter named twice, or a name that no Python
            parameter can have.
        TypeError: a converter other than `path`.
    """

    __slots__ = ("_regex", "is_static", "names", "shape", "text")

    def __init__(self, text: str) -> None:
        if not text.startswith("/") and text != "{}":
            text = "/" + text
        self.text = text
        self.names: list[str] = []
        regex, shape = "", ""
        position = 0
        for field in _FIELD.finditer(text):
            literal = self._literal(text[position : field.start()])
            expression = self._field(field[1])
            regex += re.escape(literal) + expression
            shape += literal + ("{}" if expression.endswith(_SEGMENT + ")") else "{:path}")
            position = field.end()
        literal = self._literal(text[position:])
        self._regex = re.compile(regex + re.escape(literal), re.DOTALL)
        self.shape = shape + literal
        self.is_static = position == 0

    def _literal(self, literal: str) -> str:
        if "{" in literal or "}" in literal:
            raise RouteError(f"route pattern {self.text!r}: unbalanced braces")
        return literal

    def _field(self, field: str) -> str:
        name, colon, converter = field.partition(":")
        if not field:
            return f"(?:{_REST})"
        if colon and converter != "path":
            raise TypeError(
                f"route pattern {self.text!r}: unknown converter {converter!r}; write"
                f" {{{name}}} and annotate the view's parameter, or {{{name}:path}}"
            )
        if not name.isidentifier() or iskeyword(name):
            raise RouteError(f"route pattern {self.text!r}: {name!r} is not a parameter name")
        if name in self.names:
            raise RouteError(f"route pattern {self.text!r}: parameter {name!r} appears twice")
        self.names.append(name)
        return f"(?P<{name}>{_REST if converter else _SEGMENT})"

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters of `path` as text, or None if it does not match."""
        match = self._regex.fullmatch(path)
        return match.groupdict() if match else None


def join_prefix(prefix: str, pattern: str) -> str:
    """Put a router's prefix before a pattern.

    Raises:
        RouteError: the prefix does not begin with a slash, or ends with one.
    """
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise RouteError(f"prefix {prefix!r} must begin with a slash and not end with one")
    if prefix and not pattern.startswith("/"):
        pattern = "/" + pattern
    return prefix + pattern


T = TypeVar("T")


class Found(NamedTuple, Generic[T]):
    """A route for a path, with the path's parameters as text."""

    route: T
    params: dict[str, str]


class RouteTable(Generic[T]):
    """Finds the route of a path: static patterns first, then the others in registration order."""

    def __init__(self) -> None:
        self._static: dict[str, T] = {}
        self._patterns: list[tuple[Pattern, T]] = []
        self._shapes: dict[str, str] = {}

    def add(self, pattern: Pattern, route: T) -> None:
        """Register `route`.

        Raises:
            RouteError: an earlier pattern matches the same paths.
        """
        taken = self._shapes.get(pattern.shape)
        if taken is not None:
            raise RouteError(
                f"route {pattern.text!r} is registered already"
                + (f" as {taken!r}" if taken != pattern.text else "")
            )
        self._shapes[pattern.shape] = pattern.text
        if pattern.is_static:
            self._static[pattern.text] = route
        else:
            self._patterns.append((pattern, route))

    def find(self, path: str) -> Found[T] | None:
        """Return the route for `path` and its parameters, or None."""
        route = self._static.get(path)
        if route is not None:
            return Found(route, {})
        for pattern, candidate in self._patterns:
            params = pattern.match(path)
            if params is not None:
                return Found(candidate, params)
        return None
