"""Owns the proof that only trusted proxies speak for clients, whatever clients send."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.proxies import MAX_HOPS, TrustedProxies, rewrite
from tests.support.scopes import websocket_scope

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::ffff:198.51.100.0/120"])
CLIENT = "203.0.113.9"


def forwarded(*lines: str | bytes, peer: str = "10.0.0.1", proxies: TrustedProxies = PROXIES):
    raw = (line.encode() if isinstance(line, str) else line for line in lines)
    return proxies.client_of(peer, [(b"x-forwarded-for", line) for line in raw])[0]


def scheme(*lines: str | bytes, peer: str = "10.0.0.1"):
    raw = (line.encode() if isinstance(line, str) else line for line in lines)
    return PROXIES.client_of(peer, [(b"x-forwarded-proto", line) for line in raw])[1]


# -- whom it believes --------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["203.0.113.1", "11.0.0.1", "::1", "192.0.2.2", "2001:db8::1"])
def test_a_stranger_is_not_believed(peer):
    assert forwarded("10.9.9.9", peer=peer) == peer
    assert scheme("https", peer=peer) is None


@pytest.mark.parametrize(
    "peer",
    ["10.0.0.1", "10.255.255.255", "192.0.2.1", "fd00::1", "::ffff:10.0.0.1", "198.51.100.7"],
)
def test_a_trusted_proxy_is_believed(peer):
    assert forwarded(CLIENT, peer=peer) == CLIENT
    assert scheme("https", peer=peer) == "https"


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "::1"])
def test_nobody_is_trusted_by_default(peer):
    assert forwarded(CLIENT, peer=peer, proxies=TrustedProxies()) == peer


def test_a_single_address_of_either_version_is_trusted():
    proxies = TrustedProxies(["2001:db8::1", "192.0.2.1"])
    assert forwarded(CLIENT, peer="2001:db8::1", proxies=proxies) == CLIENT
    assert forwarded(CLIENT, peer="2001:db8::2", proxies=proxies) == "2001:db8::2"


@pytest.mark.parametrize("peer", ["", "unix", "unix:/run/app.sock", "10.0.0.1:80", "10.0.0"])
def test_a_peer_without_an_address_is_not_trusted_and_stays(peer):
    everybody = TrustedProxies(["0.0.0.0/0", "::/0"])
    assert everybody.client_of(peer, [(b"x-forwarded-for", b"1.2.3.4")]) == (peer, None)


@pytest.mark.parametrize(
    ("peer", "canonical"),
    [
        ("::FFFF:203.0.113.1", "203.0.113.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%e", "fe80::1"),
    ],
)
def test_a_peers_address_is_canonical(peer, canonical):
    assert forwarded(peer=peer) == canonical


# -- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.9"], CLIENT),
        (["203.0.113.9, 10.0.0.2"], CLIENT),
        (["203.0.113.9,10.0.0.2 ,\t192.0.2.1"], CLIENT),
        # What the client itself has sent stands before what the proxy adds.
        (["1.1.1.1, 203.0.113.9"], CLIENT),
        (["10.9.9.9, 203.0.113.9, 10.0.0.2"], CLIENT),
        (["1.1.1.1", "203.0.113.9"], CLIENT),
        (["1.1.1.1", "203.0.113.9, 10.0.0.2", "10.0.0.3"], CLIENT),
        # All are trusted: the farthest.
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["10.0.0.3", "192.0.2.1"], "10.0.0.3"),
    ],
)
def test_the_first_stranger_from_the_end_is_the_client(lines, client):
    assert forwarded(*lines) == client


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "-",
        "203.0.113",
        "203.0.113.300",
        "0203.0.113.9",
        "0x7f000001",
        "3405803785",
        "203.0.113.9/32",
        "203.0.113.9:",
        "203.0.113.9:port",
        "203.0.113.9:1234567",
        "203.0.113.9 10.0.0.2",
        '"203.0.113.9"',
        "for=203.0.113.9",
        "[203.0.113.9]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "2001:db8::1%eth0",
        "[fe80::1%<script>]",
        "2001:db8:::1",
        ":",
        "::ffff:203.0.113.999",
        b"\xff",
        b"\x00",
        "203.0.113.9\x00",
        "203.0.113.9\n",
        "\uff12\uff10\uff13.0.113.9",
    ],
)
def test_what_is_no_address_ends_the_search_at_the_last_good_one(bad):
    raw = bad.encode() if isinstance(bad, str) else bad
    assert forwarded(raw) == "10.0.0.1"
    assert forwarded(raw + b", 10.0.0.2") == "10.0.0.2"
    assert forwarded(b"203.0.113.9, " + raw + b", 10.0.0.2") == "10.0.0.2"
    assert forwarded("203.0.113.9", raw, "10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize(
    ("element", "client"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:DB8:0:0::9", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::FFFF:203.0.113.9]:80", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
    ],
)
def test_every_form_of_address_is_understood(element, client):
    assert forwarded(element) == client
    assert forwarded(f"1.1.1.1, {element}, [fd00::5]:80") == client


def test_a_mapped_address_of_a_proxy_is_a_proxy():
    assert forwarded("203.0.113.9, ::ffff:10.0.0.2") == CLIENT


def test_only_the_last_elements_are_looked_at():
    proxies = ", ".join(["10.0.0.2"] * (MAX_HOPS - 1))
    assert forwarded(f"203.0.113.9, {proxies}") == CLIENT
    assert forwarded(f"203.0.113.9, 10.0.0.3, {proxies}") == "10.0.0.3"
    assert forwarded("203.0.113.9", "10.0.0.3", proxies) == "10.0.0.3"
    assert forwarded(*["203.0.113.9", *["10.0.0.4"] * MAX_HOPS]) == "10.0.0.4"


def test_other_headers_count_for_nothing():
    headers = [(b"forwarded", b"for=1.1.1.1"), (b"x-real-ip", b"1.1.1.1"), (b"x-forwarded", b"x")]
    assert PROXIES.client_of("10.0.0.1", headers) == ("10.0.0.1", None)


# -- the scheme --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["http"], "http"),
        (["wss"], "wss"),
        (["ws"], "ws"),
        ([" https "], "https"),
        # The nearest proxy's word is the last one; a client's comes before it.
        (["https, http"], "http"),
        (["https", "http"], "http"),
        ([], None),
        ([""], None),
        (["https,"], None),
        (["ftp"], None),
        (["https://"], None),
        ([b"\xff"], None),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_says(lines, told):
    assert scheme(*lines) == told


# -- arbitrary input ---------------------------------------------------------------------------

_parts = st.sampled_from(
    [b"10.0.0.2", b"203.0.113.9", b"::ffff:10.0.0.1", b"unknown", b"", b"[fd00::1]:80", b"1.1.1.1"]
)
_lines = st.lists(_parts | st.binary(max_size=20), max_size=8).map(b",".join)
_names = st.sampled_from([b"x-forwarded-for", b"x-forwarded-proto", b"x-other"])
_headers = st.lists(st.tuples(_names, _lines | st.binary(max_size=40)), max_size=6)


@given(_headers, st.sampled_from(["10.0.0.1", "203.0.113.1", "fd00::1"]) | st.text(max_size=20))
def test_arbitrary_headers_give_an_address_or_the_peer(headers, peer):
    address, told = PROXIES.client_of(peer, headers)
    assert told in (None, "http", "https", "ws", "wss")
    if address != peer:
        assert str(ip_address(address)) == address


@given(_headers)
def test_what_an_attacker_sends_never_makes_another_client(headers):
    """The proxy adds the attacker's own address behind whatever the attacker has sent."""
    sent = [(name, value) for name, value in headers if name != b"x-forwarded-proto"]
    added = [*sent, (b"x-forwarded-for", b"203.0.113.66, 10.0.0.2")]
    assert PROXIES.client_of("10.0.0.1", added) == ("203.0.113.66", None)


