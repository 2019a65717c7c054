"""`check --production` as a user meets it: lines, exit codes, and no secret in any of them."""

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.hardening import ITEMS
from tests.support.cli import TIMEOUT_S, Project, environment

pytestmark = pytest.mark.e2e

AS_A_USER = """
import os, sys
os.geteuid = lambda: 1000
from server.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""The command line, run by somebody who is not root, whoever runs the tests."""

HARDENED = """
from server import AdmissionLimits, App, ConnectionLimits
from server.auth import AllowAny, APIKeyAuthentication, IsAuthenticated, JWTAuthentication
from starlette.middleware.trustedhost import TrustedHostMiddleware

app = App(
    auth=[JWTAuthentication(query_param=None), APIKeyAuthentication()],
    guards=[IsAuthenticated()],
    max_connections=500,
    admission=AdmissionLimits(connections_per_ip=20, connections_per_user=5, handshakes_per_s=100),
    limits=ConnectionLimits(messages_per_s=10, idle_timeout_s=300, lifetime_s=3600),
    trusted_proxies=["127.0.0.1"],
)
app.add_sessions(https_only=True)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["example.com"])


@app.websocket_route("/echo")
async def echo(ws):
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/hello", auth=[], guards=[AllowAny()])
async def hello(ws):
    await ws.send("hello")
"""


class Secrets:
    """Real ones, in every place where one may be."""

    def __init__(self, project: Project) -> None:
        self.jwt, self.session, self.admin, *self.keys = (
            secrets.token_urlsafe(32) for _ in range(5)
        )
        self.file = project.write("session-secret", f"{self.session}\n")
        self.file.chmod(0o600)
        self.env = {
            "SWITCHBOARD_JWT_SECRET": self.jwt,
            "SWITCHBOARD_API_KEYS": ",".join(self.keys),
            "SWITCHBOARD_SESSION_SECRET_FILE": str(self.file),
            "SWITCHBOARD_ADMIN_KEY": self.admin,
        }

    def none_in(self, text: str) -> bool:
        """Whether no recognisable part of one is in it."""
        all_of_them = (self.jwt, self.session, self.admin, *self.keys)
        return not any(each[i : i + 8] in text for each in all_of_them for i in range(36))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("hardened.py", HARDENED)
    return project


