"""`python -m server`: see `server.cli`."""

import sys
from pathlib import Path

from server.exceptions import SettingsError
from server.loader import check_not_shadowed


def main() -> int:
    """Run the command line, unless a module of the user's would be imported in place of ours."""
    try:
        check_not_shadowed(Path.cwd())
    except SettingsError as error:
        sys.stderr.write(f"switchboard: error: {error}\n")
        return 2
    from server import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
