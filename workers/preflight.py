"""Owns the look at the machine before serving: port, files, memory; changes nothing.

Each check returns or raises text for a person; what to do about it is the caller's.
"""

import errno
import os
import resource
import socket
from pathlib import Path

FILES_PER_CONNECTION = 1
RESERVED_FILES = 100
WANTED_FILES = 10_000
RAISE_FILES = "with `ulimit -n 65536` in this shell, or LimitNOFILE=65536 in the systemd unit"


class PreflightError(Exception):
    """The server cannot start here; the message says why, and the way out, in one line."""


def claim_address(host: str, port: int) -> tuple[str, int]:
    """Return the IP address and the port to listen on; port 0 stands for a free one.

    Raises:
        PreflightError: it is taken, not allowed, or the host is not an address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or "not a host name"
        raise PreflightError(f"host {host!r}: {problem}") from None
    with socket.socket(family, kind, protocol) as probe:
        # Without SO_REUSEPORT, which workers set: two servers would share the port unnoticed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise PreflightError(_bind_problem(host, port, error)) from None
        name = probe.getsockname()
    return str(name[0]), int(name[1])


def local_address(address: str) -> str:
    """Return the address at which this machine reaches what listens on `address`."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared
    return any_address.get(address, address)


def _bind_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken: stop what listens there (ss -ltnp 'sport = :{port}'"
            " shows it), or choose another with --port, or --port 0 for a free one"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges: choose one from 1024 up with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host {host!r} is not an address of this machine: try 127.0.0.1 or 0.0.0.0"
    return f"cannot listen on {host}:{port}: {error.strerror}"


def connections_per_worker() -> int:
    """Return how many connections a worker can hold by the number of files it may open.

    The soft limit is raised to the hard limit first, which needs no privilege.
    """
    return max((_file_limit() - RESERVED_FILES) // FILES_PER_CONNECTION, 0)


def _file_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    return soft


def file_limit_warning(wanted: int = WANTED_FILES) -> str | None:
    """Return a warning if a worker may hold fewer than `wanted` connections, else None."""
    room = connections_per_worker()
    if room >= wanted:
        return None
    return (
        f"each worker may open {_file_limit()} files, so hold about {room} connections; raise it"
        f" {RAISE_FILES}"
    )


def backlog_warning(backlog: int) -> str | None:
    """Return a warning if the kernel queues fewer handshakes than `backlog`, else None."""
    try:
        limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return None
    if limit >= backlog:
        return None
    return (
        f"the kernel queues {limit} handshakes and not {backlog}, so a rush of clients may have to"
        f" try again; raise it with `sysctl net.core.somaxconn={backlog}`, or lower --backlog"
    )


def merge_warning(run: Path = Path("/sys/kernel/mm/ksm/run")) -> str | None:
    """Return a warning if the kernel merges no pages, whatever workers ask for, else None."""
    try:
        state = run.read_text().strip()
    except OSError:
        return "--merge-pages does nothing: this kernel has no KSM"
    if state == "1":
        return None
    return f"--merge-pages does nothing while KSM is off; as root: echo 1 > {run}"


def check_memory(base: Path, size_bytes: int) -> None:
    """See whether what the processes share fits into its file system.

    Raises:
        PreflightError: it does not, or the directory is not there.
    """
    try:
        stat = os.statvfs(base)
    except OSError as error:
        raise PreflightError(f"--runtime-dir {base}: {error.strerror}") from None
    free = stat.f_bavail * stat.f_frsize
    if free < size_bytes:
        raise PreflightError(
            f"{base} has {free >> 20} MiB free, and {-(-size_bytes >> 20)} MiB are needed: lower"
            " --registry-rows, enlarge it (docker run --shm-size), or name another directory with"
            " --runtime-dir"
        )