def check(
    project: Project, app: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AS_A_USER, "check", "--production", app, "--port", "0"]
    return subprocess.run(
        [*command, *arguments],
        cwd=project.folder,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def levels(output: str) -> dict[str, str]:
    """Return the level of each item of a check-list."""
    lines = [line.split() for line in output.partition("\n\nok: ")[2].splitlines()[2:]]
    return {
        line[1]: line[0] for line in lines if len(line) > 2 and line[0] in ("ok", "warn", "FAIL")
    }


def test_a_hardened_app_passes_and_no_secret_is_printed(project: Project) -> None:
    hidden = Secrets(project)
    done = check(project, "hardened", env=hidden.env)
    assert done.returncode == 0, done
    assert levels(done.stdout) == dict.fromkeys(ITEMS, "ok")
    assert done.stdout.splitlines()[-1].startswith(f"{len(ITEMS)} items: {len(ITEMS)} ok, 0 warn")
    assert "# admin_key is set\n" in done.stdout
    assert f"reads SWITCHBOARD_SESSION_SECRET_FILE {hidden.file}\n" in done.stdout
    assert hidden.none_in(done.stdout + done.stderr)


def test_a_hardened_app_that_is_served_badly(project: Project) -> None:
    """Settings have the last word, for worse as well."""
    hidden = Secrets(project)
    hidden.file.chmod(0o644)
    project.write("switchboard.toml", f'admin_key = "{hidden.admin}"').chmod(0o640)
    hidden.env.pop("SWITCHBOARD_ADMIN_KEY")
    flags = ["--host", "0.0.0.0", "--admin-host", "0.0.0.0"]  # noqa: S104 - not served
    done = check(project, "hardened", *flags, "--trusted-proxies", "0.0.0.0/0", env=hidden.env)
    assert done.returncode == 1, done
    failed = [item for item, level in levels(done.stdout).items() if level == "FAIL"]
    assert failed == ["trusted-proxies", "admin-host", "secret-files"]
    assert f"SWITCHBOARD_SESSION_SECRET_FILE {hidden.file} (0644)" in done.stdout
    assert hidden.none_in(done.stdout + done.stderr)


def test_a_key_in_the_settings_file_is_a_secret_in_a_file(project: Project) -> None:
    hidden = Secrets(project)
    hidden.env.pop("SWITCHBOARD_ADMIN_KEY")
    path = project.write("prod.toml", f'admin_key = "{hidden.admin}"')
    for mode, level in ((0o600, "ok"), (0o640, "warn"), (0o644, "FAIL")):
        path.chmod(mode)
        done = check(project, "hardened", "--config", "prod.toml", env=hidden.env)
        assert levels(done.stdout)["secret-files"] == level
        assert "admin_key in prod.toml" in done.stdout
        assert hidden.none_in(done.stdout + done.stderr)
    path.write_text("workers = 1\n")
    done = check(project, "hardened", "--config", "prod.toml", env=hidden.env)
    assert "prod.toml" not in done.stdout


def test_the_admin_keys_file_is_looked_at_once(project: Project) -> None:
    hidden = Secrets(project)
    hidden.env.pop("SWITCHBOARD_ADMIN_KEY")
    path = project.write("admin-key", hidden.admin)
    path.chmod(0o604)
    hidden.env["SWITCHBOARD_ADMIN_KEY_FILE"] = str(path)
    done = check(project, "hardened", "--json", env=hidden.env)
    (finding,) = [each for each in json.loads(done.stdout) if each["item"] == "secret-files"]
    assert finding["level"] == "FAIL"
    assert finding["found"] == f"others may read or change admin_key_file {path} (0604)"
    assert hidden.none_in(done.stdout + done.stderr)


def test_an_app_that_is_open_fails_and_the_line_names_its_route(project: Project) -> None:
    done = check(project, "good")
    assert done.returncode == 1
    assert levels(done.stdout)["open-routes"] == "FAIL"
    (line,) = [line for line in done.stdout.splitlines() if " open-routes " in line]
    assert "meant: /echo; give auth= and guards=" in line


def test_root_fails(project: Project) -> None:
    hidden = Secrets(project)
    text = AS_A_USER.replace("1000", "0")
    done = subprocess.run(
        [sys.executable, "-c", text, "check", "hardened", "--production", "--port", "0"],
        cwd=project.folder,
        env=environment(hidden.env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert levels(done.stdout) == dict.fromkeys(ITEMS, "ok") | {"root": "FAIL"}


def test_json_is_the_items_alone(project: Project) -> None:
    hidden = Secrets(project)
    done = check(project, "hardened", "--json", "--admission.connections", "50000", env=hidden.env)
    findings = json.loads(done.stdout)
    assert [finding["item"] for finding in findings] == list(ITEMS)
    assert findings[0] == {
        "item": "root",
        "level": "ok",
        "found": "runs as user 1000",
        "remedy": "",
        "routes": [],
    }
    assert hidden.none_in(done.stdout + done.stderr)
    done = check(project, "good", "--json")
    assert done.returncode == 1
    by_name = {finding["item"]: finding for finding in json.loads(done.stdout)}
    assert by_name["open-routes"]["routes"] == ["/echo"]


def test_json_needs_production(project: Project) -> None:
    line = project.error("check", "good", "--json")
    assert line == "check --json prints the items of --production: give both"


def test_what_cannot_be_used_is_2_and_one_line(project: Project) -> None:
    """A missing or bad secret is such a thing, and its line has nothing of it."""
    hidden = Secrets(project)
    assert "JWTAuthentication has no key" in project.error("check", "--production", "hardened")
    hidden.env["SWITCHBOARD_ADMIN_KEY"] = hidden.admin[:12]
    line = project.error("check", "--production", "hardened", env=hidden.env)
    assert "a key has at least 16 characters" in line
    assert hidden.none_in(line)
    hidden = Secrets(project)
    hidden.env["SWITCHBOARD_API_KEYS"] = f"{hidden.keys[0]},{hidden.keys[1][:12]}"
    line = project.error("check", "--production", "hardened", env=hidden.env)
    assert "API key 2 has 12 characters" in line
    assert hidden.none_in(line)


def test_an_app_of_another_kind(project: Project) -> None:
    project.write("foreign.py", "async def app(scope, receive, send):\n    pass\n")
    done = check(project, "foreign")
    assert done.returncode == 0
    assert levels(done.stdout)["app"] == "warn"
    assert "open-routes" not in done.stdout


def test_no_setting_switches_it_on(project: Project) -> None:
    """It is a question of this call, and no state of the server."""
    done = project.run("check", "good", "--port", "0", env={"SWITCHBOARD_PRODUCTION": "1"})
    assert done.returncode == 0
    assert "open-routes" not in done.stdout


def test_help_teaches_it(project: Project) -> None:
    text = " ".join(project.run("check", "--help").stdout.replace("│", " ").split())
    assert "--production" in text
    assert "one line for each item" in text
    assert "Exit code 1 if one fails" in text
