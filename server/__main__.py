"""`python -m server`: see `server.cli`."""

from server.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
