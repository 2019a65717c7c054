"""Tests of where a view's arguments come from: request, connection, providers, `Depends`."""

from typing import Annotated, Any

import pytest
from starlette.requests import HTTPConnection, Request

from server import (
    Cookie,
    Depends,
    Header,
    ParameterError,
    Query,
    RecursiveProviderError,
    provider,
    useprovider,
)
from server.providers import ProviderStore
from tests.server.injection_caller import app_values, call, planner, store

__all__ = ["app_values", "call", "planner", "store"]  # fixtures


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
