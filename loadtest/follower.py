"""Owns how a process that we start ends with us, also if we are killed and can end nothing.

Run as a script: it asks the kernel for SIGTERM at the death of its parent (prctl(2)), then becomes
the program that follows. It imports nothing of ours.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def following(command: Sequence[str]) -> list[str]:
    """Return the command that runs another until this process ends; call it in the main thread."""
    return [sys.executable, "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Follow the process of the first argument as the program of the others."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(sys.argv[1]):  # it died before that call
            raise SystemExit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
