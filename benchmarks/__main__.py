"""Owns the start of `python -m benchmarks`: says in one line what this machine lacks for it."""

import sys
from importlib.util import find_spec

_NEEDED = ("picows", "uvloop")


def main() -> int:
    """Check what the load generator needs, then hand over to the command line."""
    if not sys.platform.startswith("linux"):
        print("bench: needs Linux: CPU time is read from /proc", file=sys.stderr)
        return 2
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        print(f"bench: not installed: {', '.join(missing)} (the bench group)", file=sys.stderr)
        return 2
    from benchmarks.cli import run  # imports what was just looked for

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
