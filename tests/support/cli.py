"""Owns running our command line in a process of its own, in a directory that a test fills."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers import ROOT

TIMEOUT_S = 30

APP = """\
from server import App

app = App()


@app.websocket_route("/echo")
async def echo(ws):
    async for message in ws:
        await ws.send(message)
"""

LEADER = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Makes the terminal on stdin its own, as a login shell does, and becomes the program."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment with our packages importable, and any free admin port."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SWITCHBOARD_")}
    ours = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SWITCHBOARD_ADMIN_PORT": "0"}
    return {**clean, **ours, **(more or {})}


class Project:
    """A user's directory, with `good.py` in it.

    Attributes:
        folder: where it is, and where commands run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("good.py", APP)

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def command(self, *arguments: str, python: Sequence[str] = ()) -> list[str]:
        """Return the command line of `python -m server`."""
        return [sys.executable, *python, "-m", "server", *arguments]

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = (),
        before: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m server` to its end.

        Args:
            python: flags of the interpreter.
            before: a program and its arguments that run the command.
        """
        return subprocess.run(
            [*before, *self.command(*arguments, python=python)],
            cwd=self.folder,
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def error(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        python: Sequence[str] = (),
    ) -> str:
        """Run a command that must fail with exit code 2 and one line; returns that line."""
        done = self.run(*arguments, env=env, python=python)
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        start, _, text = line.partition(": error: ")
        assert start == "switchboard", line
        return text
