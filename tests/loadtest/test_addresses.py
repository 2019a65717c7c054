"""Where clients connect to and from."""

import ssl
from itertools import islice

import pytest

from loadtest.addresses import Target, TargetError


@pytest.mark.parametrize(
    ("host", "url", "port"),
    [
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000", 8000),
        ("http://127.0.0.1:8000/", "ws://127.0.0.1:8000", 8000),
        ("ws://example.com", "ws://example.com", 80),
        ("https://example.com", "wss://example.com", 443),
        ("wss://[::1]:8443/base/", "wss://[::1]:8443/base", 8443),
    ],
)
def test_an_address_is_read(host: str, url: str, port: int) -> None:
    target = Target(host)
    assert (target.url, target.port) == (url, port)
    assert (target.tls is not None) == url.startswith("wss")


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1:8000", "ftp://x", "ws://", "ws://x:0", "ws://x:99999", "ws://["]
)
def test_what_is_no_address_is_an_error(host: str) -> None:
    with pytest.raises(TargetError, match="is no address"):
        Target(host)


def test_clients_of_this_machine_come_from_249_addresses() -> None:
    target = Target("ws://127.0.0.1:8000")
    assert target.is_loopback
    sources = [target.source() for _ in range(249)]
    assert len(set(sources)) == 249
    assert "127.0.0.1" not in sources
    assert target.source() == sources[0]


def test_clients_of_other_hosts_come_from_wherever_the_kernel_says() -> None:
    target = Target("ws://192.0.2.1:8000")
    assert not target.is_loopback
    assert target.source() is None


def test_a_name_with_both_kinds_of_addresses_is_used_by_the_one_that_has_more_sources() -> None:
    target = Target("ws://localhost:8000")
    family, address = target.place()
    assert target.is_loopback == (address[0] == "127.0.0.1")
    assert list(islice(iter(target.place, None), 3)) == [(family, address)] * 3


def test_a_certificate_has_to_be_good_unless_it_is_said() -> None:
    strict, lax = Target("wss://x"), Target("wss://x", is_verified=False)
    assert strict.tls is not None
    assert lax.tls is not None
    assert (strict.tls.verify_mode, strict.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (lax.tls.verify_mode, lax.tls.check_hostname) == (ssl.CERT_NONE, False)
