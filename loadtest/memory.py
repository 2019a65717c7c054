"""Owns the look at how much of this machine's memory is free."""

from pathlib import Path

_FILE = Path("/proc/meminfo")


class LeastFree:
    """Keeps the least share that was ever seen; 1 where it cannot be known."""

    def __init__(self, file: Path = _FILE) -> None:
        self.share = 1.0
        self._file = file

    def look(self) -> None:
        """Look once."""
        self.share = min(self.share, _free_share(self._file))


def _free_share(file: Path) -> float:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 1.0
    amounts = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
    return amounts["MemAvailable"] / amounts["MemTotal"] if "MemAvailable" in amounts else 1.0
