"""Owns the running of one page's blocks: Python in a module of its own, commands in a folder."""

import contextlib
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from server.providers import STORE
from tests.docs.pages import Block, Page
from tests.support import servers

EXAMPLE_PORT = "8000"
COMMAND_TIMEOUT_S = 30
OF_MAKE = frozenset(
    (
        *("MAKEFLAGS", "MFLAGS", "MAKELEVEL"),
        *("APP", "WORKERS", "HOST", "PORT", "ADMIN_PORT", "TESTS", "ARGS"),
        *("SCENARIO", "USERS", "DURATION", "PROCESSES", "SHAPE", "UI"),
    )
)


def run_python(page: Page, folder: Path) -> Iterator[Block]:
    """Run the Python blocks of a page in order; yields each after it has run as it should."""
    module = types.ModuleType("page")
    for block in page.of("python"):
        if "file" in block.marks:
            (folder / block.marks["file"]).write_text(block.text)
        target = types.ModuleType("page_alone") if "alone" in block.marks else module
        with _server_of(block, folder) as port, _importable(target):
            output = _run_block(block, target, port)
        shown = page.output_of(block)
        if shown is not None:
            assert_shown(shown, output)
        yield block


def _run_block(block: Block, module: types.ModuleType, port: str) -> str:
    # Empty lines before it, so that a traceback has the line numbers of the page.
    text = "\n" * block.line + block.text.replace(f"localhost:{EXAMPLE_PORT}", f"localhost:{port}")
    code = compile(text, block.page, "exec")
    output = io.StringIO()
    expected = block.marks.get("raises")
    with contextlib.redirect_stdout(output):
        try:
            exec(code, module.__dict__)  # noqa: S102 - the project's own pages
        except Exception as error:
            if expected not in [kind.__name__ for kind in type(error).__mro__]:
                raise
        else:
            assert expected is None, f"{block} did not raise {expected}"
    return output.getvalue()


@contextlib.contextmanager
def _server_of(block: Block, folder: Path) -> Iterator[str]:
    """Run the server that the block talks to, if it is marked so; yields the port."""
    if "served" not in block.marks:
        yield EXAMPLE_PORT
        return
    port = servers.free_port()
    command = servers.granian_command(block.marks["served"], port)
    with servers.running(command, port, cwd=folder, env=environment(port)):
        yield str(port)


@contextlib.contextmanager
def _importable(module: types.ModuleType) -> Iterator[None]:
    """Put it where msgspec and typing look up the names in annotations."""
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]


@contextlib.contextmanager
def providers_kept() -> Iterator[None]:
    """Forget the providers that are declared meanwhile."""
    before = dict(STORE._providers)
    try:
        yield
    finally:
        STORE._providers.clear()
        STORE._providers.update(before)
        STORE.version += 1


def save_files(page: Page, folder: Path) -> None:
    """Write the blocks that a page says are files."""
    for block in page.blocks:
        if "file" in block.marks:
            (folder / block.marks["file"]).write_text(block.text)


def environment(port: int) -> dict[str, str]:
    """Return what commands run with: this interpreter, that port, two workers, English."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(servers.ROOT),
        "SWITCHBOARD_PORT": str(port),
        "SWITCHBOARD_WORKERS": "2",
    }


def run_command(command: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run one line of a shell block; both outputs come as one."""
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def serve_command(line: str, port: int) -> list[str]:
    """Return what a `make serve` or `python -m server serve` line runs, on a port of our own."""
    if line.startswith("make "):
        plan = subprocess.run(
            ["make", "--dry-run", *line.split()[1:]],
            cwd=servers.ROOT,
            env={name: value for name, value in os.environ.items() if name not in OF_MAKE},
            capture_output=True,
            text=True,
            check=True,
        )
        line = plan.stdout.splitlines()[-1].removeprefix("exec ")
    _, *arguments = re.sub(r"--port \d+", "", line).split()
    return [sys.executable, *arguments, "--port", str(port)]


def assert_shown(block: Block, output: str) -> None:
    """Compare what a page shows with what was printed; `...` on the page stands for any text."""
    pattern = re.escape(block.text.strip()).replace(re.escape("..."), ".*?")
    message = f"{block} shows\n{block.text}\nbut this was printed\n{output}"
    assert re.fullmatch(pattern, output.strip(), re.DOTALL), message
