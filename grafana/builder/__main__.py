"""Writes the dashboards, or sees whether they are as they would be written.

Usage: python -m grafana.builder [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.builder.frame import build
from grafana.builder.load import LOAD
from grafana.builder.overview import OVERVIEW
from grafana.builder.rooms import ROOMS
from grafana.builder.routes import ROUTES
from grafana.builder.workers import WORKERS

FOLDER = Path(__file__).parent.parent / "dashboards"
FRAMES = (OVERVIEW, ROUTES, ROOMS, WORKERS, LOAD)


def texts() -> dict[str, str]:
    """Return the dashboards as text, by the names of their files."""
    return {
        f"{frame.uid}.json": json.dumps(build(frame), cls=JSONEncoder, indent=2, sort_keys=True)
        + "\n"
        for frame in FRAMES
    }


def main() -> int:
    """Write, or check; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m grafana.builder", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is old")
    arguments = parser.parse_args()
    wanted = texts()
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if there == wanted:
        return 0
    if arguments.check:
        old = sorted(name for name in there.keys() | wanted if there.get(name) != wanted.get(name))
        print(  # noqa: T201
            f"error: {', '.join(old)} in grafana/dashboards: not as grafana/builder makes it;"
            " run: make docs",
            file=sys.stderr,
        )
        return 1
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - wanted:
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
