"""Tests of the registration of routes: the decorators, their options, what they refuse."""

import functools

import msgspec
import pytest

from server import ExpectedAsync, RouteError
from server.codecs import CODECS, JSON, MSGPACK
from server.transport import TransportLimits
from tests.server.registered_routes import only, patterns, router, view

__all__ = ["router"]  # a fixture


class Message(msgspec.Struct):
    text: str


class NotDecodable:
    """msgspec takes a custom class, but not a union of two of them."""


class NotDecodableEither:
    """See above."""


# -- the two WebSocket decorators ------------------------------------------------------------------


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
def test_decorator_returns_the_function(router, decorator):
    assert getattr(router, decorator)("/x")(view) is view
    assert only(router).view is view


def test_websocket_route_has_the_defaults_of_bocadillo(router):
    router.websocket_route("/x")(view)
    route = only(router)
    assert (route.auto_accept, route.silences_at_exit) == (True, True)
    assert (route.receive_type, route.send_type) == ("text", "text")
    assert route.caught_close_codes == (1000, 1001)
    assert (route.codec, route.subprotocols, route.max_message_size) == (None, (), None)
    assert (route.name, route.pattern.text) == ("view", "/x")


def test_websocket_has_the_defaults_of_django_bolt(router):
    router.websocket("/x")(view)
    route = only(router)
    assert (route.auto_accept, route.silences_at_exit) == (False, True)
    assert (route.receive_type, route.send_type) == ("event", "event")
    assert route.caught_close_codes is all
    assert (route.codec, route.subprotocols, route.max_message_size) == (None, (), None)
    assert (route.name, route.pattern.text) == ("view", "/x")


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
def test_both_decorators_take_the_same_options(router, decorator):
    getattr(router, decorator)(
        "x/{id}",
        auto_accept=True,
        value_type="json",
        caught_close_codes=[4000],
        codec="msgpack",
        subprotocols=["v1"],
        max_message_size=10,
        slow_consumer="latest",
        outbox_messages=20,
        outbox_bytes=30,
        name="other",
    )(view)
    route = only(router)
    assert route.slow_consumer == "latest"
    assert (route.outbox_messages, route.outbox_bytes) == (20, 30)
    assert (route.auto_accept, route.silences_at_exit) == (True, True)
    assert (route.receive_type, route.send_type) == ("json", "json")
    assert route.caught_close_codes == [4000]
    assert route.codec is MSGPACK
    assert (route.subprotocols, route.max_message_size) == (("v1",), 10)
    assert (route.name, route.pattern.text) == ("other", "/x/{id}")


def test_options_go_by_name_alone(router):
    with pytest.raises(TypeError):
        router.websocket_route("/x", False)
    with pytest.raises(TypeError):
        router.websocket("/x", True)


@pytest.mark.parametrize(
    ("decorator", "auto_accept", "silences"),
    [
        ("websocket_route", True, True),
        ("websocket_route", False, False),
        ("websocket", True, True),
        ("websocket", False, True),
    ],
)
def test_disconnect_is_silenced_at_exit_but_for_manual_bocadillo_views(
    router, decorator, auto_accept, silences
):
    getattr(router, decorator)("/x", auto_accept=auto_accept)(view)
    assert only(router).silences_at_exit is silences


@pytest.mark.parametrize(
    ("decorator", "options", "types"),
    [
        ("websocket_route", {"value_type": "json"}, ("json", "json")),
        ("websocket_route", {"receive_type": "bytes"}, ("bytes", "text")),
        ("websocket_route", {"send_type": "json"}, ("text", "json")),
        ("websocket_route", {"receive_type": "bytes", "send_type": "json"}, ("bytes", "json")),
        (
            "websocket_route",
            {"value_type": "event", "receive_type": "bytes", "send_type": "json"},
            ("event", "event"),
        ),
        ("websocket_route", {"value_type": Message}, (Message, Message)),
        ("websocket_route", {"receive_type": list[Message]}, (list[Message], "text")),
        ("websocket", {"value_type": "json"}, ("json", "json")),
        ("websocket", {"receive_type": "text"}, ("text", "event")),
        ("websocket", {"send_type": "json"}, ("event", "json")),
        ("websocket", {"value_type": None}, ("event", "event")),
        ("websocket", {"receive_type": Message, "send_type": dict}, (Message, dict)),
    ],
)
def test_value_types(router, decorator, options, types):
    getattr(router, decorator)("/x", **options)(view)
    assert (only(router).receive_type, only(router).send_type) == types


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
@pytest.mark.parametrize("option", ["value_type", "receive_type", "send_type"])
def test_unknown_word_for_a_type_is_refused(router, decorator, option):
    with pytest.raises(RouteError, match="'html' is none of text, bytes, json, event"):
        getattr(router, decorator)("/x", **{option: "html"})(view)
    assert router.websocket_list == []


