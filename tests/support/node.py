"""Owns the running of scripts under Node, line by line, with what npm installs for them."""

import fcntl
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

Event = dict[str, Any]


def install(folder: Path) -> None:
    """Have npm install what a folder's package.json names, once for all processes of the tests."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node with npm (Debian: apt install nodejs npm)")
    with (folder / "package.json").open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        lock = (folder / "package-lock.json").read_bytes()
        mark = folder / "node_modules" / ".installed"
        if mark.exists() and mark.read_bytes() == lock:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-progress"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"npm could not install what {folder.name} needs: {result.stderr[-300:]}")
        mark.write_bytes(lock)


class Script:
    """A script that runs: what it tells, and orders for it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[Event] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next(self, timeout_s: float = 30.0) -> Event:
        """Return what it tells next."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            raise AssertionError(f"it told nothing more after {self.events[-5:]}") from None
        assert line is not None, f"it has ended with {self.process.wait()}: {self.events[-5:]}"
        event: Event = json.loads(line)
        assert event["event"] != "unhandled", event
        self.events.append(event)
        return event

    def until(self, name: str, timeout_s: float = 50.0) -> Event:
        """Return the next event of a name."""
        deadline = time.monotonic() + timeout_s
        while (event := self.next(max(0.1, deadline - time.monotonic())))["event"] != name:
            pass
        return event

    def order(self) -> None:
        """Tell it to go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextmanager
def script(folder: Path, name: str, url: str, *arguments: object) -> Iterator[Script]:
    """Run a script of a folder; it has to end by itself, for a closed client keeps no timer."""
    install(folder)
    process = subprocess.Popen(
        ["node", f"scripts/{name}.js", url, *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    running_script = Script(process)
    try:
        yield running_script
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
