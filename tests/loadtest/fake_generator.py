"""Owns a generator that makes no load: it writes what a test says, at a hundred times the speed.

    python fake_generator.py FOLDER RUN [--hang] [--deaf] [--no-result]

It writes a sample of the run each 10 ms, and the run itself when it ends, also after SIGTERM.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

import msgspec

from loadtest.results import Run


def main() -> int:
    """Write samples and the run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--hang", action="store_true", help="do not end after the last sample")
    parser.add_argument("--deaf", action="store_true", help="do not end after SIGTERM either")
    parser.add_argument("--no-result", action="store_true")
    options = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))

    run = msgspec.json.decode(options.run.read_bytes(), type=Run)
    written = 0
    with (options.folder / "samples.jsonl").open("wb", buffering=0) as file:
        for sample in run.samples:
            if not stopped:
                file.write(msgspec.json.encode(sample) + b"\n")
                written += 1
                time.sleep(0.01)
    while (options.hang and not stopped) or options.deaf:
        time.sleep(0.01)
    sys.stdout.write("this is the last line\n")
    if options.no_result:
        return 7
    done = msgspec.structs.replace(
        run, samples=run.samples[:written], is_complete=run.is_complete and not stopped
    )
    (options.folder / "run.json").write_bytes(msgspec.json.encode(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
