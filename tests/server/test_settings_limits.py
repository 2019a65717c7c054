"""Settings of limits: from each source into the app, in place of its own; and what can be none."""

import asyncio
import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server import App, WebSocket, serving
from server.cli import main
from server.limits import AdmissionLimits, ConnectionLimits
from server.settings import AdmissionSettings, LimitSettings, Settings
from tests.support import servers
from tests.support.cli import Project, environment
from workers.layout import Sizes
from workers.segment import Segment
from workers.slots import Slots
from workers.worker import Place

app: App
"""What `load` finds under this name is made anew for each test."""

OWN: dict[str, Any] = {
    "admission": AdmissionLimits(
        connections=50,
        connections_per_ip=51,
        connections_per_user=52,
        handshakes_per_s=53.5,
        header_bytes=54,
        url_bytes=55,
    ),
    "limits": ConnectionLimits(
        messages_per_s=60.5,
        bytes_per_s=61.5,
        on_rate="drop",
        rooms=62,
        idle_timeout_s=63.5,
        lifetime_s=64.5,
    ),
}
GIVEN: dict[str, dict[str, Any]] = {
    "admission": {
        "connections": 7,
        "connections_per_ip": 8,
        "connections_per_user": 9,
        "handshakes_per_s": 10.25,
        "header_bytes": 11,
        "url_bytes": 12,
    },
    "limits": {
        "messages_per_s": 13.25,
        "bytes_per_s": 1e-6,
        "on_rate": "disconnect",
        "rooms": 15,
        "idle_timeout_s": 16.25,
        "lifetime_s": 31_536_000.0,
    },
}
ALL = [(table, name) for table, values in GIVEN.items() for name in values]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return Project(tmp_path)


@pytest.fixture
def in_force(project: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., Settings]:
    """Return the settings that the command line takes."""

    def settings(*flags: str) -> Settings:
        assert main(["check", "good", "--port", "0", *flags]) == 0
        printed, _, verdict = capsys.readouterr().out.rpartition("\nok: ")
        assert verdict
        return msgspec.convert(tomllib.loads(printed), Settings)

    return settings


