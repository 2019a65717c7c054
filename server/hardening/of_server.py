"""Owns the items of the check-list that are about settings and machine; looks at no route."""

from collections.abc import Callable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
)

from server.hardening.findings import Subject, Verdict, fail, named, ok, warn
from server.limits import AdmissionLimits, override
from server.proxies import TrustedProxies
from workers.preflight import RAISE_FILES

GOOD_KEY_CHARS = 32
_WIDEST_V4 = 8
_WIDEST_V6 = 7  # fc00::/7, all private networks


def admission(subject: Subject) -> AdmissionLimits:
    """Return the limits in force: what is set stands in place of the app's."""
    return override(subject.app.admission, vars(subject.settings.admission))


def trusted(subject: Subject) -> list[str]:
    """Return the trusted proxies in force."""
    return subject.settings.proxies() or list(subject.app.trusted_proxies)


def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def _root(subject: Subject) -> Verdict:
    if subject.machine.user_id != 0:
        return ok(f"runs as user {subject.machine.user_id}")
    return fail(
        "runs as root, so a hole in the app is one in the machine",
        "start it as a user of its own (User= in the systemd unit, USER in the Dockerfile)",
    )


def _tls(subject: Subject) -> Verdict:
    host = subject.machine.host
    if _is_loopback(host):
        return ok(f"listens on {host}, which only this machine reaches")
    if trusted(subject):
        return ok(f"listens on {host}, behind a proxy")
    return warn(
        f"listens on {host} in plain text, and no proxy is trusted",
        "put a proxy with TLS in front and name it with --trusted-proxies",
    )


def _trusted_proxies(subject: Subject) -> Verdict:
    given = trusted(subject)
    if not given:
        return ok("none: X-Forwarded-For is believed of nobody")
    wide = [str(network) for network in _collapsed(given) if _is_too_wide(network)]
    if wide:
        return fail(
            f"{', '.join(wide)} may say whose address a client has, so everybody may",
            "name the addresses of your proxies",
        )
    return ok(", ".join(given))


def _collapsed(given: list[str]) -> list[IPv4Network | IPv6Network]:
    networks = TrustedProxies(given).networks
    v4 = [network for network in networks if isinstance(network, IPv4Network)]
    v6 = [network for network in networks if isinstance(network, IPv6Network)]
    return [*collapse_addresses(v4), *collapse_addresses(v6)]


def _is_too_wide(network: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen < (_WIDEST_V4 if network.version == 4 else _WIDEST_V6)


def _admin_host(subject: Subject) -> Verdict:
    address: IPv4Address | IPv6Address = ip_address(subject.machine.admin_host)
    if address.is_loopback:
        return ok(f"listens on {address}, which only this machine reaches")
    found = f"listens on {address} and shows user ids and addresses to whoever asks, key or not"
    if address.is_unspecified or address.is_global:
        return fail(found, "leave --admin-host at 127.0.0.1, or give one private address")
    return warn(found, "let a firewall admit your Prometheus and nobody else")


def _admin_key(subject: Subject) -> Verdict:
    chars = subject.machine.admin_key_chars
    if chars is None:
        return ok("none: nobody can publish or disconnect on the admin port")
    if chars < GOOD_KEY_CHARS:
        return warn(
            f"has {chars} characters",
            "make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`",
        )
    return ok(f"is set and has {chars} characters")


def _secret_files(subject: Subject) -> Verdict:
    files = subject.machine.secret_files
    if not files:
        return ok("none")
    seen = [(f"{file.source} {file.path}", file.mode) for file in files]
    others = [f"{name} ({mode:04o})" for name, mode in seen if mode is not None and mode & 0o027]
    group = [f"{name} ({mode:04o})" for name, mode in seen if mode is not None and mode & 0o040]
    unseen = [name for name, mode in seen if mode is None]
    if others:
        return fail(f"others may read or change {_listed(others)}", "chmod 600 each of them")
    if unseen:
        return warn(f"cannot look at {_listed(unseen)}", "run the check as the server's user")
    if group:
        return warn(
            f"the group may read {_listed(group)}", "chmod 600, or see that nobody else is in it"
        )
    return ok(f"only their owner reads {_listed([name for name, _ in seen])}")


def _listed(names: list[str]) -> str:
    return named(tuple(names))


def _file_limit(subject: Subject) -> Verdict:
    settings, per_worker = subject.settings, subject.machine.connections_per_worker
    rows = settings.registry_rows * settings.workers
    limit = admission(subject).connections
    wanted = rows if limit is None else min(limit, rows)
    held = per_worker * settings.workers
    if held >= wanted:
        return ok(f"is enough for {wanted} connections")
    return fail(
        f"is enough for {held} connections, and the limit is {wanted}",
        f"raise it {RAISE_FILES}, or lower --admission.connections",
    )


def _log_level(subject: Subject) -> Verdict:
    level = subject.settings.log_level
    if level != "debug":
        return ok(level)
    return warn("debug, at which libraries may write down what clients send", "use info")


def _merge_pages(subject: Subject) -> Verdict:
    if not subject.settings.merge_pages:
        return ok("off")
    return warn(
        "on: who shares the machine can find out by timing what is in its memory",
        "switch it off if others have processes or machines on this one",
    )


def _connections(subject: Subject) -> Verdict:
    limit = admission(subject).connections
    if limit is not None:
        return ok(f"{limit} at a time")
    return warn("no limit but --registry-rows", "set --admission.connections")


def _connections_per_ip(subject: Subject) -> Verdict:
    limit = admission(subject).connections_per_ip
    if limit is None:
        return warn(
            "no limit, so one client can take all places", "set --admission.connections-per-ip"
        )
    if _is_loopback(subject.machine.host) and not trusted(subject):
        return warn(
            f"{limit}, and all clients of a proxy on this machine together have one address",
            "name the proxy: --trusted-proxies 127.0.0.1",
        )
    return ok(f"{limit} of one address")


def _connections_per_user(subject: Subject) -> Verdict:
    limit = admission(subject).connections_per_user
    if limit is not None:
        return ok(f"{limit} of one user")
    return warn("no limit", "set --admission.connections-per-user")


def _handshake_rate(subject: Subject) -> Verdict:
    rate = admission(subject).handshakes_per_s
    if rate is not None:
        return ok(f"{rate:g} a second")
    return warn(
        "no limit, so a flood of handshakes takes all time", "set --admission.handshakes-per-s"
    )


ITEMS: Mapping[str, Callable[[Subject], Verdict]] = {
    "root": _root,
    "tls": _tls,
    "trusted-proxies": _trusted_proxies,
    "admin-host": _admin_host,
    "admin-key": _admin_key,
    "secret-files": _secret_files,
    "log-level": _log_level,
    "merge-pages": _merge_pages,
}
ADMISSION_ITEMS: Mapping[str, Callable[[Subject], Verdict]] = {
    "connections": _connections,
    "file-limit": _file_limit,
    "connections-per-ip": _connections_per_ip,
    "connections-per-user": _connections_per_user,
    "handshake-rate": _handshake_rate,
}
