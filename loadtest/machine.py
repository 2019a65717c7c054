"""Owns what the generator's machine lets it do: files, ports, processor. Knows no locust."""

import ctypes
import errno
import os
import platform
import random
import resource
import signal
import socket
import time
from pathlib import Path

OWN_FILES = 100
"""Files that a process of the generator has open besides its connections."""

_LOOPBACK_SOURCES = 249
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # not everywhere is the hard limit one that can be had
            return soft
    return hard


def end_with_parent() -> None:
    """Have processes that this one forks ended with it: locust leaves its workers behind.

    It is for `--processes`, where a master that cannot begin would have them wait for minutes.
    """
    os.register_at_fork(after_in_child=_ask_for_end)


def _ask_for_end() -> None:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (AttributeError, OSError):
        pass  # only Linux has it


def ports() -> int:
    """Return how many ports the kernel gives to connections from one address to another."""
    try:
        first, last = map(int, _PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return 28_232
    return last - first + 1


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    From below the range that the kernel gives to clients, or one of them could take it meanwhile.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(errno.EADDRINUSE, "there is no free port between 20000 and 32000")


def problem(users: int, processes: int, *, is_loopback: bool) -> str | None:
    """Say in a line what keeps this machine from having so many users; None if nothing does."""
    limit = raise_file_limit()
    needed = -(-users // max(1, processes)) + OWN_FILES
    if limit != resource.RLIM_INFINITY and needed > limit:
        more = -(-users // max(1, limit - OWN_FILES))
        return (
            f"{users} users in {processes} process(es) need {needed} open files each, and {limit} "
            f"are allowed: raise that as root (ulimit -Hn {needed}), or use --processes {more}"
        )
    pairs = _LOOPBACK_SOURCES if is_loopback else 1
    if users > ports() * pairs:
        return (
            f"{users} users need more ports than the {ports() * pairs} that there are: widen "
            'net.ipv4.ip_local_port_range (sysctl -w net.ipv4.ip_local_port_range="1024 65535"), '
            "or run workers on more hosts"
        )
    return None


def describe() -> dict[str, str]:
    """Return what a reader of figures wants to know of this machine."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.1f} GiB",
        "files": "unlimited" if soft == resource.RLIM_INFINITY else str(soft),
        "ports": str(ports()),
        "kernel": platform.release(),
        "processor": _processor(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class CpuMeter:
    """What this process uses of a core, from one look to the next."""

    def __init__(self) -> None:
        self._used_s, self._at_s = time.process_time(), time.monotonic()

    def look(self) -> tuple[float, float]:
        """Return the seconds since the last look, and the share of one core that was used."""
        used_s, at_s = time.process_time(), time.monotonic()
        length_s = max(at_s - self._at_s, 1e-3)
        share = (used_s - self._used_s) / length_s
        self._used_s, self._at_s = used_s, at_s
        return length_s, share
