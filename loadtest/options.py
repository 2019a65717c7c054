"""Owns what a load test can be asked for besides locust's own options; knows no scenario.

They are options of the locust command line, and of the environment with LOADTEST_ before them. A
master hands its own to all workers.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

import msgspec

SHAPES = ("none", "ramp", "steps", "spike", "soak")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; None is the scenario's own default.

    Attributes:
        rate: messages a second of one publisher; 0: the next when the last one is answered.
        interval: seconds between two messages of one user.
    """

    scenario: str = "echo"
    shape: str = "none"
    rate: float | None = None
    interval: float | None = None
    payload_bytes: int | None = None
    room_size: int | None = None
    messages: int = 3
    step_users: int = 0
    step_seconds: float = 15.0
    storm_every: float = 10.0
    storm_share: float = 0.5
    slow_share: float = 0.1
    read_bytes: int = 2000
    stall_seconds: float = 8.0
    bad_share: float = 0.1
    jwt_secret: str = ""
    jwt_audience: str = "examples.showcase"
    connect_timeout: float = 10.0
    answer_timeout: float = 10.0
    settle_timeout: float = 5.0
    tls_authorities: str = ""
    tls_insecure: bool = False
    run_file: str = ""
    samples_file: str = ""


_HELP: dict[str, str] = {
    "scenario": "what the users do; loadtest/scenarios.py has the list",
    "shape": "how many users there are at what time: none is --users for --run-time",
    "rate": "messages a second of one publisher; 0 sends when the last message is answered",
    "interval": "seconds between two messages of one user",
    "payload_bytes": "size of a message",
    "room_size": "members of a room",
    "messages": "messages on a connection, in churn and auth",
    "step_users": "users that each step adds, in the shape steps; 0: a tenth of --users",
    "step_seconds": "length of a step",
    "storm_every": "seconds between two storms",
    "storm_share": "share of the clients that a storm cuts off, 0 to 1",
    "slow_share": "share of a room's members that read slowly, 0 to 1; at least one does",
    "read_bytes": "bytes a second that a slow member reads",
    "stall_seconds": "after so long a slow member reads all that there is",
    "bad_share": "share of the connections that bring a bad token, 0 to 1",
    "jwt_secret": "the key of the tokens, in auth; better in LOADTEST_JWT_SECRET",
    "jwt_audience": "the claim aud of the tokens; empty: none",
    "connect_timeout": "seconds for the connection and its handshake",
    "answer_timeout": "seconds for the answer to a message",
    "settle_timeout": "seconds at the end for what is under way",
    "tls_authorities": "file with the authorities to trust; default: the system's",
    "tls_insecure": "trust any certificate",
    "run_file": "where the figures of the run go, as JSON",
    "samples_file": "where each second goes when it is done, a line of JSON each",
}
_NOT_FOR_THE_PAGE = {"scenario", "shape", "jwt_secret", "run_file", "samples_file", "tls_insecure"}
_CHOICES = {"shape": SHAPES}


def add_arguments(parser: ArgumentParser, scenarios: list[str]) -> None:
    """Add them to locust's parser."""
    add: Any = parser.add_argument
    for field in msgspec.structs.fields(Options):
        name = field.name
        more: dict[str, Any] = {"type": _type(field.type), "default": field.default}
        if field.type is bool:
            more = {"action": "store_true"}
        elif name == "scenario":
            more["choices"] = scenarios
        elif name in _CHOICES:
            more["choices"] = _CHOICES[name]
        add(
            f"--{name.replace('_', '-')}",
            help=_HELP[name],
            env_var=f"LOADTEST_{name.upper()}",
            include_in_web_ui=name not in _NOT_FOR_THE_PAGE,
            is_secret=name == "jwt_secret",
            **more,
        )


def _type(declared: Any) -> Any:
    return {int | None: int, float | None: float}.get(declared, declared)


def read(parsed: Namespace | None) -> Options:
    """Take them out of what locust has parsed, or was told by its master or its page."""
    assert parsed is not None
    given = {
        field.name: getattr(parsed, field.name)
        for field in msgspec.structs.fields(Options)
        if hasattr(parsed, field.name)
    }
    return msgspec.convert(given, Options, strict=False)


def as_text(options: Options) -> dict[str, str]:
    """Write them down, without the key."""
    values = msgspec.structs.asdict(options)
    return {
        name: str(value)
        for name, value in values.items()
        if value is not None and name not in ("jwt_secret", "run_file", "samples_file")
    }
