"""Tests of what is put under a prefix: routers in routers, and mounts."""

from typing import Any

import pytest

from server import RouteError, Router
from tests.server.registered_routes import only, patterns, router, view

__all__ = ["router"]  # a fixture


class Named(str):
    """Stands for an ASGI app that is told by its name."""

    __slots__ = ()

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """Never called here."""


# -- routers ---------------------------------------------------------------------------------------


def test_included_routes_keep_their_options_under_the_prefix(router):
    inner = Router()
    inner.websocket_route("/x", value_type="json", caught_close_codes=all, name="n")(view)
    inner.route("/page", methods=["POST"])(view)
    inner.mount("/files", Named("app"))
    router.include_router(inner, prefix="/api")
    route = only(router)
    assert route.pattern.text == "/api/x"
    assert (route.receive_type, route.name, route.view) == ("json", "n", view)
    assert route.caught_close_codes is all
    assert router.http_list[0].pattern.text == "/api/page"
    assert router.http_list[0].methods == ("POST",)
    assert [(mount.prefix, mount.app) for mount in router.mounts] == [("/api/files", "app")]
    assert patterns(inner) == ["/x"]


def test_prefix_may_be_left_out_and_may_have_parameters(router):
    inner = Router()
    inner.websocket_route("/x")(view)
    router.include_router(inner)
    router.include_router(inner, "/{tenant}")
    assert patterns(router) == ["/x", "/{tenant}/x"]
    found = router.websocket_routes.find("/acme/x")
    assert found is not None
    assert found.params == {"tenant": "acme"}


def test_parameter_of_the_prefix_must_not_be_one_of_the_pattern(router):
    inner = Router()
    inner.websocket_route("/{id}")(view)
    with pytest.raises(RouteError, match="'id' appears twice"):
        router.include_router(inner, "/{id}")


def test_lone_rest_in_a_router_means_the_rest_under_its_prefix(router):
    inner = Router()
    inner.websocket_route("{}")(view)
    router.include_router(inner, "/api")
    assert patterns(router) == ["/api/{}"]
    assert router.websocket_routes.find("/other") is None


def test_route_that_is_added_later_appears_in_every_including_router(router):
    middle, inner = Router(), Router()
    router.include_router(middle, "/a")
    middle.include_router(inner, "/b")
    inner.websocket_route("/x")(view)
    inner.websocket("/y")(view)
    inner.route("/page")(view)
    inner.mount_asgi("/files", Named("app"))
    assert patterns(router) == ["/a/b/x", "/a/b/y"]
    assert patterns(middle) == ["/b/x", "/b/y"]
    assert router.http_list[0].pattern.text == "/a/b/page"
    assert [(mount.prefix, mount.strips) for mount in router.mounts] == [("/a/b/files", False)]


def test_one_router_may_be_included_under_two_prefixes_but_not_twice_under_one(router):
    inner = Router()
    inner.websocket_route("/x")(view)
    router.include_router(inner, "/v1")
    router.include_router(inner, "/v2")
    assert patterns(router) == ["/v1/x", "/v2/x"]
    with pytest.raises(RouteError, match="registered already"):
        router.include_router(inner, "/v1")


@pytest.mark.parametrize("prefix", ["api", "/api/", "/"])
def test_bad_prefix_is_refused_even_for_an_empty_router(router, prefix):
    with pytest.raises(RouteError, match="prefix"):
        router.include_router(Router(), prefix)


def test_circle_of_routers_is_refused(router):
    middle, inner = Router(), Router()
    router.include_router(middle, "/a")
    middle.include_router(inner, "/b")
    for outer, included in ((router, router), (middle, router), (inner, router), (inner, middle)):
        with pytest.raises(RouteError, match="circle"):
            outer.include_router(included, "/c")


def test_diamond_of_routers_is_no_circle(router):
    left, right, inner = Router(), Router(), Router()
    inner.websocket_route("/x")(view)
    left.include_router(inner)
    right.include_router(inner)
    router.include_router(left, "/left")
    router.include_router(right, "/right")
    assert patterns(router) == ["/left/x", "/right/x"]


# -- mounts ----------------------------------------------------------------------------------------


def prefix_found(router: Router, path: str) -> Any:
    mount = router.find_mount(path)
    return None if mount is None else mount.prefix


def test_mount_strips_the_prefix_and_mount_asgi_keeps_it(router):
    router.mount("/sio", Named("socket.io"))
    router.mount_asgi("/asgi", Named("app"))
    assert [(mount.prefix, mount.app, mount.strips) for mount in router.mounts] == [
        ("/sio", "socket.io", True),
        ("/asgi", "app", False),
    ]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/a", "/a"),
        ("/a/", "/a"),
        ("/a/x", "/a"),
        ("/a/b", "/a/b"),
        ("/a/b/c", "/a/b"),
        ("/a/bc", "/a"),
        ("/ab", None),
        ("/", None),
        ("", None),
        ("a", None),
    ],
)
def test_longest_prefix_of_whole_segments_wins(router, path, prefix):
    router.mount("/a", Named("one"))
    router.mount("/a/b/", Named("two"))
    router.mount("/z", Named("three"))
    assert prefix_found(router, path) == prefix


@pytest.mark.parametrize("root", ["/", ""])
def test_mount_at_the_root_takes_what_no_other_does(router, root):
    router.mount(root, Named("root"))
    router.mount("/a", Named("one"))
    assert [prefix_found(router, path) for path in ("/", "/x", "/a", "/a/x")] == [
        "",
        "",
        "/a",
        "/a",
    ]


def test_second_mount_at_one_prefix_is_refused(router):
    router.mount("/a", Named("one"))
    with pytest.raises(RouteError, match="something is mounted at '/a' already"):
        router.mount_asgi("/a/", Named("two"))
    router.mount("/", Named("root"))
    with pytest.raises(RouteError, match="something is mounted at '/' already"):
        router.mount("", Named("two"))


def test_mount_prefix_must_begin_with_a_slash(router):
    with pytest.raises(RouteError, match="must begin with a slash"):
        router.mount("sio", Named("app"))


def test_mount_at_the_root_of_a_router_is_mounted_at_the_routers_prefix(router):
    inner = Router()
    inner.mount("/", Named("app"))
    router.include_router(inner, "/api")
    assert prefix_found(router, "/api") == "/api"
    assert prefix_found(router, "/") is None
