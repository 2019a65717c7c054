"""Tests of the making of a view's arguments: order, scopes, circles, laziness, teardown."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from starlette.requests import HTTPConnection, Request

from server import (
    Cookie,
    Depends,
    Header,
    ParameterError,
    ProviderDeclarationError,
    ProviderDoesNotExist,
    Query,
    RecursiveProviderError,
    override_provider,
    provider,
    providers,
    useprovider,
)
from server.injection import AppValues, Plan, Planner, RequestValues
from server.providers import ProviderStore
from tests.support.scopes import connection


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> ProviderStore:
    """Take the place of the store that every declaration goes to."""
    fresh = ProviderStore()
    monkeypatch.setattr(providers, "STORE", fresh)
    return fresh


@pytest.fixture
def planner(store: ProviderStore) -> Planner:
    return Planner(store, (HTTPConnection,))


@pytest.fixture
def app_values() -> AppValues:
    return AppValues()


class Caller:
    """Calls views as the pipeline does; `log` is for what providers want to tell."""

    def __init__(self, planner: Planner, app_values: AppValues) -> None:
        self._planner = planner
        self.app_values = app_values
        self.log: list[str] = []

    def plan(self, view: Callable[..., Any], path_names: tuple[str, ...] = ()) -> Plan:
        return self._planner.plan(view, path_names)

    @asynccontextmanager
    async def arguments(
        self,
        view: Callable[..., Any],
        query: str = "",
        path: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        request = connection(query, headers or {})
        values = RequestValues(request, request, path or {})
        try:
            yield await values.arguments(self.plan(view, tuple(path or ())), self.app_values)
        finally:
            await values.close()

    async def __call__(self, view: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        async with self.arguments(view, *args, **kwargs) as arguments:
            return await view("ws", **arguments)


@pytest.fixture
def call(planner: Planner, app_values: AppValues) -> Caller:
    return Caller(planner, app_values)


# -- where an argument comes from ------------------------------------------------------------------


async def test_provider_is_found_by_the_parameters_name(call):
    provider(lambda: ["hello"], name="history")

    async def view(ws, history, other: int):
        return history, other

    assert await call(view, "history=x&other=1") == (["hello"], 1)


async def test_annotation_of_a_provided_parameter_does_not_matter(call):
    class Database: ...

    database = Database()
    provider(lambda: database, name="db")

    async def view(ws, db: Database, *, again: int = 0):
        return db

    assert await call(view) is database


async def test_path_wins_over_provider(call):
    provider(lambda: "provided", name="item")

    async def view(ws, item):
        return item

    assert await call(view, path={"item": "path"}) == "path"
    assert await call(view) == "provided"


async def test_path_wins_over_the_connection(call):
    async def view(ws, request, websocket: str):
        return request, websocket

    assert await call(view, path={"request": "a", "websocket": "b"}) == ("a", "b")


async def test_marked_parameter_is_read_from_the_request_though_a_provider_has_its_name(call):
    provider(lambda: "provided", name="a")
    provider(lambda: "provided", name="b")

    async def view(ws, a: Annotated[str, Query()], b=Header(default="")):
        return a, b

    assert await call(view, "a=1", headers={"b": "2"}) == ("1", "2")


async def test_marked_parameter_is_no_connection_though_it_has_its_name(call):
    async def view(ws, request=Query(default=""), websocket=Cookie(default="")):
        return request, websocket

    assert await call(view, "request=1", headers={"cookie": "websocket=2"}) == ("1", "2")


@pytest.mark.parametrize(
    "by_name",
    [lambda ws: ws, lambda websocket: websocket, lambda request: request],
    ids=["ws", "websocket", "request"],
)
async def test_connection_is_known_by_name_or_by_type(call, by_name):
    def by_type(conn: HTTPConnection):
        return conn

    provider(by_name, name="one")
    provider(by_type, name="two")

    async def view(ws, one, two):
        return one, two

    one, two = await call(view)
    assert isinstance(one, HTTPConnection)
    assert one is two


async def test_annotated_name_of_the_connection_is_a_request_value(call):
    async def view(ws, request: str):
        return request

    assert await call(view, "request=x") == "x"


def test_connection_of_another_kind_is_no_connection(call):
    async def view(ws, conn: ProviderStore): ...

    with pytest.raises(TypeError, match=r"'conn' has type .*ProviderStore.* no provider"):
        call.plan(view)


def test_subclass_of_the_connection_type_is_one(call):
    async def view(ws, conn: Request): ...

    assert call.plan(view).inputs.connections == ("conn",)


async def test_providers_read_the_request_as_views_do(call):
    @provider
    def user(token: str, room: int, agent: Annotated[str, Header()] = ""):
        return token, room, agent

    async def view(ws, user):
        return user

    found = await call(view, "token=t", path={"room": "7"}, headers={"agent": "a"})
    assert found == ("t", 7, "a")


async def test_one_provider_reads_the_path_or_the_query_as_the_route_has_it(call):
    @provider
    def page(number: int):
        return number

    async def view(ws, page):
        return page

    assert await call(view, "number=1", path={"number": "2"}) == 2
    assert await call(view, "number=1") == 1


async def test_provider_with_a_bad_request_value_refuses(call):
    @provider
    def user(token: int):
        return token

    async def view(ws, user): ...

    with pytest.raises(ParameterError, match="'token': Expected `int`"):
        await call(view, "token=x")
    with pytest.raises(ParameterError, match="'token': is required") as caught:
        await call(view)
    assert caught.value.status == 422


async def test_views_own_values_are_checked_before_anything_is_made(call):
    provider(lambda: call.log.append("made"), name="db", autouse=True)

    async def view(ws, db, n: int): ...

    with pytest.raises(ParameterError):
        await call(view, "n=x")
    assert call.log == []


def test_plain_view_needs_nothing_made(call):
    provider(lambda: 1, name="db")

    async def plain(ws, n: int, request): ...

    async def provided(ws, db): ...

    @useprovider("db")
    async def using(ws): ...

    assert [call.plan(view).is_plain for view in (plain, provided, using)] == [True, False, False]


def test_impossible_type_names_the_function_that_has_it(call):
    @provider
    def user(session: object): ...

    async def view(ws, user): ...

    with pytest.raises(TypeError, match=r"user\(\): parameter 'session' has type"):
        call.plan(view)


# -- Depends ---------------------------------------------------------------------------------------


async def test_depends_calls_the_function_with_arguments_of_its_own(call):
    provider(lambda: "db", name="db")

    def paging(limit: int = 10, db=None):
        return limit, db

    async def view(ws, page: Annotated[Any, Depends(paging)], again=Depends(paging)):
        return page, again

    page, again = await call(view, "limit=5")
    assert page == (5, "db")
    assert page is again


async def test_depends_takes_all_four_kinds_of_functions(call):
    def function():
        return 1

    async def coroutine_function():
        return 2

    def generator():
        yield 3
        call.log.append("generator ends")

    async def async_generator():
        yield 4
        call.log.append("async generator ends")

    async def view(
        ws,
        a=Depends(function),
        b=Depends(coroutine_function),
        c=Depends(generator),
        d=Depends(async_generator),
    ):
        call.log.append("view")
        return a, b, c, d

    assert await call(view) == (1, 2, 3, 4)
    assert call.log == ["view", "async generator ends", "generator ends"]


async def test_depends_may_be_a_callable_object(call):
    class Limit:
        def __init__(self, limit):
            self.limit = limit

        async def __call__(self, n: int):
            return min(n, self.limit)

    limit = Depends(Limit(5))

    async def view(ws, n=limit):
        return n

    assert await call(view, "n=7") == 5


def test_depends_on_itself_is_a_circle(call):
    def outer(inner): ...

    outer.__annotations__["inner"] = Annotated[int, Depends(outer)]

    async def view(ws, value=Depends(outer)): ...

    with pytest.raises(RecursiveProviderError, match="outer"):
        call.plan(view)


# -- order and sharing -----------------------------------------------------------------------------


async def test_order_is_autouse_then_useprovider_then_parameters(call):
    def declare(name: str, autouse: bool = False) -> None:
        provider(lambda: call.log.append(name), name=name, autouse=autouse)

    for name in ("z", "y", "x", "w", "v"):
        declare(name)
    declare("auto_2", autouse=True)
    declare("auto_1", autouse=True)

    def dependency():
        call.log.append("dependency")

    @useprovider("w", "v")
    @useprovider("x")
    async def view(ws, z, other=Depends(dependency), y=None):
        call.log.append("view")

    await call(view)
    assert call.log == ["auto_2", "auto_1", "w", "v", "x", "z", "dependency", "y", "view"]


async def test_inputs_of_a_provider_are_made_left_to_right_before_it(call):
    provider(lambda: call.log.append("a"), name="a")
    provider(lambda: call.log.append("b"), name="b")

    @provider
    def both(b, a):
        call.log.append("both")

    async def view(ws, both, a): ...

    await call(view)
    assert call.log == ["b", "a", "both"]


async def test_request_value_is_made_once_per_connection(call):
    @provider(autouse=True)
    def session():
        return object()

    @provider
    def user(session):
        return session

    @useprovider("session", "user")
    async def view(ws, session, user):
        return session, user

    first, second = await call(view), await call(view)
    assert first[0] is first[1]
    assert first[0] is not second[0]


async def test_value_none_counts_as_made(call):
    provider(lambda: call.log.append("made"), name="nothing", autouse=True)

    async def view(ws, nothing):
        return nothing

    assert await call(view) is None
    assert call.log == ["made"]


def test_unknown_name_in_useprovider_is_an_error_of_the_plan(call):
    @useprovider("missing")
    async def view(ws): ...

    with pytest.raises(ProviderDoesNotExist, match="'missing'"):
        call.plan(view)


async def test_useprovider_with_an_object_makes_the_provider_in_force(call):
    real = provider(lambda: call.log.append("real"), name="db")

    @useprovider(real)
    async def view(ws): ...

    with override_provider("db", lambda: call.log.append("fake")):
        await call(view)
    await call(view)
    assert call.log == ["fake", "real"]


async def test_new_declaration_is_in_the_next_plan(call):
    @provider
    def outer(inner="default"):
        return inner

    async def view(ws, outer):
        return outer

    assert await call(view) == "default"
    old = call.plan(view)
    provider(lambda: "provided", name="inner")
    assert call.plan(view).version > old.version
    assert await call(view) == "provided"
    with override_provider("inner", "overridden"):
        assert await call(view) == "overridden"
    assert await call(view) == "provided"


# -- circles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "needs",
    [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}, {"a": "b", "b": "b"}],
    ids=["of 1", "of 2", "of 3", "further down"],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_circle_of_providers_is_refused(call, needs, lazy):
    functions = {"a": lambda a: a, "b": lambda b: b, "c": lambda c: c}
    for name, needed in needs.items():
        provider(functions[needed], name=name, lazy=lazy)

    async def view(ws, a): ...

    @useprovider("a")
    async def using(ws): ...

    for function in (view, using):
        with pytest.raises(RecursiveProviderError, match="needs itself"):
            call.plan(function)


def test_diamond_is_no_circle(call):
    provider(lambda: 1, name="base")
    provider(lambda base: base, name="left")
    provider(lambda base: base, name="right")

    async def view(ws, left, right, base): ...

    assert len(call.plan(view).inputs.nodes) == 3


# -- teardown --------------------------------------------------------------------------------------


def declare_generators(call: Caller) -> None:
    @provider
    def sync():
        call.log.append("sync begins")
        yield "s"
        call.log.append("sync ends")

    @provider(name="async_")
    async def asynchronous(sync):
        call.log.append("async begins")
        yield sync + "a"
        call.log.append("async ends")


async def test_generators_are_resumed_after_the_view_in_reverse_order(call):
    declare_generators(call)

    async def view(ws, async_):
        call.log.append("view")
        return async_

    assert await call(view) == "sa"
    assert call.log == ["sync begins", "async begins", "view", "async ends", "sync ends"]


async def test_exception_of_the_view_is_not_thrown_into_generators(call):
    declare_generators(call)

    async def view(ws, async_):
        raise KeyError

    with pytest.raises(KeyError):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_providers_made_so_far_are_torn_down_when_one_fails(call):
    declare_generators(call)

    @provider
    def failing():
        raise KeyError

    async def view(ws, async_, failing):
        call.log.append("view")

    with pytest.raises(KeyError):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_error_in_a_teardown_does_not_stop_the_others(call):
    declare_generators(call)

    @provider
    def bad_sync(sync):
        yield
        raise KeyError("sync")

    @provider
    async def bad_async(bad_sync):
        yield
        raise KeyError("async")

    async def view(ws, async_, bad_async): ...

    with pytest.raises(KeyError, match="sync"):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_teardown_runs_once(call, planner, app_values):
    declare_generators(call)

    async def view(ws, async_): ...

    values = RequestValues(connection(), connection(), {})
    await values.arguments(planner.plan(view, ()), app_values)
    await values.close()
    await values.close()
    assert call.log.count("sync ends") == call.log.count("async ends") == 1


async def test_generator_that_yields_twice_is_an_error_and_is_closed(call):
    @provider
    def sync():
        try:
            yield 1
            yield 2
        finally:
            call.log.append("sync closed")

    @provider(name="async_")
    async def asynchronous():
        try:
            yield 1
            yield 2
        finally:
            call.log.append("async closed")

    async def one(ws, sync): ...

    async def other(ws, async_): ...

    with pytest.raises(ProviderDeclarationError, match="'sync' must yield exactly once"):
        await call(one)
    with pytest.raises(ProviderDeclarationError, match="'async_' must yield exactly once"):
        await call(other)
    assert call.log == ["sync closed", "async closed"]


async def test_generator_that_does_not_yield_is_an_error(call):
    @provider
    def sync():
        if call.log:
            yield

    @provider(name="async_")
    async def asynchronous():
        if call.log:
            yield

    async def one(ws, sync): ...

    async def other(ws, async_): ...

    with pytest.raises(ProviderDeclarationError, match="'sync' must yield exactly once"):
        await call(one)
    with pytest.raises(ProviderDeclarationError, match="'async_' must yield exactly once"):
        await call(other)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_iteration_error_of_a_plain_provider_is_its_own(call, error):
    """A provider that runs `next()` on an empty iterator is not told to yield."""

    @provider
    async def empty():
        raise error

    async def view(ws, empty): ...

    with pytest.raises((RuntimeError, StopAsyncIteration)):
        await call(view)


# -- lazy ------------------------------------------------------------------------------------------


async def test_lazy_value_is_made_when_it_is_awaited(call):
    @provider(lazy=True)
    async def user():
        call.log.append("made")
        yield "ann"
        call.log.append("torn down")

    async def view(ws, user):
        call.log.append("view")
        return await user, await user

    assert await call(view) == ("ann", "ann")
    assert call.log == ["view", "made", "torn down"]


async def test_lazy_value_that_nobody_awaits_is_not_made(call):
    @provider(lazy=True)
    def user():
        call.log.append("made")
        yield

    async def view(ws, user): ...

    await call(view)
    assert call.log == []


async def test_lazy_value_may_be_awaited_by_a_provider(call):
    provider(lambda: "ann", name="user", lazy=True)

    @provider
    async def greeting(user):
        return "hello " + await user

    async def view(ws, greeting, user):
        return greeting, await user

    assert await call(view) == ("hello ann", "ann")


async def test_lazy_provider_is_made_at_once_for_useprovider(call):
    provider(lambda: call.log.append("made"), name="audit", lazy=True)

    @useprovider("audit")
    async def view(ws):
        call.log.append("view")

    await call(view)
    assert call.log == ["made", "view"]


async def test_lazy_request_value_is_checked_when_it_is_awaited(call):
    @provider(lazy=True)
    def user(token: int):
        return token

    async def view(ws, user):
        call.log.append("view")
        await user

    with pytest.raises(ParameterError):
        await call(view, "token=x")
    assert call.log == ["view"]


async def test_lazy_value_is_made_once_for_two_tasks(call):
    """Two lazy values share a third; everything is made once, whoever comes first."""
    started, gate = asyncio.Event(), asyncio.Event()

    @provider
    async def session():
        call.log.append("session")
        started.set()
        await gate.wait()
        return object()

    @provider(lazy=True)
    async def user(session):
        call.log.append("user")
        return session

    @provider(lazy=True)
    async def room(session):
        call.log.append("room")
        return session

    async def view(ws, user, room):
        async def await_(lazy):
            return await lazy

        tasks = [asyncio.create_task(await_(lazy)) for lazy in (user, user, room)]
        await started.wait()
        gate.set()
        return await asyncio.gather(*tasks)

    values = await call(view)
    assert len({id(value) for value in values}) == 1
    assert sorted(call.log) == ["room", "session", "user"]


async def test_lazy_value_that_failed_is_tried_again(call):
    @provider(lazy=True)
    def user():
        call.log.append("tried")
        if len(call.log) == 1:
            raise KeyError
        return "ann"

    async def view(ws, user):
        with pytest.raises(KeyError):
            await user
        return await user

    assert await call(view) == "ann"


# -- scope "app" -----------------------------------------------------------------------------------


async def test_app_value_is_made_once_and_shared(call):
    @provider(scope="app")
    def clients():
        call.log.append("made")
        return set()

    async def view(ws, clients):
        return clients

    async def other(ws, clients):
        return clients

    assert await call(view) is await call(other)
    assert await call(view, path={"item": "1"}) is await call(view)
    assert call.log == ["made"]


async def test_app_value_is_made_once_under_concurrency(call):
    started, gate = asyncio.Event(), asyncio.Event()

    @provider(scope="app")
    async def engine():
        call.log.append("engine")
        started.set()
        await gate.wait()
        return object()

    @provider(scope="app")
    async def pool(engine):
        call.log.append("pool")
        return engine

    async def view(ws, engine):
        return engine

    async def other(ws, pool):
        return pool

    tasks = [asyncio.create_task(call(function)) for function in (view, other) * 5]
    await started.wait()
    gate.set()
    assert len({id(value) for value in await asyncio.gather(*tasks)}) == 1
    assert call.log == ["engine", "pool"]


async def test_app_value_that_failed_is_tried_again(call):
    @provider(scope="app")
    def engine():
        call.log.append("tried")
        if len(call.log) == 1:
            raise KeyError
        return "engine"

    async def view(ws, engine):
        return engine

    with pytest.raises(KeyError):
        await call(view)
    assert await call(view) == "engine"


async def test_app_values_are_torn_down_at_the_end_in_reverse_order(call):
    @provider(scope="app")
    async def engine():
        yield "engine"
        call.log.append("engine ends")

    @provider(scope="app")
    def pool(engine):
        yield engine
        call.log.append("pool ends")

    @provider
    def session(pool):
        yield pool
        call.log.append("session ends")

    async def view(ws, session):
        return session

    assert await call(view) == "engine"
    assert call.log == ["session ends"]
    await call.app_values.close()
    assert call.log == ["session ends", "pool ends", "engine ends"]


async def test_error_in_the_teardown_of_one_app_value_does_not_stop_the_others(call):
    @provider(scope="app")
    def engine():
        yield
        call.log.append("engine ends")

    @provider(scope="app")
    def pool(engine):
        yield
        raise KeyError

    async def view(ws, pool): ...

    await call(view)
    with pytest.raises(KeyError):
        await call.app_values.close()
    assert call.log == ["engine ends"]


async def test_app_values_are_made_anew_after_their_end(call):
    @provider(scope="app")
    def state():
        return object()

    async def view(ws, state):
        return state

    first = await call(view)
    await call.app_values.close()
    assert await call(view) is not first


def test_app_values_may_be_used_in_one_event_loop_after_another(call):
    """Two tasks wait for one value in each loop, which binds asyncio's locks to the loop."""

    async def use() -> None:
        started, gate = asyncio.Event(), asyncio.Event()

        @provider(scope="app")
        async def engine():
            started.set()
            await gate.wait()

        async def view(ws, engine): ...

        tasks = [asyncio.create_task(call(view)) for _ in range(3)]
        await started.wait()
        gate.set()
        await asyncio.gather(*tasks)
        await call.app_values.close()

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.parametrize(
    "function",
    [
        lambda session: session,
        lambda ws: ws,
        lambda request: request,
        lambda token: token,
        lambda token="": token,
        lambda value=Depends(lambda: 1): value,
        lambda lazily: lazily,
    ],
    ids=["provider", "ws", "request", "query", "optional query", "Depends", "lazy provider"],
)
def test_app_provider_cannot_need_a_value_of_one_connection(call, function):
    provider(lambda: 1, name="session")
    provider(lambda: 1, name="lazily", lazy=True)
    provider(function, name="engine", scope="app")

    async def view(ws, engine): ...

    for _ in range(2):
        with pytest.raises(ProviderDeclarationError, match="'engine' of scope 'app' cannot need"):
            call.plan(view)


def test_app_provider_further_down_is_checked_too(call):
    provider(lambda token: token, name="engine", scope="app")
    provider(lambda engine: engine, name="session")

    async def view(ws, session): ...

    with pytest.raises(ProviderDeclarationError, match="'engine' of scope 'app'"):
        call.plan(view)


async def test_app_provider_may_need_app_providers(call):
    provider(lambda: 1, name="a", scope="app")
    provider(lambda a: a + 1, name="b", scope="app")

    async def view(ws, b):
        return b

    assert await call(view) == 2


async def test_override_of_an_app_provider_has_a_value_of_its_own(call):
    provider(lambda: "real", name="db", scope="app")

    async def view(ws, db):
        return db

    assert await call(view) == "real"
    with override_provider("db", "fake"):
        assert await call(view) == "fake"
    assert await call(view) == "real"
