"""Owns the folder that a run leaves behind: which files are in it; judges and measures nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtest.report.markdown import markdown
from loadtest.report.page import page
from loadtest.report.tables import samples_csv, totals_csv
from loadtest.results import Run
from loadtest.slo import Verdict

REPORTS = Path(__file__).parent.parent / "reports"


class ReportError(Exception):
    """A file with a run cannot be read; the text says why."""


def new_folder(base: Path) -> Path:
    """Make a folder that is named after the time, and return its whole path."""
    base = base.absolute()  # the generator has another working directory
    stem = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 100):
        folder = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ReportError(f"{base} is full of reports of this second")


@contextmanager
def folder_of_now(base: Path) -> Iterator[Path]:
    """Make a new folder for a report; if nothing is put into it, it goes again."""
    folder = new_folder(base)
    try:
        yield folder
    finally:
        try:
            folder.rmdir()
        except OSError:
            pass  # there is something in it


def write(run: Run, verdict: Verdict, folder: Path) -> None:
    """Write all files about a run."""
    (folder / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    (folder / "report.html").write_text(page(run, verdict))
    (folder / "report.md").write_text(markdown(run, verdict))
    (folder / "samples.csv").write_text(samples_csv(run))
    (folder / "totals.csv").write_text(totals_csv(run))


def read(file: Path) -> Run:
    """Read a run; from a folder, the one in it.

    Raises:
        ReportError: there is none.
    """
    file = file / "run.json" if file.is_dir() else file
    try:
        return msgspec.json.decode(file.read_bytes(), type=Run)
    except OSError as error:
        raise ReportError(f"cannot read {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ReportError(f"{file} is no run of a load test: {error}") from None
