"""Owns how the proxies' files of examples/deploy are run in tests; knows no test.

They have the ports and paths of a real machine. `written` copies one into a directory of the test
with each of these replaced; one that is not in the file is an error, so that none goes by
unnoticed. Everything else is run as it is in the file.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import ROOT

DEPLOY = ROOT / "examples" / "deploy"
PROGRAMS = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}


def text_of(name: str) -> str:
    """Return a file of examples/deploy."""
    return (DEPLOY / name).read_text()


def program(name: str) -> str:
    """Return where the program is; skip the test if it is nowhere."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def written(name: str, folder: Path, replaced: dict[str, str]) -> Path:
    """Copy a file of examples/deploy into `folder`, with each key replaced by its value."""
    text = text_of(name)
    for old, new in replaced.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    copy = folder / name
    copy.write_text(text)
    return copy


def config(name: str, folder: Path, listen: int, port: int, admin_port: int) -> Path:
    """Write the file of the proxy `name` with the ports of a test."""
    ports = {"127.0.0.1:8000": f"127.0.0.1:{port}"}
    if name == "nginx":
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        replaced = {
            "listen 80 ": f"listen 127.0.0.1:{listen} ",
            "/run/nginx.pid": f"{folder}/nginx.pid",
            "/var/log/nginx": str(folder),
            "worker_processes auto;": "worker_processes 1;",
            "http {": "http { " + temporary,
        }
    elif name == "haproxy":
        replaced = {
            "bind :80": f"bind 127.0.0.1:{listen}",
            "port 9464": f"port {admin_port}",
            "maxconn 32000": "maxconn 1000",  # it ends where it may not have the files for that
        }
    else:
        replaced = {
            # Its own port of administration is one for the machine, and here there are several.
            "\n:80 {": f"\n{{\n\tadmin off\n}}\nhttp://127.0.0.1:{listen} {{",
            "health_port 9464": f"health_port {admin_port}",
        }
    return written(PROGRAMS[name], folder, {**ports, **replaced})


def commands(name: str, file: Path) -> tuple[list[str], list[str]]:
    """Return the command that checks the file, and the one that serves with it."""
    at = program(name)
    if name == "nginx":
        base = [at, "-p", str(file.parent), "-e", str(file.parent / "error.log"), "-c", str(file)]
        return [*base, "-t"], [*base, "-g", "daemon off;"]
    if name == "haproxy":
        return [at, "-c", "-f", str(file)], [at, "-db", "-f", str(file)]
    arguments = ["--config", str(file), "--adapter", "caddyfile"]
    return [at, "validate", *arguments], [at, "run", *arguments]


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy in the foreground, and end it."""
    home = {"HOME": str(folder), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, env=home, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
