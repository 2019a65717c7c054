"""Owns a router to register routes at, and how tests look at what it then has."""

import pytest

from server import Router
from server.websocket_route import WebSocketRoute


async def view(ws): ...


def only(router: Router) -> WebSocketRoute:
    (route,) = router.websocket_list
    return route


def patterns(router: Router) -> list[str]:
    return [route.pattern.text for route in router.websocket_list]


@pytest.fixture
def router() -> Router:
    return Router()
