"""Every code block of README.md and docs/ is run, in these ways.

- `python`: the blocks of a page run in order in one namespace, so that examples may build on each
  other. What a block prints is compared with a `text` block right after it.
- `sh`: each line is a command that must succeed, in a folder that has the page's files. What they
  print is compared with a `text` block right after it. A line that starts a server is started,
  connected to, and stopped; the lines in `ELSEWHERE` are run by another test.
- `toml`: settings, loaded with `python -m server check`.
- `text`: output of the block before it, as above; `...` in it stands for any text.

No other language may stand in a page. A comment right above a block changes how it is run:

- `<!-- test: alone -->`: in a namespace of its own.
- `<!-- test: raises NAME -->`: it must raise that exception, or one derived from it.
- `<!-- test: file NAME -->`: it is also a file of that name, for the commands of the page.
- `<!-- test: served APP -->`: while it runs, that app is served at localhost:8000.
- `<!-- test: exits NUMBER -->`: its command ends with that exit code.
- `<!-- test: picture -->`: a `text` block that is no output.
"""

import re
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from server.settings import Settings
from tests.docs import running
from tests.docs.pages import LANGUAGES, Block, Page, pages
from tests.support import servers

MARKS = {
    "python": {"alone", "raises", "file", "served"},
    "sh": {"exits"},
    "toml": {"file"},
    "text": {"picture"},
}
ELSEWHERE = {
    "make test": "this is part of it",
    "make check": "by .ci/run",
    "make cover": "by .ci/run, as `make test COVER=1`",
    "make docs": "test_generated writes the same pages",
    "make loadtest": "tests/loadtest/test_runs runs what it runs, at a small size",
    "make capacity": "the same",
}
# Its figures and commands belong to `make bench`, which takes minutes and writes it.
RUN_PAGES = [page for page in pages() if page.name != "docs/performance.md"]
SERVES = ("make serve", "python -m server serve")
OTHER_HOSTS = ("uvicorn ",)


def _blocks(*languages: str) -> list[Block]:
    return [block for page in RUN_PAGES for block in page.of(*languages)]


def _commands() -> list[tuple[Block, str]]:
    return [(block, line) for block in _blocks("sh") for line in _lines(block)]


def _lines(block: Block) -> list[str]:
    lines = block.text.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition(" #")[0].strip())]


def _page(block: Block) -> Page:
    return next(page for page in pages() if page.name == block.page)


SERVE_LINES = [(block, line) for block, line in _commands() if line.startswith(SERVES)]
OTHER_HOST_LINES = [(block, line) for block, line in _commands() if line.startswith(OTHER_HOSTS)]
SHELL_BLOCKS = [
    block
    for block in _blocks("sh")
    if not any(line.startswith((*SERVES, *OTHER_HOSTS)) for line in _lines(block))
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", pages(), ids=str)
def test_page_can_be_read(page: Page):
    """Nothing passes by unread because of the way it is written."""
    assert page.problems == ()


@pytest.mark.parametrize("block", [b for page in RUN_PAGES for b in page.blocks], ids=str)
def test_block_says_how_it_is_run(block: Block):
    """A block nobody runs would be a block that nobody tests."""
    assert block.language in LANGUAGES
    assert set(block.marks) <= MARKS[block.language]
    if block.language == "text" and "picture" not in block.marks:
        assert block.follows is not None
        assert block.follows.language in ("python", "sh")


@pytest.mark.parametrize("page", [page for page in RUN_PAGES if page.of("python")], ids=str)
def test_python_blocks(page: Page, folder: Path):
    """They run in order and do what their asserts and their output say."""
    running.save_files(page, folder)
    with running.providers_kept():
        ran = list(running.run_python(page, folder))
    assert ran == page.of("python")


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_shell_block(block: Block, folder: Path):
    """Each command ends as it should and prints what the page shows."""
    running.save_files(_page(block), folder)
    port = servers.free_port()
    output = ""
    for line in _lines(block):
        if line in ELSEWHERE:
            continue
        done = running.run_command(line, folder, port)
        assert done.returncode == int(block.marks.get("exits", 0)), f"{line}\n{done.stdout}"
        output += done.stdout
    shown = _page(block).output_of(block)
    if shown is not None:
        running.assert_shown(shown, output.replace(str(port), running.EXAMPLE_PORT))


@pytest.mark.e2e
@pytest.mark.parametrize(("block", "line"), SERVE_LINES, ids=str)
def test_serve_line(block: Block, line: str, folder: Path):
    """The server starts, says where, takes a connection, and stops on Ctrl-C with exit code 0."""
    running.save_files(_page(block), folder)
    port = servers.free_port()
    command = running.serve_command(line, port)
    with servers.running(command, port, cwd=folder, env=running.environment(port)) as server:
        output = server.wait_for_output("Ctrl-C")
        route = re.search(r"route +(ws://\S+)", output)
        assert route is not None, output
        with connect(re.sub(r"\{\w+\}", "1", route[1])):
            pass
        assert server.stop(signal.SIGINT) == 0
    shown = _page(block).output_of(block)
    if shown is not None:
        banner = output[output.index("Switchboard serves") : output.index("Ctrl-C") + 6]
        banner = re.sub(r"(admin .*:)\d+", rf"\g<1>{Settings.admin_port}", banner)
        running.assert_shown(shown, banner.replace(str(port), running.EXAMPLE_PORT))


@pytest.mark.e2e
@pytest.mark.parametrize(("block", "line"), OTHER_HOST_LINES, ids=str)
def test_other_host_line(block: Block, line: str, folder: Path):
    """Another ASGI server serves the showcase."""
    port = servers.free_port()
    command = [sys.executable, "-m", *line.split(), "--port", str(port)]
    with (
        servers.running(command, port, cwd=folder, env=running.environment(port)),
        connect(f"ws://127.0.0.1:{port}/ws/echo") as ws,
    ):
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"


@pytest.mark.parametrize("block", _blocks("toml"), ids=str)
def test_settings_block(block: Block, folder: Path):
    """Every setting in it takes effect."""
    (folder / "page.toml").write_text(block.text)
    command = "python -m server check examples.showcase:app --config page.toml"
    command = f"env -u SWITCHBOARD_WORKERS {command}"  # it would beat the file
    done = running.run_command(command, folder, servers.free_port())
    assert done.returncode == 0, done.stdout
    in_force = tomllib.loads(done.stdout.partition("\nok:")[0])
    assert _is_within(tomllib.loads(block.text), in_force)


def _is_within(part: dict[str, Any], whole: dict[str, Any]) -> bool:
    return all(
        _is_within(value, whole[key]) if isinstance(value, dict) else whole[key] == value
        for key, value in part.items()
    )