@pytest.fixture
def error(project: Project, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail; returns the one line that it says."""

    def error(*flags: str) -> str:
        assert main(["check", "good", "--port", "0", *flags]) == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert out == ""
        return line

    return error


@contextmanager
def loaded(monkeypatch: pytest.MonkeyPatch, settings: Settings, **options: Any) -> Iterator[App]:
    """Load an app as a worker does, but for the logs, which are this process's own."""
    module = sys.modules[__name__]
    monkeypatch.setattr(serving, "configure", lambda *_, **__: None)
    monkeypatch.setattr(module, "app", App(**options), raising=False)
    sizes = Sizes(workers=1, slots=1, rows_per_slot=16, routes=4)
    segment = Segment.private(sizes, routes=["/"], codes=[1000], statuses=[403])
    place = Place(segment, Slots(segment).assign(0, 1), generation=1, index=0)
    # As it goes to another process.
    told = json.loads(json.dumps(serving.options(f"{__name__}:app", settings)))
    serving.load(told, place)
    yield module.app


def in_the_app(app: App, table: str) -> Any:
    return app.runtime.admission.limits if table == "admission" else app.runtime.policy.limits


# -- sources ---------------------------------------------------------------------------------------


def source(project: Project, monkeypatch: Any, kind: str, table: str, name: str) -> list[str]:
    """Give a setting by a flag, a variable or the file; returns the flags."""
    value = GIVEN[table][name]
    if kind == "flag":
        return [f"--{table}.{name.replace('_', '-')}", str(value)]
    if kind == "variable":
        monkeypatch.setenv(f"SWITCHBOARD_{table}_{name}".upper(), str(value))
    else:
        project.write("switchboard.toml", f"[{table}]\n{name} = {json.dumps(value)}\n")
    return []


@pytest.mark.parametrize("kind", ["flag", "variable", "file"])
@pytest.mark.parametrize(("table", "name"), ALL)
def test_each_limit_reaches_the_app_and_no_other_is_changed(
    project: Project,
    in_force: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    table: str,
    name: str,
) -> None:
    settings = in_force(*source(project, monkeypatch, kind, table, name))
    with loaded(monkeypatch, settings, admission=OWN["admission"], limits=OWN["limits"]) as app:
        for each in OWN:
            expected = asdict(OWN[each]) | ({name: GIVEN[table][name]} if each == table else {})
            assert asdict(in_the_app(app, each)) == expected


def test_what_is_not_set_is_as_the_app_has_it(
    in_force: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = in_force()
    assert settings.admission == AdmissionSettings()
    assert settings.limits == LimitSettings()
    with loaded(monkeypatch, settings, admission=OWN["admission"], limits=OWN["limits"]) as app:
        for table, own in OWN.items():
            assert in_the_app(app, table) == own
    with loaded(monkeypatch, settings) as app:
        assert in_the_app(app, "admission") == AdmissionLimits()
        assert in_the_app(app, "limits") == ConnectionLimits()
    with loaded(monkeypatch, settings, admission=OWN["admission"], max_connections=3) as app:
        assert in_the_app(app, "admission").connections == 3


def test_a_flag_beats_a_variable_beats_the_file(
    project: Project, in_force: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("switchboard.toml", "[limits]\nrooms = 1\nidle_timeout_s = 1\nlifetime_s = 1\n")
    monkeypatch.setenv("SWITCHBOARD_LIMITS_ROOMS", "2")
    monkeypatch.setenv("SWITCHBOARD_LIMITS_IDLE_TIMEOUT_S", "2")
    settings = in_force("--limits.rooms", "3")
    assert settings.limits == LimitSettings(rooms=3, idle_timeout_s=2, lifetime_s=1)
    assert settings.rooms == Settings.rooms  # of the server, which is another one


def test_a_route_with_limits_of_its_own_keeps_them(
    in_force: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings stand in place of the app's."""
    with loaded(monkeypatch, in_force("--limits.rooms", "3"), limits=OWN["limits"]) as app:
        own = ConnectionLimits(rooms=2)
        for path, limits in (("/own", own), ("/", None)):

            @app.websocket_route(path, limits=limits)
            async def view(ws: WebSocket) -> None: ...

        gates = [app.runtime.policy.gate(route) for route in app.websocket_list]
        assert gates[0].limits == own
        assert (gates[1].limits.rooms, gates[1].limits.idle_timeout_s) == (3, 63.5)


def test_settings_have_the_fields_of_the_limits_and_leave_them_all_open() -> None:
    for ours, theirs in (
        (AdmissionSettings, AdmissionLimits),
        (LimitSettings, ConnectionLimits),
    ):
        assert [field.name for field in fields(ours)] == [field.name for field in fields(theirs)]
        assert set(asdict(ours()).values()) == {None}
    assert {table: set(values) for table, values in GIVEN.items()} == {
        "admission": set(asdict(AdmissionLimits())),
        "limits": set(asdict(ConnectionLimits())),
    }


# -- bad values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "name"), ALL)
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_a_bad_value_is_refused_in_one_line(
    error: Callable[..., str], monkeypatch: pytest.MonkeyPatch, table: str, name: str, value: str
) -> None:
    flag = f"--{table}.{name.replace('_', '-')}"
    assert flag in error(flag, value)
    variable = f"SWITCHBOARD_{table}_{name}".upper()
    monkeypatch.setenv(variable, value)
    assert variable in error()


@pytest.mark.parametrize(("table", "name"), [one for one in ALL if one[1] != "on_rate"])
def test_none_is_no_number(error: Callable[..., str], table: str, name: str) -> None:
    """Nobody is to think that a limit of the app is lifted by it."""
    flag = f"--{table}.{name.replace('_', '-')}"
    assert f"Invalid value for {flag}: unable to convert" in error(flag, "none")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[admission]\nconnections = 0", "[admission][connections]"),
        ("[admission]\nconnections = 1.5", "[admission][connections]"),
        ("[admission]\nconnection = 1", "[admission]: there is no setting 'connection'; did you"),
        ("[limits]\non_rate = 'shout'", "[limits][on_rate]"),
        ("[limits]\nbytes_per_s = 2e9", "Must be <= 1000000000."),
        ("[limits]\nidle_timeout_s = 31536001", "Must be <= 31536000."),
        ("[limits.more]\nrooms = 1", "[limits]: there is no setting 'more'"),
        ("limits = 1", "setting 'limits' is a table"),
        ("admission = true", "setting 'admission' is a table"),
        ("trusted_proxies = '10.0.0.0/33'", "trusted_proxies: trusted proxy '10.0.0.0/33'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    project: Project, error: Callable[..., str], text: str, problem: str
) -> None:
    project.write("switchboard.toml", text)
    assert problem in error()


# -- proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" , ,", []),
        ("10.0.0.7", ["10.0.0.7"]),
        (" 10.0.0.0/8 ,fd00::/8,", ["10.0.0.0/8", "fd00::/8"]),
    ],
)
def test_trusted_proxies_have_commas_between_them(
    in_force: Callable[..., Settings], text: str, expected: list[str]
) -> None:
    assert in_force("--trusted-proxies", text).proxies() == expected


@pytest.mark.parametrize(("setting", "trusted"), [("", "192.0.2.1"), ("10.0.0.7", "10.0.0.7")])
def test_proxies_of_the_settings_are_trusted_and_no_others(
    in_force: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, setting: str, trusted: str
) -> None:
    settings = in_force("--trusted-proxies", setting)
    with loaded(monkeypatch, settings, trusted_proxies=["192.0.2.1"]) as app:
        proxies = app.runtime.policy.proxies
        assert proxies is not None
        for peer in ("192.0.2.1", "10.0.0.7"):
            headers = [(b"x-forwarded-for", b"198.51.100.9")]
            client, _ = proxies.client_of(peer, headers)
            assert (client == "198.51.100.9") is (peer == trusted)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1;10.0.0.2"])
def test_what_is_no_proxy_is_refused_in_one_line(error: Callable[..., str], text: str) -> None:
    bad = text.partition(",")[0]
    assert f"trusted_proxies: trusted proxy {bad!r} is no address" in error(
        "--trusted-proxies", f"127.0.0.1, {text}"
    )


# -- served ----------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_served_app_has_them() -> None:
    flags = ("--admission.connections-per-ip", "1", "--limits.lifetime-s", "0.3")
    env = {"SWITCHBOARD_TRUSTED_PROXIES": "127.0.0.1"}

    async def has_a_place(coming: Any) -> bool:
        try:
            async with coming:
                return True
        except InvalidStatus:
            return False

    async def visit(url: str) -> None:
        def come(address: str) -> Any:
            headers = {"x-forwarded-for": address}
            return connect(f"{url}/ws/echo", additional_headers=headers, proxy=None)

        async with come("198.51.100.1") as first, come("198.51.100.2") as other:
            with pytest.raises(InvalidStatus) as refused:
                await come("198.51.100.1")
            assert refused.value.response.status_code == 429
            for client in (first, other):
                with pytest.raises(ConnectionClosed) as closed:
                    await asyncio.wait_for(client.recv(), 10)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4004
        async with asyncio.timeout(10):
            while not await has_a_place(come("198.51.100.1")):  # noqa: ASYNC110 - until it ended
                await asyncio.sleep(0.02)

    with servers.granian("examples.showcase:app", *flags, env=env) as server:
        asyncio.run(visit(server.url))
