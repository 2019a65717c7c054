"""Owns the way from a view's signature to its arguments; knows requests only as text values.

`read_signature` runs once, at registration; `Parameter.read` converts the text of one request.
Conversion is msgspec's lax mode, with stricter words for booleans and no non-finite floats.
"""

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin

import msgspec

from server.cookies import read_cookies
from server.exceptions import ParameterError

Source = Literal["path", "query", "header", "cookie"]
MISSING: Any = inspect.Parameter.empty
MAX_VALUE_BYTES = 8192
_TRUE = frozenset(("true", "on", "1"))
_FALSE = frozenset(("false", "off", "0"))
_MANY = (list, set, tuple, frozenset)
_MANY_TYPES = (*_MANY, Sequence, AbstractSet, Collection)
_TEXTLESS = (
    msgspec.inspect.CollectionType,
    msgspec.inspect.CustomType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.DictType,
    msgspec.inspect.ExtType,
    msgspec.inspect.NamedTupleType,
    msgspec.inspect.NoneType,
    msgspec.inspect.StructType,
    msgspec.inspect.TupleType,
    msgspec.inspect.TypedDictType,
)


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


class RequestValues(Protocol):
    """The text of one request, as Starlette's HTTPConnection has it."""

    @property
    def query_params(self) -> Any: ...

    @property
    def headers(self) -> Any: ...


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
            return self._read_struct(request.query_params)
        return self._value(self._texts(request, path_params))

    def _read_struct(self, query: Any) -> Any:
        """Read each field as a query parameter of its own."""
        fields = msgspec.structs.fields(_bare(self.type))
        given = [(info, query.getlist(info.encode_name)) for info in fields]
        if self.default is not MISSING and not any(texts for _, texts in given):
            return self.default
        arguments = {}
        for info, texts in given:
            if texts or info.required:
                field_of = Parameter(info.name, "query", info.encode_name, info.type, MISSING, True)
                arguments[info.name] = field_of._value(texts)
        try:
            return _bare(self.type)(**arguments)
        except (TypeError, ValueError) as error:  # from its __post_init__
            raise ParameterError(self.source, self.wire_name, str(error)) from None

    def _value(self, texts: Sequence[str]) -> Any:
        if not texts:
            if self.default is MISSING:
                raise ParameterError(self.source, self.wire_name, "is required", status=422)
            return self.default
        for text in texts:
            if len(text.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
                problem = f"is too long, the limit is {MAX_VALUE_BYTES} bytes"
                raise ParameterError(self.source, self.wire_name, problem)
        try:
            return convert(list(texts) if _is_many(self.type) else texts[-1], self.type)
        except (TypeError, ValueError) as error:
            raise ParameterError(self.source, self.wire_name, str(error)) from None

    def _texts(self, request: RequestValues, path_params: Mapping[str, str]) -> Sequence[str]:
        if self.source == "query":
            return typing.cast("list[str]", request.query_params.getlist(self.wire_name))
        if self.source == "header":
            return typing.cast("list[str]", request.headers.getlist(self.wire_name))
        if self.source == "path":
            value = path_params.get(self.wire_name)
        else:
            value = read_cookies(request.headers.getlist("cookie")).get(self.wire_name)
        return () if value is None else (value,)


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


def convert(value: str | list[str], type_: Any) -> Any:
    """Convert text to `type_`, or a list of texts to a collection type.

    Raises:
        msgspec.ValidationError: it does not convert; the message says what was expected.
        ValueError: it has half of a surrogate pair, so it is no Unicode text.
        TypeError: a member of a set cannot be hashed, as the Decimal `sNaN`.
    """
    if type_ is Any or type_ is str:
        return value
    bare = _bare(type_)
    if isinstance(value, list):
        prepared: Any = [_prepare(text, _item_type(bare, i)) for i, text in enumerate(value)]
    else:
        prepared = _prepare(value, bare)
    result = msgspec.convert(prepared, type_, strict=False)
    _refuse_non_finite(result)
    return result


def _prepare(text: str, type_: Any) -> str | bool:
    return _word_to_bool(text) if _bare(type_) is bool else text


def _item_type(collection: Any, index: int) -> Any:
    items = get_args(collection)
    if get_origin(collection) is tuple and items[-1:] != (...,):
        return items[index] if index < len(items) else Any
    return items[0] if items else Any


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
    if isinstance(value, Decimal) and not value.is_finite():
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
    bare = get_origin(bare) or bare
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _is_many(type_: Any) -> bool:
    """Whether all values of a repeated key are taken, not only the last."""
    bare = _bare(type_)
    return bare in _MANY_TYPES or get_origin(bare) in _MANY_TYPES


def read_signature(
    function: Callable[..., Any], path_names: Sequence[str], *, skip_first: bool = True
) -> Signature:
    """Read how `function` is to be called.

    Args:
        function: a view, provider or dependency.
        path_names: the route pattern's parameters.
        skip_first: the first positional parameter is the connection and is passed by position.

    Raises:
        TypeError: an annotation cannot be evaluated, a parameter can only be passed by position,
            or `Depends` has no function.
    """
    parameters: list[Parameter] = []
    depends: dict[str, Callable[..., Any]] = {}
    annotations: dict[str, Any] = {}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for index, argument in enumerate(inspect.signature(function).parameters.values()):
        if argument.kind in variadic or (skip_first and index == 0):
            continue
        if argument.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{_name(function)}(): {argument.name!r} is positional-only, but is passed by name"
            )
        annotation = _evaluate(function, argument)
        annotations[argument.name] = annotation
        marker, default = _marker(function, argument, annotation)
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
    try:
        return eval(annotation, _scope(function))  # noqa: S307 - the programmer's own annotation, as typing does
    except Exception as error:
        raise TypeError(
            f"{_name(function)}(): cannot evaluate the annotation {annotation!r} of"
            f" {argument.name!r}: {error}; define that name at module level"
        ) from error


