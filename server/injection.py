"""Owns the making of a view's arguments: request values, providers, dependencies, teardown.

It knows signatures and providers; it does not know frames, routes or close codes.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from server.exceptions import ProviderDeclarationError, RecursiveProviderError
from server.params import Parameter, check_convertible, read_signature
from server.providers import Provider, ProviderStore, used_providers

_CONNECTION_NAMES = frozenset(("ws", "websocket", "request"))


@dataclass(frozen=True, eq=False)
class Node:
    """One value to make: a provider, or a `Depends` function, with what it needs itself."""

    label: str
    function: Callable[..., Any]
    is_app_scoped: bool
    is_lazy: bool
    inputs: "Inputs"


@dataclass(frozen=True)
class Inputs:
    """The arguments of one function: from the request, from other nodes, the connection."""

    parameters: tuple[Parameter, ...]
    nodes: tuple[tuple[str, Node], ...]
    connections: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All that one view needs, worked out once.

    Attributes:
        first: nodes made before the arguments: autouse, then `useprovider`.
        version: of the provider store it was made from.
    """

    inputs: Inputs
    first: tuple[Node, ...]
    version: int

    def all_nodes(self) -> Iterator[Node]:
        """Yield every node of the plan, what it needs before itself."""
        for node in (*self.first, *(node for _, node in self.inputs.nodes)):
            yield from _with_inputs(node)

    @property
    def is_plain(self) -> bool:
        """Only request values: nothing to make, nothing to tear down."""
        return not (self.first or self.inputs.nodes)


def _with_inputs(node: Node) -> Iterator[Node]:
    for _, inner in node.inputs.nodes:
        yield from _with_inputs(inner)
    yield node


class Planner:
    """Makes plans from signatures; finds circles and impossible types while doing so."""

    def __init__(self, store: ProviderStore, connection_types: tuple[type, ...]) -> None:
        self._store = store
        self._connection_types = connection_types
        self._nodes: dict[object, Node] = {}
        self._version = store.version

    def plan(self, view: Callable[..., Any], path_names: Sequence[str]) -> Plan:
        """Work out what `view` needs.

        Raises:
            ProviderDoesNotExist: `useprovider` names an unknown one.
            RecursiveProviderError: providers need each other in a circle.
            ProviderDeclarationError: an app-scoped provider needs something of one connection.
            TypeError: a parameter's type cannot be converted to.
        """
        if self._version != self._store.version:
            self._nodes.clear()
            self._version = self._store.version
        inputs = self._inputs(view, path_names, (), skip_first=True)
        used = [self._store.require(item) for item in used_providers(view)]
        first = [self._provider_node(item, path_names, ()) for item in self._store.autouse()]
        first += [self._provider_node(item, path_names, ()) for item in used]
        return Plan(inputs, tuple(first), self._store.version)

    def _inputs(
        self,
        function: Callable[..., Any],
        path_names: Sequence[str],
        chain: tuple[object, ...],
        *,
        skip_first: bool = False,
    ) -> Inputs:
        signature = read_signature(function, path_names, skip_first=skip_first)
        parameters: list[Parameter] = []
        nodes: list[tuple[str, Node]] = []
        connections: list[str] = []
        for name, dependency in signature.depends.items():
            nodes.append((name, self._function_node(dependency, path_names, chain)))
        for parameter in signature.parameters:
            provider = None
            if parameter.source == "query" and not parameter.is_explicit:
                provider = self._store.get(parameter.name)
            if provider is not None:
                nodes.append((parameter.name, self._provider_node(provider, path_names, chain)))
            elif self._is_connection(parameter, signature.annotations[parameter.name]):
                connections.append(parameter.name)
            else:
                check_convertible(function, parameter)
                parameters.append(parameter)
        order = list(signature.annotations)
        nodes.sort(key=lambda item: order.index(item[0]))
        return Inputs(tuple(parameters), tuple(nodes), tuple(connections))

    def _provider_node(
        self, provider: Provider, path_names: Sequence[str], chain: tuple[object, ...]
    ) -> Node:
        node = self._node(provider, provider.function, provider.name, path_names, chain, provider)
        if node.is_app_scoped:
            inner = [item for _, item in node.inputs.nodes if not item.is_app_scoped]
            if inner or node.inputs.parameters or node.inputs.connections:
                raise ProviderDeclarationError(
                    f"provider {provider.name!r} of scope 'app' cannot need a value of one"
                    " connection; give it scope 'request'"
                )
        return node

    def _function_node(
        self,
        function: Callable[..., Any],
        path_names: Sequence[str],
        chain: tuple[object, ...],
    ) -> Node:
        label = getattr(function, "__qualname__", repr(function))
        return self._node(function, function, label, path_names, chain, None)

    def _node(
        self,
        key: object,
        function: Callable[..., Any],
        label: str,
        path_names: Sequence[str],
        chain: tuple[object, ...],
        provider: Provider | None,
    ) -> Node:
        if key in chain:
            raise RecursiveProviderError(f"{label!r} needs itself, directly or through others")
        # Path names decide where a dependency's parameters come from, so they are part of the key.
        cache_key = (key, tuple(path_names))
        node = self._nodes.get(cache_key)
        if node is None:
            node = self._nodes[cache_key] = Node(
                label,
                function,
                provider is not None and provider.scope == "app",
                provider is not None and provider.lazy,
                self._inputs(function, path_names, (*chain, key)),
            )
        return node

    def _is_connection(self, parameter: Parameter, annotation: Any) -> bool:
        if parameter.source != "query" or parameter.is_explicit:
            return False
        if annotation is Any:  # which is a class itself, so it has to come first
            return parameter.name in _CONNECTION_NAMES
        return isinstance(annotation, type) and issubclass(annotation, self._connection_types)


