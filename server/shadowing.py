"""Owns the refusal of a user's module that has the name of one of our packages.

Imported before anything else of ours, so it may import none of it.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

OUR_PACKAGES = ("server", "workers")
_ROOT = Path(__file__).resolve().parent.parent


def shadow_in(directory: Path) -> str | None:
    """Say which module in a directory would be imported in place of one of ours, or None."""
    if directory.resolve() == _ROOT:
        return None
    for package in OUR_PACKAGES:
        for candidate in (directory / f"{package}.py", directory / package / "__init__.py"):
            if candidate.is_file():
                return problem(candidate.relative_to(directory), package)
    return None


def problem(file: Path, package: str) -> str:
    """Return what to say of such a file."""
    return (
        f"{file} in this directory has the name of Switchboard's package {package!r},"
        " so one would hide the other: rename it"
    )


def require_our_workers() -> None:
    """Refuse to be imported where `workers` is somebody else's.

    Raises:
        ImportError: names the file; `python -m server` ends with that line instead.
    """
    spec = find_spec("workers")
    if spec is None or spec.origin is None:
        return
    file = Path(spec.origin).resolve()
    if file.is_relative_to(_ROOT / "workers"):
        return
    here = Path.cwd().resolve()
    text = problem(file.relative_to(here) if file.is_relative_to(here) else file, "workers")
    if sys.argv[:1] == ["-m"]:  # runpy is looking for our __main__
        sys.stderr.write(f"switchboard: error: {text}\n")
        raise SystemExit(2)
    raise ImportError(text)