def _scope(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names that the function's annotations were written with."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    scope = dict(getattr(function, "__globals__", {}))
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=True):
        try:
            scope[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            pass
    return scope


def _marker(
    function: Callable[..., Any], argument: inspect.Parameter, annotation: Any
) -> tuple[_Marker | Depends | None, Any]:
    for index, extra in enumerate((argument.default, *_extras(annotation))):
        if extra is Depends:
            raise TypeError(f"{_name(function)}(): {argument.name!r}: write Depends(function)")
        marker = extra() if isinstance(extra, type) and issubclass(extra, _Marker) else extra
        if isinstance(marker, _Marker | Depends):
            return marker, MISSING if index == 0 else argument.default
    return None, argument.default


def _extras(annotation: Any) -> list[Any]:
    """Return what `Annotated` adds, also inside `Annotated[...] | None`."""
    args = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return list(args[1:])
    if get_origin(annotation) in (Union, types.UnionType):
        return [extra for arg in args for extra in _extras(arg)]
    return []


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
    """Refuse a parameter type that no text converts to; a provider was meant, most likely.

    Raises:
        TypeError: names the function, the parameter and the type.
    """
    problem = ""
    try:
        info = msgspec.inspect.type_info(_bare(parameter.type))
    except (TypeError, RuntimeError, NameError) as error:
        problem = f": {error}"
    else:
        is_query_struct = parameter.source == "query" and _is_struct(parameter.type)
        if is_query_struct or all(map(_takes_text, _items(info))):
            return
    raise TypeError(
        f"{_name(function)}(): parameter {parameter.name!r} has type {parameter.type!r}, which no"
        f" {parameter.source} value converts to, and no provider is called so{problem}"
    )


def _items(info: Any) -> Sequence[Any]:
    """Return what single texts have to become: a collection's items, or the type itself."""
    if isinstance(info, msgspec.inspect.TupleType):
        return info.item_types
    return (info.item_type,) if isinstance(info, msgspec.inspect.CollectionType) else (info,)


def _takes_text(info: Any) -> bool:
    if isinstance(info, msgspec.inspect.Metadata):
        return _takes_text(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return any(map(_takes_text, info.types))
    return not isinstance(info, _TEXTLESS)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