class AppValues:
    """The values of app-scoped providers: made at most once, torn down at shutdown."""

    def __init__(self) -> None:
        self._values: dict[Callable[..., Any], Any] = {}
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def get(self, node: Node) -> Any:
        """Return the value, making it first if need be."""
        if node.function not in self._values:
            async with self._lock:
                await self._make(node)
        return self._values[node.function]

    async def _make(self, node: Node) -> None:
        if node.function in self._values:
            return
        arguments = {}
        for name, inner in node.inputs.nodes:
            await self._make(inner)
            arguments[name] = self._values[inner.function]
        self._values[node.function] = await _enter(node, arguments, self._stack)

    async def close(self) -> None:
        """Tear down in reverse order and forget the values."""
        self._values.clear()
        # A lock that was waited for belongs to that event loop; test clients start another.
        self._lock = asyncio.Lock()
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()


class RequestValues:
    """The values made for one connection or HTTP request, and their teardown."""

    def __init__(self, connection: Any, http: Any, path_params: Mapping[str, str]) -> None:
        self._connection = connection
        self._http = http
        self._path_params = path_params
        self._values: dict[Node, Any] = {}
        self._locks: dict[Node, asyncio.Lock] = {}
        self._stack = AsyncExitStack()

    async def arguments(self, plan: Plan, app_values: AppValues) -> dict[str, Any]:
        """Make everything in `plan`; the view's own request values are checked before that.

        Raises:
            ParameterError: a request value is missing or does not convert.
        """
        arguments = self._read(plan.inputs)
        if not plan.is_plain:
            for node in plan.first:
                await self._value(node, app_values)
            for name, node in plan.inputs.nodes:
                arguments[name] = await self._lazy_or_value(node, app_values)
        return arguments

    def _read(self, inputs: Inputs) -> dict[str, Any]:
        arguments = {
            parameter.name: parameter.read(self._http, self._path_params)
            for parameter in inputs.parameters
        }
        for name in inputs.connections:
            arguments[name] = self._connection
        return arguments

    async def _lazy_or_value(self, node: Node, app_values: AppValues) -> Any:
        if node.is_lazy:
            return Lazy(lambda: self._value(node, app_values))
        return await self._value(node, app_values)

    async def _value(self, node: Node, app_values: AppValues) -> Any:
        if node.is_app_scoped:
            return await app_values.get(node)
        if node not in self._values:
            # Two tasks of one view may await lazy values at the same time.
            async with self._locks.setdefault(node, asyncio.Lock()):
                if node not in self._values:
                    await self._make(node, app_values)
        return self._values[node]

    async def _make(self, node: Node, app_values: AppValues) -> None:
        arguments = self._read(node.inputs)
        for name, inner in node.inputs.nodes:
            arguments[name] = await self._lazy_or_value(inner, app_values)
        self._values[node] = await _enter(node, arguments, self._stack)

    async def close(self) -> None:
        """Tear down in reverse order; every teardown runs, the last error is raised."""
        await self._stack.aclose()


class Lazy(Awaitable[Any]):
    """What a view gets for a lazy provider: the value is made when it is awaited."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._make().__await__()  # type: ignore[no-any-return]


async def _enter(node: Node, arguments: dict[str, Any], stack: AsyncExitStack) -> Any:
    """Call the function; a generator's rest is put on `stack`.

    The view's exception is not thrown into generators: a teardown runs the same way however the
    view ended.
    """
    function = node.function
    try:
        if inspect.isasyncgenfunction(function):
            async_generator = function(**arguments)
            value = await anext(async_generator)
            stack.push_async_callback(_finish_async, node, async_generator)
            return value
        if inspect.isgeneratorfunction(function):
            generator = function(**arguments)
            value = next(generator)
            stack.callback(_finish, node, generator)
            return value
    except (StopIteration, StopAsyncIteration):
        raise _not_one_yield(node) from None
    value = function(**arguments)
    return await value if inspect.isawaitable(value) else value


async def _finish_async(node: Node, generator: Any) -> None:
    async for _ in generator:
        await generator.aclose()
        raise _not_one_yield(node)


def _finish(node: Node, generator: Any) -> None:
    for _ in generator:
        generator.close()
        raise _not_one_yield(node)


def _not_one_yield(node: Node) -> ProviderDeclarationError:
    return ProviderDeclarationError(f"{node.label!r} must yield exactly once")
