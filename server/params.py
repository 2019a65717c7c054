"""Owns the way from a view's signature to its arguments; knows requests only as text values.

`read_signature` runs once, at registration; `Parameter.read` converts the text of one request.
Conversion is msgspec's lax mode, with stricter words for booleans and no non-finite floats.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

import msgspec

from server.exceptions import ParameterError

Source = Literal["path", "query", "header", "cookie"]
MISSING: Any = inspect.Parameter.empty
MAX_VALUE_BYTES = 8192
_TRUE = frozenset(("true", "on", "1"))
_FALSE = frozenset(("false", "off", "0"))
_MANY = (list, set, tuple, frozenset)


@dataclass(frozen=True)
class _Marker:
    alias: str | None = None
    default: Any = field(default=MISSING, kw_only=True)


class Query(_Marker):
    """`Annotated[T, Query(alias="q")]`: read the query string, under another name if given."""


class Header(_Marker):
    """`Annotated[T, Header()]`: read a header; `_` in the parameter's name stands for `-`."""


class Cookie(_Marker):
    """`Annotated[T, Cookie()]`: read a cookie."""


@dataclass(frozen=True)
class Depends:
    """`Annotated[T, Depends(fn)]`: call `fn`, whose own parameters are resolved the same way.

    `fn` may be a function or a generator function, sync or async; a generator is resumed after
    the view. Its value is kept for the connection, so two uses of one function share it.
    """

    dependency: Callable[..., Any]


class Values(Protocol):
    """A multidict: `[name]` is the last value, `getlist` all of them."""

    def getlist(self, key: str, /) -> list[str]: ...

    def keys(self) -> Any: ...


