"""Shapes are plans of stages; scenarios, options and tokens are what they say."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

import jwt
import msgspec
import pytest

from loadtest import machine, options, shapes, tokens
from loadtest.options import Options
from loadtest.scenarios import SCENARIOS
from loadtest.shapes import ShapeError, Stage, plan
from tests.support.servers import ROOT

SECRET = "a secret that is long enough for it"


def course(stages: list[Stage], every_s: float) -> list[int]:
    """Return how many users there are to be at each of these times, until the end."""
    seen: list[int] = []
    while (now := shapes.at(stages, len(seen) * every_s)) is not None:
        seen.append(now[0])
    return seen


def make(shape: str, **more: Any) -> list[Stage]:
    return plan(shape, **{"users": 100, "spawn_rate": 10, "duration_s": 30, **more})


def test_steps_add_as_many_users_each_time_until_all_are_there() -> None:
    stages = make("steps", step_users=30, step_seconds=10)
    assert course(stages, 10) == [30, 60, 90, 100]
    assert course(make("steps"), 15) == [*range(10, 101, 10)]
    assert all(stage.rate >= 3 * 30 / 10 for stage in stages), "a step comes in its first third"


def test_a_ramp_goes_up_and_down_again() -> None:
    up, down = make("ramp")
    assert (up.seconds, up.users, up.rate) == (20, 100, 10)
    assert (down.seconds, down.users, down.rate) == (10, 0, 10)


def test_a_spike_is_sudden() -> None:
    assert course(make("spike"), 10) == [10, 100, 10]
    assert make("spike")[1].rate == 50


def test_a_soak_stays() -> None:
    assert course(make("soak", duration_s=3600), 600) == [100] * 6


@pytest.mark.parametrize("more", [{"users": 0}, {"spawn_rate": 0}, {"duration_s": 0}])
def test_a_shape_of_nothing_is_an_error(more: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match="above 0"):
        make("soak", **more)


def test_unknown_shapes_and_steps_of_nothing_are_errors() -> None:
    with pytest.raises(ShapeError, match="no shape zigzag"):
        make("zigzag")
    with pytest.raises(ShapeError, match="a step needs"):
        make("steps", step_users=-1)


def test_each_scenario_names_users_that_exist_on_the_routes_that_they_use() -> None:
    """Asked of a process of its own, for it imports locust."""
    code = "from loadtest.users import USERS\nfor n, u in USERS.items(): print(n, u.route)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    routes = dict(line.split() for line in done.stdout.splitlines())
    assert {user for scenario in SCENARIOS.values() for user in scenario.users} == set(routes)
    for scenario in SCENARIOS.values():
        assert {routes[user] for user in scenario.users} == set(scenario.routes)


def test_scenarios_can_be_shown() -> None:
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert "\n" not in scenario.help
        assert scenario.success
        assert "1000" in scenario.close_codes


def test_options_have_help_and_are_read_as_they_were_given() -> None:
    class Parser(ArgumentParser):
        """Takes what locust's does."""

        def add_argument(self, *names: Any, **more: Any) -> Any:
            for name in ("env_var", "include_in_web_ui", "is_secret"):
                more.pop(name)
            return super().add_argument(*names, **more)

    parser = Parser(add_help=False)
    options.add_arguments(parser, list(SCENARIOS))
    assert options.read(parser.parse_args([])) == Options()
    given = parser.parse_args(["--rate", "2.5", "--room-size", "7", "--tls-insecure"])
    read = options.read(given)
    assert (read.rate, read.room_size, read.tls_insecure, read.interval) == (2.5, 7, True, None)


def test_options_that_a_page_has_filled_in_come_as_text() -> None:
    assert options.read(Namespace(rate="2.5", unknown=1)).rate == 2.5


def test_the_key_is_not_written_down() -> None:
    text = options.as_text(Options(jwt_secret=SECRET, rate=1.0))
    assert SECRET not in text.values()
    assert (text["rate"], text["scenario"]) == ("1.0", "echo")
    assert "interval" not in text


def test_a_good_token_is_good() -> None:
    claims = jwt.decode(tokens.make(SECRET, "ada", "us"), SECRET, ["HS256"], audience="us")
    assert claims["sub"] == "ada"
    assert claims["exp"] > claims["iat"]
    assert "aud" not in jwt.decode(tokens.make(SECRET, "ada"), SECRET, ["HS256"])


def test_a_bad_token_is_bad() -> None:
    errors = set()
    for _ in range(200):
        with pytest.raises(jwt.InvalidTokenError) as caught:
            jwt.decode(tokens.make_bad(SECRET, "ada", "us"), SECRET, ["HS256"], audience="us")
        errors.add(type(caught.value))
    assert {jwt.ExpiredSignatureError, jwt.InvalidAudienceError} < errors


def test_what_a_machine_cannot_do_is_said_in_a_line() -> None:
    limit = machine.raise_file_limit()
    assert machine.problem(100, 1, is_loopback=True) is None
    if limit < 1_000_000:
        problem = machine.problem(2_000_000, 2, is_loopback=True)
        assert problem is not None
        assert "need 1000100 open files each" in problem
    problem = machine.problem(70_000, 100, is_loopback=False)
    assert problem is not None
    assert "ip_local_port_range" in problem


def test_a_machine_can_be_described() -> None:
    described = machine.describe()
    assert int(described["cores"]) > 0
    assert set(msgspec.json.decode(msgspec.json.encode(described))) >= {"memory", "files", "kernel"}


def test_a_process_that_works_uses_its_core() -> None:
    meter = machine.CpuMeter()
    sum(range(2_000_000))
    length_s, share = meter.look()
    assert length_s > 0
    assert 0 < share < 1.5
