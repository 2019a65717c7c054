"""Owns a store of providers for each test, and what makes arguments as the pipeline does."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from server import providers
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