# -- the scope ---------------------------------------------------------------------------------

PEER = ("10.0.0.1", 5000)


def rewritten(headers: dict[str, str], client: Any = PEER, **more: Any):
    scope = websocket_scope(headers=headers, client=client, **more)
    before = dict(scope)
    rewrite(scope, PROXIES)
    return {key: value for key, value in scope.items() if before.get(key, "none") != value}


@pytest.mark.parametrize(
    ("kind", "told", "scheme"),
    [
        ("websocket", "https", "wss"),
        ("websocket", "wss", "wss"),
        ("http", "https", "https"),
        ("http", "wss", "https"),
    ],
)
def test_client_and_scheme_are_rewritten_and_the_peer_is_kept(kind, told, scheme):
    headers = {"x-forwarded-for": CLIENT, "x-forwarded-proto": told}
    assert rewritten(headers, type=kind, scheme="x") == {
        "client": (CLIENT, 0),
        "scheme": scheme,
        "switchboard.peer": PEER,
    }


def test_http_is_the_scheme_of_its_kind():
    assert rewritten({"x-forwarded-proto": "http"}, scheme="wss")["scheme"] == "ws"
    assert rewritten({"x-forwarded-proto": "ws"}, type="http", scheme="https")["scheme"] == "http"


def test_only_what_was_told_is_rewritten():
    assert rewritten({"x-forwarded-for": CLIENT}) == {
        "client": (CLIENT, 0),
        "switchboard.peer": PEER,
    }
    assert rewritten({"x-forwarded-proto": "https"}) == {"scheme": "wss", "switchboard.peer": PEER}


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, PEER),
        ({"x-forwarded-for": "unknown"}, PEER),
        ({"x-forwarded-for": "10.0.0.1", "x-forwarded-proto": "gopher"}, PEER),
        ({"x-forwarded-for": CLIENT, "x-forwarded-proto": "https"}, ("203.0.113.1", 1)),
        ({"x-forwarded-for": CLIENT}, None),
        ({"x-forwarded-for": CLIENT}, ["unix", None]),
    ],
)
def test_nothing_is_touched_otherwise(headers, client):
    assert rewritten(headers, client) == {}


def test_a_scope_may_lack_its_client():
    scope = websocket_scope(headers={"x-forwarded-for": CLIENT})
    del scope["client"]
    rewrite(scope, PROXIES)
    assert "client" not in scope


def test_a_second_call_changes_nothing():
    scope = websocket_scope(headers={"x-forwarded-for": "1.1.1.1, 10.0.0.9"}, client=PEER)
    rewrite(scope, TrustedProxies(["10.0.0.1"]))
    first = dict(scope)
    rewrite(scope, PROXIES)
    assert scope == first
    assert scope["client"] == ("10.0.0.9", 0)


# -- registration ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["", "localhost", "10.0.0.0/33", "10.0.0.1/8", "10.*", "::g"])
def test_a_bad_network_is_named(bad):
    with pytest.raises(ValueError, match="trusted proxy '") as raised:
        TrustedProxies(["10.0.0.1", bad])
    assert repr(bad) in str(raised.value)


def test_a_lone_string_is_refused():
    with pytest.raises(ValueError, match=r"must be a list, such as \['10.0.0.0/8'\]"):
        TrustedProxies("10.0.0.0/8")


@given(st.text(max_size=20))
def test_arbitrary_text_is_a_network_or_a_value_error(text):
    try:
        TrustedProxies([text])
    except ValueError:
        pass