def test_type_that_messages_cannot_have_is_refused(router):
    with pytest.raises(RouteError, match="route '/x': messages cannot have type"):
        router.websocket_route("/x", value_type=NotDecodable | NotDecodableEither)(view)


@pytest.mark.parametrize(
    ("options", "codec", "subprotocols"),
    [
        ({"value_type": "json"}, None, ("json", "msgpack")),
        ({"value_type": Message}, None, ("json", "msgpack")),
        ({"send_type": "json"}, None, ("json", "msgpack")),
        ({"receive_type": Message}, None, ("json", "msgpack")),
        ({"value_type": "bytes"}, None, ()),
        ({"value_type": "event"}, None, ()),
        ({"value_type": "json", "subprotocols": ("v1",)}, None, ("v1",)),
        ({"value_type": "json", "codec": "json"}, JSON, ()),
        ({"value_type": "json", "codec": "msgpack"}, MSGPACK, ()),
        ({"value_type": Message, "codec": "json", "subprotocols": ["v1"]}, JSON, ("v1",)),
    ],
)
def test_subprotocol_chooses_the_codec_of_structured_types(router, options, codec, subprotocols):
    router.websocket_route("/x", **options)(view)
    assert only(router).codec is codec
    assert only(router).subprotocols == subprotocols


def test_unknown_codec_is_refused(router):
    with pytest.raises(RouteError, match=r"codec 'xml' is unknown, use one of \['json', 'msgpack'"):
        router.websocket_route("/x", codec="xml")(view)
    assert sorted(CODECS) == ["json", "msgpack"]


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
def test_one_string_of_subprotocols_is_refused(router, decorator):
    with pytest.raises(RouteError, match=r"subprotocols must be a list, such as \['json'\]"):
        getattr(router, decorator)("/x", subprotocols="json")(view)


@pytest.mark.parametrize("codes", [(), (4000,), [1000, 4000], {1006}, range(3000, 5000), all])
def test_caught_codes_may_be_any_collection_or_all(router, codes):
    router.websocket_route("/x", caught_close_codes=codes)(view)
    assert only(router).caught_close_codes is codes


@pytest.mark.parametrize("codes", [1000, None, "1000", ["1000"], any, iter([1000]), [None]])
def test_other_caught_codes_are_refused(router, codes):
    with pytest.raises(RouteError, match="caught_close_codes must be a tuple of codes, or all"):
        router.websocket_route("/x", caught_close_codes=codes)(view)


@pytest.mark.parametrize(
    ("codes", "caught"),
    [
        ((1000, 1001), {1000, 1001}),
        ((), set()),
        ((4000,), {4000}),
        (all, {1000, 1001, 1005, 1006, 1012, 4000}),
    ],
)
def test_route_catches_the_codes_it_names_and_all_means_every_code(router, codes, caught):
    router.websocket_route("/x", caught_close_codes=codes)(view)
    tried = (1000, 1001, 1005, 1006, 1012, 4000)
    assert {code for code in tried if only(router).catches(code)} == caught


@pytest.mark.parametrize("size", [0, -1])
def test_message_size_below_one_is_refused(router, size):
    with pytest.raises(RouteError, match="max_message_size must be at least 1 byte"):
        router.websocket_route("/x", max_message_size=size)(view)


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
def test_unknown_policy_is_refused(router, decorator):
    choices = "none of disconnect, drop_oldest, drop_newest, latest"
    with pytest.raises(RouteError, match=f"route '/x': slow_consumer 'full' is {choices}"):
        getattr(router, decorator)("/x", slow_consumer="full")(view)


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize(("option", "unit"), [("messages", "message"), ("bytes", "byte")])
def test_outbox_below_one_is_refused(router, size, option, unit):
    with pytest.raises(RouteError, match=f"outbox_{option} must be at least 1 {unit}"):
        router.websocket("/x", **{f"outbox_{option}": size})(view)


