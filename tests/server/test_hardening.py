"""The check-list as a table: what is seen, and what is said of it; no process, no machine."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from server.hardening import ITEMS, Finding, Machine, has_failed, judge, summary
from server.hardening.machine import SecretFile
from server.inspection import Look
from server.limits import AdmissionLimits, ConnectionLimits
from server.protection import BackendLook, Protection, RouteLook, SessionLook
from server.settings import AdmissionSettings, LimitSettings, Settings

ALL = "0.0.0.0"  # noqa: S104 - nothing is bound
JWT = BackendLook(name="JWTAuthentication", expires=True)
KEYS = BackendLook(name="APIKeyAuthentication")
LIMITS = ConnectionLimits(messages_per_s=10, idle_timeout_s=60, lifetime_s=3600)
GUARDED = RouteLook(
    path="/in", backends=(JWT,), guards=("IsAuthenticated",), max_message_size=65_536
)
PUBLIC = RouteLook(path="/all", guards=("AllowAny",), is_public=True, max_message_size=65_536)
OPEN = RouteLook(path="/open", max_message_size=65_536)
ENDPOINT = replace(OPEN, path="/realtime", hooks=frozenset())
HOOKS = frozenset({"authorize", "can_join", "can_publish"})
COOKIE = BackendLook(name="JWTAuthentication", expires=True, takes_cookie=True)
POST = RouteLook(path="/post", methods=("POST",))

SETTINGS = Settings(workers=2, trusted_proxies="127.0.0.1")
MACHINE = Machine(
    user_id=1000, host="127.0.0.1", admin_host="127.0.0.1", connections_per_worker=50_000
)
PROTECTION = Protection(
    websockets=(GUARDED,),
    limits=LIMITS,
    admission=AdmissionLimits(connections_per_ip=20, connections_per_user=5, handshakes_per_s=100),
    checks_hosts=True,
)


def findings(
    protection: Protection = PROTECTION, settings: Settings = SETTINGS, machine: Machine = MACHINE
) -> dict[str, Finding]:
    look = Look(routes=[], close_codes=[], protection=protection)
    return {finding.item: finding for finding in judge(look, settings, machine)}


def app(**changes: Any) -> dict[str, Any]:
    return {"protection": replace(PROTECTION, **changes)}


def sockets(*routes: RouteLook, **changes: Any) -> dict[str, Any]:
    return app(websockets=routes, **changes)


def machine(**changes: Any) -> dict[str, Any]:
    return {"machine": replace(MACHINE, **changes)}


def settings(**changes: Any) -> dict[str, Any]:
    return {"settings": replace(SETTINGS, **changes)}


def secret(mode: int | None) -> dict[str, Any]:
    file = SecretFile(source="SWITCHBOARD_JWT_SECRET_FILE", path="/key", mode=mode)
    return machine(secret_files=(file,))


def proxies(text: str) -> dict[str, Any]:
    return settings(trusted_proxies=text)


def admission(**changes: Any) -> dict[str, Any]:
    return app(admission=replace(PROTECTION.admission, **changes))


def limits(**changes: Any) -> dict[str, Any]:
    return app(limits=replace(LIMITS, **changes))


def no_app() -> dict[str, Any]:
    return {"protection": Protection(is_app=False)}


def realtime(*hooks: str, **changes: Any) -> RouteLook:
    return replace(ENDPOINT, hooks=frozenset(hooks), **changes)


CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("root", "ok", machine(user_id=1), "runs as user 1"),
    ("root", "FAIL", machine(user_id=0), "runs as root"),
    ("tls", "ok", {}, "only this machine"),
    ("tls", "ok", machine(host="::1"), "listens on ::1, which only"),
    ("tls", "ok", machine(host=ALL), "behind a proxy"),
    ("tls", "warn", machine(host=ALL) | proxies(""), "in plain text"),
    ("tls", "warn", machine(host="::") | proxies(""), "put a proxy with TLS in front"),
    ("trusted-proxies", "ok", {}, "127.0.0.1"),
    ("trusted-proxies", "ok", proxies("") | app(trusted_proxies=("fc00::/7",)), "fc00::/7"),
    ("trusted-proxies", "ok", proxies(""), "of nobody"),
    ("trusted-proxies", "ok", proxies("10.0.0.0/8,fd00::/8"), "10.0.0.0/8, fd00::/8"),
    ("trusted-proxies", "FAIL", proxies("0.0.0.0/0"), "0.0.0.0/0 may say"),
    ("trusted-proxies", "FAIL", proxies("::/0"), "everybody may"),
    ("trusted-proxies", "FAIL", proxies("::ffff:0:0/96"), "0.0.0.0/0 may say"),
    ("trusted-proxies", "FAIL", proxies("0.0.0.0/1, 128.0.0.0/1"), "0.0.0.0/0 may say"),
    ("trusted-proxies", "FAIL", proxies("127.0.0.1,2000::/3"), "2000::/3 may say"),
    ("trusted-proxies", "FAIL", proxies("") | app(trusted_proxies=("::/0",)), "::/0 may"),
    ("admin-host", "ok", {}, "only this machine"),
    ("admin-host", "warn", machine(admin_host="10.1.2.3"), "user ids and addresses"),
    ("admin-host", "warn", machine(admin_host="fd00::1"), "firewall"),
    ("admin-host", "FAIL", machine(admin_host=ALL), "leave --admin-host"),
    ("admin-host", "FAIL", machine(admin_host="::"), "leave --admin-host"),
    ("admin-host", "FAIL", machine(admin_host="8.8.8.8", admin_key_chars=43), "key or not"),
    ("admin-key", "ok", {}, "nobody can publish"),
    ("admin-key", "ok", machine(admin_key_chars=43), "43 characters"),
    ("admin-key", "warn", machine(admin_key_chars=16), "token_urlsafe"),
    ("secret-files", "ok", {}, "none"),
    ("secret-files", "ok", secret(0o600), "only their owner"),
    ("secret-files", "ok", secret(0o400), "_JWT_SECRET_FILE /key"),
    ("secret-files", "warn", secret(0o440), "the group may read"),
    ("secret-files", "warn", secret(None), "cannot look at"),
    ("secret-files", "FAIL", secret(0o644), "(0644); chmod 600"),
    ("secret-files", "FAIL", secret(0o604), "others may read"),
    ("secret-files", "FAIL", secret(0o620), "or change"),
    ("log-level", "ok", {}, "info"),
    ("log-level", "warn", settings(log_level="debug"), "use info"),
    ("merge-pages", "ok", {}, "off"),
    ("merge-pages", "warn", settings(merge_pages=True), "timing"),
    ("app", "ok", {}, "1 WebSocket routes"),
    ("app", "warn", no_app(), "is no App"),
    ("open-routes", "ok", sockets(GUARDED, PUBLIC), "no WebSocket route"),
    ("open-routes", "ok", sockets(ENDPOINT), "no WebSocket route"),
    ("open-routes", "FAIL", sockets(GUARDED, OPEN), "meant: /open; give auth="),
    ("auth-without-guards", "ok", sockets(OPEN, PUBLIC, GUARDED), "none"),
    ("auth-without-guards", "ok", sockets(realtime("authorize", backends=(JWT,))), "none"),
    ("auth-without-guards", "FAIL", sockets(replace(OPEN, backends=(JWT,))), ": /open; add"),
    ("auth-without-guards", "FAIL", sockets(realtime(backends=(JWT,))), ": /realtime; add"),
    ("auth-without-guards", "FAIL", app(http=(replace(POST, backends=(JWT,)),)), "POST /post"),
    ("guards-without-auth", "ok", sockets(GUARDED, PUBLIC, OPEN), "none"),
    ("guards-without-auth", "warn", sockets(replace(GUARDED, backends=())), "nobody gets in"),
    ("guards-without-auth", "warn", app(http=(replace(POST, guards=("X",)),)), "POST /post"),
    ("realtime", "ok", sockets(OPEN), "no endpoint"),
    ("realtime", "ok", sockets(realtime("authorize")), "no endpoint"),
    ("realtime", "ok", sockets(realtime(guards=("AllowAny",), is_public=True)), "no endpoint"),
    ("realtime", "ok", sockets(replace(GUARDED, hooks=frozenset())), "no endpoint"),
    ("realtime", "FAIL", sockets(ENDPOINT), "publish: /realtime; give auth="),
    ("realtime", "FAIL", sockets(realtime("can_join", "can_publish")), "everybody may"),
    ("realtime-rooms", "ok", sockets(realtime(*HOOKS), OPEN), "every endpoint"),
    ("realtime-rooms", "warn", sockets(realtime("authorize", "can_join")), ": /realtime; give"),
    ("http-routes", "ok", app(http=(RouteLook(path="/", methods=("GET",)),)), "has guards"),
    ("http-routes", "ok", app(http=(replace(POST, guards=("AllowAny",)),)), "has guards"),
    ("http-routes", "warn", app(http=(POST,)), ": POST /post; give auth="),
    ("mounts", "ok", {}, "none"),
    ("mounts", "warn", app(mounts=("/old",)), ": /old; see"),
    ("origins", "ok", {}, "of named origins"),
    ("origins", "warn", sockets(replace(GUARDED, lets_strangers_in=True)), ": /in; name"),
    (
        "origins",
        "FAIL",
        sockets(replace(GUARDED, lets_strangers_in=True, backends=(COOKIE,))),
        "with the cookies of their visitors: /in; name",
    ),
    (
        "origins",
        "FAIL",
        sockets(replace(PUBLIC, lets_strangers_in=True), sessions=SessionLook(https_only=True)),
        ": /all; name",
    ),
    ("origins", "ok", sockets(replace(GUARDED, backends=(COOKIE,))), "of named origins"),
    ("allowed-hosts", "ok", {}, "are refused"),
    ("allowed-hosts", "warn", app(checks_hosts=False), "TrustedHostMiddleware"),
    ("session-cookie", "ok", {}, "no sessions"),
    ("session-cookie", "ok", app(sessions=SessionLook(https_only=True)), "same_site=lax"),
    ("session-cookie", "FAIL", app(sessions=SessionLook()), "https_only=True"),
    (
        "session-cookie",
        "FAIL",
        app(sessions=SessionLook(https_only=True, has_short_secret=True)),
        "under 32",
    ),
    (
        "session-cookie",
        "warn",
        app(sessions=SessionLook(https_only=True, same_site="none")),
        "CSRF token",
    ),
    (
        "session-cookie",
        "warn",
        app(sessions=SessionLook(https_only=True, max_age_s=None)),
        "for ever",
    ),
    ("query-tokens", "ok", {}, "no token"),
    (
        "query-tokens",
        "warn",
        sockets(replace(GUARDED, backends=(replace(JWT, query_param="token"),))),
        "logs: /in; give query_param=None",
    ),
    ("connections", "ok", {}, "10000 at a time"),
    ("connections", "ok", settings(admission=AdmissionSettings(connections=7)), "7 at a time"),
    ("connections", "warn", admission(connections=None), "--admission.connections"),
    ("file-limit", "ok", machine(connections_per_worker=5000), "10000 connections"),
    ("file-limit", "FAIL", machine(connections_per_worker=4999), "for 9998 connections"),
    (
        "file-limit",
        "ok",
        machine(connections_per_worker=100) | settings(registry_rows=100),
        "200 connections",
    ),
    (
        "file-limit",
        "FAIL",
        machine(connections_per_worker=16_383) | admission(connections=None),
        "the limit is 32768",
    ),
    ("connections-per-ip", "ok", {}, "20 of one address"),
    ("connections-per-ip", "ok", machine(host=ALL) | proxies(""), "20 of one"),
    ("connections-per-ip", "warn", proxies(""), "--trusted-proxies 127.0.0.1"),
    ("connections-per-ip", "warn", admission(connections_per_ip=None), "no limit"),
    ("connections-per-user", "ok", {}, "5 of one user"),
    ("connections-per-user", "warn", admission(connections_per_user=None), "no limit"),
    ("handshake-rate", "ok", {}, "100 a second"),
    ("handshake-rate", "warn", admission(handshakes_per_s=None), "no limit"),
    ("message-rate", "ok", {}, "has a limit"),
    ("message-rate", "warn", limits(messages_per_s=None), ": /in; set"),
    (
        "message-rate",
        "ok",
        limits(messages_per_s=None) | settings(limits=LimitSettings(messages_per_s=1)),
        "has a limit",
    ),
    (
        "message-rate",
        "ok",  # what is set is a ceiling for the limits of a route
        sockets(replace(GUARDED, limits=ConnectionLimits()))
        | settings(limits=LimitSettings(messages_per_s=1)),
        "has a limit",
    ),
    ("message-size", "ok", {}, "at most 64 KiB"),
    ("message-size", "ok", sockets(replace(GUARDED, max_message_size=1 << 20)), "1 MiB (OWASP"),
    (
        "message-size",
        "warn",
        sockets(replace(GUARDED, max_message_size=(1 << 20) + 1)),
        "over 1 MiB: /in; lower",
    ),
    ("idle-timeout", "ok", {}, "are closed"),
    ("idle-timeout", "ok", sockets(ENDPOINT, limits=ConnectionLimits()), "are closed"),
    ("idle-timeout", "warn", limits(idle_timeout_s=None), ": /in; set"),
    ("lifetime", "ok", limits(lifetime_s=None), "was asked for nothing"),
    ("lifetime", "ok", sockets(replace(GUARDED, backends=(KEYS,))), "is looked at again"),
    (
        "lifetime",
        "warn",
        sockets(replace(GUARDED, backends=(JWT, KEYS)), limits=ConnectionLimits()),
        "for ever",
    ),
    ("lifetime", "warn", sockets(realtime(*HOOKS), limits=ConnectionLimits()), ": /realtime; set"),
    (
        "lifetime",
        "warn",
        sockets(PUBLIC, limits=ConnectionLimits(), sessions=SessionLook()),
        ": /all; set",
    ),
    ("lifetime", "ok", sockets(PUBLIC, limits=ConnectionLimits()), "was asked for nothing"),
]


def _ids() -> Iterator[str]:
    for item, level, _, text in CASES:
        yield f"{item}-{level}-{text}"


@pytest.mark.parametrize(("item", "level", "seen", "text"), CASES, ids=_ids())
def test_an_item(item: str, level: str, seen: dict[str, Any], text: str) -> None:
    finding = findings(**seen)[item]
    assert finding.level == level, finding
    line = finding.line()
    assert line.startswith(f"{level:<4}  {item} ")
    assert text in line
    assert "\n" not in line
    assert (finding.remedy == "") is (level == "ok")


def test_every_item_has_cases_and_the_table_no_other() -> None:
    """Each is seen fine and not fine."""
    seen = {(item, level == "ok") for item, level, _, _ in CASES}
    assert seen == {(item, is_ok) for item in ITEMS for is_ok in (True, False)}


def test_an_app_that_is_hardened_gets_ok_everywhere() -> None:
    found = findings()
    assert tuple(found) == ITEMS
    assert {finding.level for finding in found.values()} == {"ok"}
    assert not has_failed([*found.values()])
    assert summary([*found.values()]).startswith(f"{len(ITEMS)} items: {len(ITEMS)} ok, 0 warn, 0 ")


def test_warnings_are_no_failure() -> None:
    found = findings(**limits(idle_timeout_s=None))
    assert not has_failed([*found.values()])
    assert ", 1 warn, 0 FAIL" in summary([*found.values()])
    assert has_failed([*findings(**machine(user_id=0)).values()])


def test_of_a_foreign_app_only_the_server_is_judged() -> None:
    """Routes and limits that nothing enforces are not called fine."""
    found = findings(**no_app())
    assert tuple(found) == (
        "root",
        "tls",
        "trusted-proxies",
        "admin-host",
        "admin-key",
        "secret-files",
        "log-level",
        "merge-pages",
        "app",
    )


def test_a_failure_names_all_routes_and_a_warning_a_few() -> None:
    paths = [f"/r{number}" for number in range(20)]
    many = [replace(OPEN, path=path) for path in paths]
    found = findings(**sockets(*many, limits=ConnectionLimits()))
    assert ", ".join(paths) in found["open-routes"].line()
    assert "/r7 and 12 more; set" in found["message-rate"].line()
    assert found["message-rate"].routes == tuple(paths)