class RequestValues(Protocol):
    """The text of one request, as Starlette's HTTPConnection has it."""

    @property
    def query_params(self) -> Any: ...

    @property
    def headers(self) -> Any: ...

    @property
    def cookies(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Parameter:
    """Where one argument comes from and what it becomes.

    Attributes:
        name: the view's parameter.
        wire_name: the name in the request.
        type: what msgspec converts to; `Any` keeps the text.
        default: used when the request has no value; `MISSING` makes it required.
        is_explicit: marked with Query, Header or Cookie, so no provider takes its place.
    """

    name: str
    source: Source
    wire_name: str
    type: Any
    default: Any
    is_explicit: bool

    def read(self, request: RequestValues, path_params: Mapping[str, str]) -> Any:
        """Return the converted value, or the default.

        Raises:
            ParameterError: missing without default (422), too long or not convertible (400).
        """
        if _is_struct(self.type) and self.source == "query":
            return self._convert(_fields(self.type, request.query_params))
        values = self._texts(request, path_params)
        if not values:
            if self.default is MISSING:
                raise ParameterError(self.source, self.wire_name, "is required", status=422)
            return self.default
        for value in values:
            if len(value) > MAX_VALUE_BYTES or len(value.encode()) > MAX_VALUE_BYTES:
                problem = f"is too long, the limit is {MAX_VALUE_BYTES} bytes"
                raise ParameterError(self.source, self.wire_name, problem)
        if get_origin(_bare(self.type)) in _MANY or _bare(self.type) in _MANY:
            return self._convert(values)
        return self._convert(values[-1])

    def _texts(self, request: RequestValues, path_params: Mapping[str, str]) -> Sequence[str]:
        if self.source == "query":
            return typing.cast("list[str]", request.query_params.getlist(self.wire_name))
        if self.source == "header":
            return typing.cast("list[str]", request.headers.getlist(self.wire_name))
        mapping = path_params if self.source == "path" else request.cookies
        value = mapping.get(self.wire_name)
        return () if value is None else (value,)

    def _convert(self, value: Any) -> Any:
        try:
            return convert(value, self.type)
        except (msgspec.ValidationError, ValueError) as error:
            raise ParameterError(self.source, self.wire_name, str(error)) from None


@dataclass(frozen=True)
class Signature:
    """What a view needs beside its connection.

    Attributes:
        parameters: read from the request, unless a provider of that name exists.
        depends: argument name -> dependency function.
        annotations: argument name -> evaluated annotation, for telling connections apart.
    """

    parameters: tuple[Parameter, ...]
    depends: Mapping[str, Callable[..., Any]]
    annotations: Mapping[str, Any]


def convert(value: Any, type_: Any) -> Any:
    """Convert text (or a list or dict of text) to `type_`.

    Raises:
        msgspec.ValidationError: it does not convert; the message says what was expected.
    """
    if type_ is Any or type_ is str:
        return value
    if _bare(type_) is bool and isinstance(value, str):
        return _word_to_bool(value)
    result = msgspec.convert(value, type_, strict=False)
    _refuse_non_finite(result)
    return result


def _word_to_bool(word: str) -> bool:
    lower = word.lower()
    if lower in _TRUE:
        return True
    if lower in _FALSE:
        return False
    raise msgspec.ValidationError("Expected one of true, false, on, off, 1, 0")


def _refuse_non_finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise msgspec.ValidationError("Expected a finite number")
    if isinstance(value, _MANY):
        for item in value:
            _refuse_non_finite(item)


def _bare(type_: Any) -> Any:
    """Strip Annotated and `| None`: what a single text value has to become."""
    if get_origin(type_) is Annotated:
        return _bare(get_args(type_)[0])
    if get_origin(type_) in (Union, types.UnionType):
        rest = [arg for arg in get_args(type_) if arg is not type(None)]
        if len(rest) == 1:
            return _bare(rest[0])
    return type_


def _is_struct(type_: Any) -> bool:
    bare = _bare(type_)
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _fields(type_: Any, query: Any) -> dict[str, Any]:
    """Collect a Struct's fields from the query string."""
    texts: dict[str, Any] = {}
    for info in msgspec.structs.fields(_bare(type_)):
        values = query.getlist(info.encode_name)
        if values:
            many = get_origin(_bare(info.type)) in _MANY or _bare(info.type) in _MANY
            texts[info.encode_name] = values if many else values[-1]
    return texts


def read_signature(
    function: Callable[..., Any], path_names: Sequence[str], *, skip_first: bool = True
) -> Signature:
    """Read how `function` is to be called.

    Args:
        function: a view, provider or dependency.
        path_names: the route pattern's parameters.
        skip_first: the first positional parameter is the connection and is passed by position.

    Raises:
        TypeError: an annotation cannot be evaluated, or is a type msgspec cannot convert to.
    """
    parameters: list[Parameter] = []
    depends: dict[str, Callable[..., Any]] = {}
    annotations: dict[str, Any] = {}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    arguments = [p for p in inspect.signature(function).parameters.values()]
    for index, argument in enumerate(arguments):
        if argument.kind in variadic or (skip_first and index == 0):
            continue
        annotation = _evaluate(function, argument)
        annotations[argument.name] = annotation
        marker, default = _marker(annotation, argument.default)
        if isinstance(marker, Depends):
            depends[argument.name] = marker.dependency
        else:
            parameters.append(_parameter(argument.name, annotation, default, marker, path_names))
    return Signature(tuple(parameters), depends, annotations)


def _evaluate(function: Callable[..., Any], argument: inspect.Parameter) -> Any:
    annotation = argument.annotation
    if annotation is MISSING:
        return Any
    if not isinstance(annotation, str):
        return annotation
    namespace = inspect.unwrap(function)
    scope = dict(getattr(namespace, "__globals__", {}))
    if inspect.isfunction(namespace):
        scope.update(inspect.getclosurevars(namespace).nonlocals)
    try:
        return eval(annotation, scope)  # noqa: S307 - the programmer's own annotation, as typing does
    except Exception as error:
        raise TypeError(
            f"{_name(function)}(): cannot evaluate the annotation {annotation!r} of"
            f" {argument.name!r}: {error}; define that name at module level"
        ) from error


def _marker(annotation: Any, default: Any) -> tuple[_Marker | Depends | None, Any]:
    if isinstance(default, Depends):
        return default, MISSING
    if isinstance(default, _Marker):
        return default, default.default
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, type) and issubclass(extra, _Marker):
                extra = extra()
            if isinstance(extra, _Marker | Depends):
                return extra, default
    return None, default


def _parameter(
    name: str,
    annotation: Any,
    default: Any,
    marker: _Marker | None,
    path_names: Sequence[str],
) -> Parameter:
    source: Source = "query"
    wire_name = name
    if isinstance(marker, Header):
        source, wire_name = "header", name.replace("_", "-")
    elif isinstance(marker, Cookie):
        source = "cookie"
    elif marker is None and name in path_names:
        source, default = "path", MISSING
    if marker is not None and default is MISSING:
        default = marker.default
    if marker is not None and marker.alias:
        wire_name = marker.alias
    return Parameter(name, source, wire_name, annotation, default, marker is not None)


def check_convertible(function: Callable[..., Any], parameter: Parameter) -> None:
    """Refuse a parameter type that no text converts to.

    Raises:
        TypeError: names the function, the parameter and the type.
    """
    try:
        msgspec.json.Decoder(parameter.type)
    except (TypeError, RuntimeError, NameError) as error:
        raise TypeError(
            f"{_name(function)}(): parameter {parameter.name!r} has type {parameter.type!r},"
            f" which no {parameter.source} value converts to: {error}"
        ) from None


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
