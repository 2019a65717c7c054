"""Owns what systemd is told of the server's life (sd_notify(3)); silent where there is none."""

import os
import socket
import time
from contextlib import suppress


def notify(*assignments: str) -> None:
    """Send assignments such as "READY=1" and "STATUS=..." to the service manager, if any."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to,
    ):
        to.setblocking(False)
        to.sendto("\n".join(assignments).encode(), address)


def reloading() -> None:
    """Say that a reload has begun; `READY=1` ends it (Type=notify-reload needs the time)."""
    now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={now_us}")
