"""Finding the app, through the real command line: each mistake gives one line that helps."""

from pathlib import Path

import pytest

from tests.support.cli import APP, Project

pytestmark = pytest.mark.e2e


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("name", ["nosuch", "nosuch.deep", "good.deep"])
def test_the_module_is_missing(project: Project, name: str) -> None:
    line = project.error("check", f"{name}:app")
    assert line.startswith(f"cannot import '{name}': there is no module 'nosuch'") or (
        name == "good.deep" and "'good.deep'" in line
    )
    assert str(project.folder) in line


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nonexistent_dependency", "ModuleNotFoundError: No module named 'nonexistent_dep"),
        ("from os import nonexistent", "ImportError: cannot import name 'nonexistent'"),
        ("import os\n1 / 0", "ZeroDivisionError: division by zero (broken.py:2)"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines (broken.py:1)"),
    ],
)
def test_the_module_does_not_import(project: Project, source: str, problem: str) -> None:
    """The line names the error and the user's own line of code."""
    project.write("broken.py", source)
    line = project.error("check", "broken:app")
    assert line.startswith(f"importing 'broken' failed: {problem}")
    assert "broken.py" in line


NEEDS_A_SECRET = """
from server import App
from server.auth import JWTAuthentication

app = App(auth=[JWTAuthentication()])
"""


def test_a_secret_is_missing(project: Project) -> None:
    """The line says how to set it, and which line of the user's asks for it."""
    project.write("needy.py", NEEDS_A_SECRET)
    line = project.error("check", "needy")
    assert line.startswith("importing 'needy' failed: JWTAuthentication has no key to verify")
    assert "SWITCHBOARD_JWT_SECRET or SWITCHBOARD_JWT_SECRET_FILE" in line
    assert line.endswith("(needy.py:5)")
    line = project.error("check", "needy", env={"SWITCHBOARD_JWT_SECRET": "sesame"})
    assert "secret is 6 bytes long, HS256 needs at least 32" in line
    assert "sesame" not in line
    assert line.endswith("(needy.py:5)")


def test_a_mistake_in_a_route(project: Project) -> None:
    """The line is that of the user's decorator, not where it was found out."""
    project.write("twice.py", APP + "\n\napp.websocket_route('/echo')(echo)\n")
    line = project.error("check", "twice")
    assert line.startswith("importing 'twice' failed: RouteError: ")
    assert line.endswith("(twice.py:12)")


def test_the_module_ends_the_process(project: Project) -> None:
    project.write("exits.py", "raise SystemExit(3)")
    line = project.error("check", "exits")
    assert "SystemExit(3)" in line
    assert "__main__" in line
    project.write("dies.py", "import os; os._exit(4)")
    assert project.error("check", "dies") == "importing 'dies' ended the process (exit code 4)"


def test_the_attribute_is_missing(project: Project) -> None:
    line = project.error("check", "good:application")
    assert line == "module 'good' has no attribute 'application': it has the app good:app"
    project.write("empty.py", "")
    line = project.error("check", "empty")
    assert "no attribute 'app', nor any App: assign one" in line


def test_the_attribute_is_no_app(project: Project) -> None:
    project.write("odd.py", "number = 5\ndef view(ws): pass\ndef make(): pass\n")
    assert "odd:number is a int, not an App or an ASGI callable" in project.error(
        "check", "odd:number"
    )
    assert "an ASGI callable takes (scope, receive, send)" in project.error("check", "odd:view")
    assert "call it in the module: app = make()" in project.error("check", "odd:make")


@pytest.mark.parametrize("reference", [":app", "apps/good:app", "good:app:app", "good:"])
def test_the_reference_has_another_form(project: Project, reference: str) -> None:
    """`good:` is taken for `good:app`, as `good` is."""
    if reference == "good:":
        assert project.run("check", reference, "--port", "0").returncode == 0
        return
    line = project.error("check", reference)
    assert f"app {reference!r} does not have the form pkg.mod:app" in line
    assert ("without .py" in line) == ("/" in reference)


def test_any_asgi_callable_will_do(project: Project) -> None:
    project.write("plain.py", "async def app(scope, receive, send): pass\nbad = lambda: 1\n")
    project.write("part/deep.py", "class Holder:\n    from plain import app as inner\n")
    for reference in ("plain", "part.deep:Holder.inner"):
        done = project.run("check", reference, "--port", "0")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("shadow", "python"),
    [("server.py", ["-P"]), ("workers.py", []), ("workers/__init__.py", ["-P"])],
)
def test_a_module_of_the_user_shadows_ours(
    project: Project, shadow: str, python: list[str]
) -> None:
    """`-P` leaves the current directory off the path, as a console script does.

    (Without it, `python -m server` runs the user's own server.py, and we do not get to say a word.)
    """
    project.write(shadow, APP)
    line = project.error("check", "good", python=python)
    package = shadow.partition("/")[0].removesuffix(".py")
    assert line == (
        f"{shadow} in this directory has the name of Switchboard's package {package!r},"
        " so one would hide the other: rename it"
    )


def test_what_the_app_prints_at_its_import_is_no_output(project: Project) -> None:
    project.write("chatty.py", "print('hello')\n" + APP)
    done = project.run("routes", "chatty", "--json")
    assert (done.returncode, done.stderr) == (0, "hello\n")
    assert done.stdout.startswith("[")


def test_a_thread_of_the_app_does_not_hold_the_command(project: Project) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    project.write("threads.py", thread + APP)
    assert project.run("routes", "threads").returncode == 0
