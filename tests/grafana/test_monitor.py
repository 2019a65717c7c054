"""`make monitor` starts what there is: compose with Docker, else prometheus alone, else an error.

No machine of the tests runs Docker's engine. So for that case alone a program of that name stands
on PATH, which writes down what it was asked for.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.grafana.prometheus import Prometheus, needs_prometheus
from tests.support.processes import is_alive, wait_until
from tests.support.servers import ROOT, free_port, running

pytestmark = pytest.mark.e2e

SCRIPT = ROOT / "grafana" / "monitor.sh"
SERVE = (sys.executable, "-m", "server", "serve", "examples.showcase:app", "--workers", "1")
TOOLS = ("sh", "sed", "cp", "rm", "mktemp", "dirname", "make", "env")
OURS = ("ADMIN_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "PORT", "MAKEFLAGS", "MAKELEVEL")
DOCKER = """\
#!/bin/sh
[ "$1" != info ] || exit {code}
echo "$@"
"""


def environment(folder: Path, *programs: str, docker: int | None = None) -> dict[str, str]:
    """Return one in which those programs are there, and a docker whose engine says `docker`."""
    found = folder / "bin"
    found.mkdir()
    for program in (*TOOLS, *programs):
        path = shutil.which(program)
        assert path is not None
        (found / program).symlink_to(path)
    if docker is not None:
        (found / "docker").write_text(DOCKER.format(code=docker))
        (found / "docker").chmod(0o755)
    scratch = folder / "scratch"
    scratch.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "PATH": str(found), "TMPDIR": str(scratch)}


def run(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "monitor"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_it_starts_compose_where_docker_runs(tmp_path: Path):
    done = run(environment(tmp_path, docker=0))
    assert done.returncode == 0, done.stderr
    compose = f"--project-name switchboard --file {ROOT}/grafana/compose.yml up --build"
    assert done.stdout.splitlines()[-1] == f"compose {compose}"
    assert "http://127.0.0.1:3000/" in done.stdout


@pytest.mark.parametrize("docker", [None, 1])
def test_it_says_what_to_do_where_nothing_is(tmp_path: Path, docker: int | None):
    """Neither docker nor prometheus; or a docker command whose engine does not run."""
    done = run(environment(tmp_path, docker=docker))
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        "error: neither a running Docker nor prometheus is here; install one (Debian, Ubuntu:"
        " apt install prometheus)"
    )


def test_it_takes_no_nonsense_for_a_port(tmp_path: Path):
    done = run({**environment(tmp_path), "PROMETHEUS_PORT": "9090/x"})
    assert done.stderr.splitlines()[0] == "error: 9090/x is no port"


@contextmanager
def monitor(env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run it as a terminal does: in a process group that Ctrl-C reaches as a whole."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "monitor"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@needs_prometheus
@pytest.mark.timeout(100)
@pytest.mark.parametrize("ends", ["Ctrl-C", "SIGTERM to the script"])
def test_prometheus_alone_watches_a_server(tmp_path: Path, ends: str):
    """On the ports that it is told; it scrapes, has the rules, and leaves nothing when it ends."""
    port, admin_port = free_port(), free_port()
    watching = Prometheus(free_port())
    ports = {"ADMIN_PORT": str(admin_port), "PROMETHEUS_PORT": str(watching.port)}
    env = environment(tmp_path, "prometheus", docker=1)
    log = tmp_path / "log"
    command = [*SERVE, "--port", str(port), "--admin-port", str(admin_port)]
    with running(command, port), monitor({**env, **ports}, log) as process:
        wait_until(watching.is_ready, 25, message="Prometheus is ready")
        target = f"http://127.0.0.1:{admin_port}/metrics"
        wait_until(lambda: target in watching.get("/api/v1/targets")[1])
        assert "SwitchboardDown" in watching.get("/api/v1/rules")[1]
        assert f"http://127.0.0.1:{watching.port}/alerts" in log.read_text()
        (scratch,) = (tmp_path / "scratch").iterdir()
        assert (scratch / "data").is_dir()

        if ends == "Ctrl-C":
            # When the first scrape comes within the 15 seconds is up to Prometheus; once is enough.
            wait_until(lambda: watching.query("up == 1"), 25, message=log.read_text())
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        process.wait(15)
        assert not watching.is_ready()
        wait_until(lambda: not is_alive(process.pid))
        assert list((tmp_path / "scratch").iterdir()) == []
