"""Handshakes against real servers: what is refused, with which status, and that all is answered."""

import json

import pytest

from tests.support.raw import Ended, RawClient, Response, get, handshake_request
from tests.wire.conftest import WireServer

pytestmark = pytest.mark.e2e


def handshake(server: WireServer, path: str) -> Response:
    with RawClient(server.port) as client:
        return client.handshake(path)


def detail(response: Response) -> str:
    return str(json.loads(response.body)["detail"])


# -- paths and parameters ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/echo/", "//echo", "/Echo", "/text/a/b", "/%2fecho"]
)
def test_an_unknown_path_is_403(server: WireServer, path: str) -> None:
    response = handshake(server, path)
    assert response.status == 403
    assert "No WebSocket route" in detail(response)


def test_parameters_are_converted(server: WireServer) -> None:
    with RawClient(server.port) as client:
        assert client.handshake("/item/7?ratio=0.5&flag=on").status == 101
        assert client.read_text() == "[7,0.5,true]"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/item/seven?ratio=1", "number"),
        ("/item/7.5?ratio=1", "number"),
        ("/item/%20?ratio=1", "number"),
        ("/item/7?ratio=much", "ratio"),
        ("/item/7?ratio=nan", "ratio"),
        ("/item/7?ratio=", "ratio"),
        ("/item/7?ratio=1&flag=yes", "flag"),
    ],
)
def test_a_value_of_the_wrong_type_is_400(server: WireServer, path: str, name: str) -> None:
    response = handshake(server, path)
    assert response.status == 400
    assert f"parameter '{name}'" in detail(response)


@pytest.mark.parametrize("path", ["/item/7", "/item/7?other=1", "/item/7?ratio"])
def test_a_missing_value(server: WireServer, path: str) -> None:
    """`?ratio` without a value counts as missing or as empty, as hosts' parsers have it."""
    response = handshake(server, path)
    assert response.status == (422 if path != "/item/7?ratio" else response.status)
    assert response.status in (400, 422)
    assert "parameter 'ratio'" in detail(response)


def test_values_up_to_8_kib_are_taken(granian: WireServer) -> None:
    """uvicorn does not answer a request line over 8 KiB, so these are granian's alone."""
    with RawClient(granian.port) as client:
        assert client.handshake(f"/text/{'a' * 8192}?more={'b' * 8192}").status == 101
        assert client.read_text() == "[8192,8192]"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/text/{'a' * 8193}", "text"),
        (f"/text/{'%C3%A9' * 4097}", "text"),
        (f"/text/a?more={'b' * 8193}", "more"),
    ],
)
def test_an_over_long_value_is_400(granian: WireServer, path: str, name: str) -> None:
    response = handshake(granian, path)
    assert response.status == 400
    assert detail(response).endswith("is too long, the limit is 8192 bytes")
    assert f"parameter '{name}'" in detail(response)


def test_an_over_long_path_without_a_route(granian: WireServer) -> None:
    assert handshake(granian, f"/{'a' * 60_000}").status == 403
    assert handshake(granian, f"/{'a' * 100_000}").status == 414  # the host's own limit


@pytest.mark.parametrize("text", ["%FF", "%00", "%E2%82", "a%2", "%", "%0D%0AX:%20y"])
def test_strange_characters_do_no_harm(server: WireServer, text: str) -> None:
    assert handshake(server, f"/text/{text}").status in (101, 400, 403)
    assert handshake(server, f"/text/a?more={text}").status in (101, 400)


# -- faults ------------------------------------------------------------------------------------

FAULTS = {
    "no key": handshake_request("/echo", without=["sec-websocket-key"]),
    "short key": handshake_request("/echo", ["Sec-WebSocket-Key: c2hvcnQ="]),
    "version 12": handshake_request("/echo", ["Sec-WebSocket-Version: 12"]),
    "no version": handshake_request("/echo", without=["sec-websocket-version"]),
    "no upgrade": handshake_request("/echo", without=["upgrade"]),
    "another upgrade": handshake_request("/echo", ["Upgrade: h2c"]),
    "no connection": handshake_request("/echo", without=["connection"]),
    "no host": handshake_request("/echo", without=["host"]),
    "two hosts": handshake_request("/echo", ["X: y\r\nHost: two"]),
    "plain GET": b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "a header with NUL": handshake_request("/echo", ["X: a\0b"]),
    "huge headers": handshake_request("/echo", [f"X: {'a' * 600_000}"]),
}
BAD_HOST = handshake_request("/echo", ["Host: a b"])
HTTP_1_0 = handshake_request("/echo").replace(b"HTTP/1.1", b"HTTP/1.0")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_handshake_is_an_http_error(server: WireServer, fault: str) -> None:
    with RawClient(server.port) as client:
        assert 400 <= client.request(FAULTS[fault]).status < 500


def test_a_bad_host_is_400(server: WireServer) -> None:
    """No host looks at it; handshake.handshake_problem does."""
    with RawClient(server.port) as client:
        response = client.request(BAD_HOST)
    assert (response.status, detail(response)) == (400, "the handshake needs one valid Host header")


def test_http_1_0_is_400(granian: WireServer) -> None:
    """uvicorn lets it pass and does not tell."""
    with RawClient(granian.port) as client:
        response = client.request(HTTP_1_0)
    assert (response.status, detail(response)) == (400, "a WebSocket handshake needs HTTP/1.1")


@pytest.mark.xfail(reason="granian does not look at the method, and the ASGI scope has none")
def test_a_post_is_an_http_error_on_granian(granian: WireServer) -> None:
    with RawClient(granian.port) as client:
        assert 400 <= client.request(handshake_request("/echo", method="POST")).status < 500


def test_the_preface_of_http_2_is_not_left_waiting(server: WireServer) -> None:
    with RawClient(server.port) as client:
        try:
            assert client.request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status >= 400
        except Ended:
            pass


def test_peers_that_vanish_during_the_handshake(server: WireServer) -> None:
    request = handshake_request("/echo")
    for data in (b"", request[:20], request, request + b"\x81"):
        for leave in (RawClient.reset, RawClient.drop, RawClient.half_close):
            client = RawClient(server.port)
            client.send(data)
            leave(client)
            client.drop()


def test_http_and_websocket_share_a_port(server: WireServer) -> None:
    assert get(server.port, "/pid").status == 200
    assert get(server.port, "/echo").status == 404
    assert handshake(server, "/pid").status == 403
