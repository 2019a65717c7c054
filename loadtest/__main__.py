"""Owns the start of `python -m loadtest`: says in one line what this machine lacks for it."""

import sys
from importlib.util import find_spec

_NEEDED = ("cyclopts", "gevent", "locust", "msgspec", "prometheus_client", "websocket")


def main() -> int:
    """Check what is needed, then hand over to the command line."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        names = ", ".join(missing)
        print(
            f"loadtest: error: not installed: {names}; run `make loadtest`, which installs it, or "
            "install the group loadtest of pyproject.toml",
            file=sys.stderr,
        )
        return 2
    from loadtest import cli  # imports what was just looked for

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
