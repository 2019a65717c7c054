"""Owns finding the app to serve from text such as `pkg.mod:app`, and saying why it cannot.

It imports the user's module and knows nothing of processes or sockets.
"""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.app import App
from server.exceptions import SettingsError
from server.shadowing import shadow_in

_OURS = str(Path(__file__).parent) + os.sep


def load_app(reference: str) -> Callable[..., Any]:
    """Import `module:attribute` (attribute `app` if not given) from the current directory.

    Returns:
        An App, or any ASGI 3 callable.

    Raises:
        SettingsError: one line with what is wrong and the way out.
    """
    module_name, _, attribute = reference.partition(":")
    attribute = attribute or "app"
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        hint = " (write it with dots and without .py)" if "/" in reference else ""
        raise SettingsError(f"app {reference!r} does not have the form pkg.mod:app{hint}")
    if sys.path[:1] != [str(Path.cwd())]:
        sys.path.insert(0, str(Path.cwd()))
    if (problem := shadow_in(Path.cwd())) is not None:
        raise SettingsError(problem)
    app = _attribute(_import(module_name), module_name, attribute)
    if not isinstance(app, App):
        _check_asgi(reference, app)
    return app  # type: ignore[no-any-return]


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise SettingsError(
                f"cannot import {name!r}: there is no module {error.name!r} in {Path.cwd()} or"
                " among the installed packages; start from the directory that has it"
            ) from error
        raise SettingsError(_import_failure(name, error)) from error
    except Exception as error:
        raise SettingsError(_import_failure(name, error)) from error
    except SystemExit as error:
        raise SettingsError(
            f"importing {name!r} ended the process with SystemExit({error.code!r}): move that"
            " call under `if __name__ == '__main__':`"
        ) from error


def _import_failure(name: str, error: Exception) -> str:
    """Name the error and the line of code that is to be changed, as far as that can be seen.

    It is the innermost that is neither of the import machinery nor of this package, which only
    says what it was told wrongly.
    """
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(("<frozen", _OURS)):
            where = f" ({_short(frame.filename)}:{frame.lineno})"
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({_short(error.filename)}:{error.lineno})"
    text = " ".join(str(error).split())
    kind = "" if isinstance(error, SettingsError) else f"{type(error).__name__}: "
    return f"importing {name!r} failed: {kind}{text}{where}"


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _attribute(module: Any, module_name: str, attribute: str) -> Any:
    value = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            apps = sorted(name for name, item in vars(module).items() if isinstance(item, App))
            hint = "; ".join(f"it has the app {module_name}:{name}" for name in apps)
            raise SettingsError(
                f"module {module_name!r} has no attribute {attribute!r}"
                + (f": {hint}" if hint else ", nor any App: assign one, as in `app = App()`")
            )
        value = getattr(value, part)
    return value


def _check_asgi(reference: str, app: Any) -> None:
    kind = type(app).__name__
    if not callable(app):
        raise SettingsError(f"{reference} is a {kind}, not an App or an ASGI callable")
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return
    try:
        signature.bind({}, None, None)
    except TypeError:
        hint = "an ASGI callable takes (scope, receive, send)"
        if not any(p.default is p.empty for p in signature.parameters.values()):
            hint = (
                f"if it makes the app, call it in the module: app = {reference.partition(':')[2]}()"
            )
        raise SettingsError(f"{reference} is no App and not an ASGI callable: {hint}") from None