def test_bounds_of_a_connection_are_those_of_the_route_and_else_of_the_app(router):
    limits = TransportLimits(window_messages=5, window_bytes=6, send_timeout_s=7)

    router.websocket("/default")(view)
    router.websocket("/own", outbox_messages=1)(view)
    router.websocket("/both", outbox_messages=1, outbox_bytes=2)(view)

    default, own, both = (route.bounds(limits) for route in router.websocket_list)
    assert default is limits
    assert own == TransportLimits(window_messages=1, window_bytes=6, send_timeout_s=7)
    assert both == TransportLimits(window_messages=1, window_bytes=2, send_timeout_s=7)
    assert [route.slow_consumer for route in router.websocket_list] == ["disconnect"] * 3


@pytest.mark.parametrize("decorator", ["websocket_route", "websocket"])
def test_view_that_is_not_async_is_refused(router, decorator):
    def sync(ws): ...

    async def generator(ws):
        yield

    class Callable_:  # noqa: N801
        def __call__(self, ws): ...

    for function in (sync, generator, Callable_()):
        with pytest.raises(ExpectedAsync, match=r"route '/x': .* must be 'async def'"):
            getattr(router, decorator)("/x")(function)
    assert router.websocket_list == []


def test_expected_async_names_the_function(router):
    def sync_view(ws): ...

    with pytest.raises(TypeError, match="'sync_view' must be"):
        router.websocket_route("/x")(sync_view)


def test_bound_method_and_partial_may_be_views(router):
    class Chat:
        async def join(self, ws): ...

    async def greet(ws, greeting): ...

    method, partial = Chat().join, functools.partial(greet, greeting="hi")
    router.websocket_route("/method")(method)
    router.websocket_route("/partial")(partial)
    router.route("/partial")(partial)
    routes = router.websocket_list
    assert [route.view for route in routes] == [method, partial]
    assert routes[0].name == "join"
    assert "greet" in routes[1].name
    assert "greet" in router.http_list[0].name


def test_pattern_is_checked_when_the_view_is_decorated(router):
    with pytest.raises(RouteError, match="unbalanced"):
        router.websocket_route("/{")(view)
    with pytest.raises(TypeError, match="unknown converter 'int'"):
        router.websocket("/{id:int}")(view)


def test_same_pattern_is_refused_whichever_decorator(router):
    router.websocket_route("/x/{a}")(view)
    with pytest.raises(RouteError, match="registered already"):
        router.websocket("/x/{b}")(view)
    assert patterns(router) == ["/x/{a}"]


def test_route_is_found_by_its_path(router):
    router.websocket_route("/chat/{channel}")(view)
    found = router.websocket_routes.find("/chat/lobby")
    assert found == (only(router), {"channel": "lobby"})


# -- HTTP ------------------------------------------------------------------------------------------


def test_http_route_is_no_websocket_route(router):
    def page(request): ...

    assert router.route("/x")(page) is page
    (route,) = router.http_list
    assert (route.view, route.methods, route.name) == (page, ("GET",), "page")
    assert router.websocket_list == []
    assert router.websocket_routes.find("/x") is None


def test_http_and_websocket_may_share_a_path(router):
    router.route("/x")(view)
    router.websocket_route("/x")(view)
    assert len(router.http_list) == len(router.websocket_list) == 1


def test_http_methods_are_upper_case_and_one_path_may_have_a_view_for_each(router):
    router.route("/x", methods=["get", "Post"], name="read")(view)
    router.route("/x", methods=["DELETE"])(view)
    assert [route.methods for route in router.http_list] == [("GET", "POST"), ("DELETE",)]
    assert [route.name for route in router.http_list] == ["read", "view"]


def test_http_method_that_is_taken_is_refused_and_nothing_registered(router):
    router.route("/x/{a}", methods=["GET"])(view)
    with pytest.raises(RouteError, match=r"route GET '/x/\{b\}' is registered already"):
        router.route("/x/{b}", methods=["POST", "get"])(view)
    router.route("/x/{b}", methods=["POST"])(view)
    assert len(router.http_list) == 2


def test_one_string_of_methods_is_refused(router):
    with pytest.raises(RouteError, match=r"methods must be a list, such as \['POST'\]"):
        router.route("/x", methods="POST")(view)


def test_no_method_at_all_is_refused(router):
    with pytest.raises(RouteError, match="methods must name at least one"):
        router.route("/x", methods=())(view)
