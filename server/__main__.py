"""`python -m server`: see `server.cli`."""

import sys
from pathlib import Path

from server.shadowing import shadow_in


def main() -> int:
    """Run the command line, unless a module of the user's would be imported in place of ours."""
    if (problem := shadow_in(Path.cwd())) is not None:
        sys.stderr.write(f"switchboard: error: {problem}\n")
        return 2
    from server import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
