"""Becomes a program that ends when the process that started it does, however that one ends.

Run as a file, not imported: ``python -I guard.py PARENT PROGRAM ARGUMENTS…``. It asks the kernel
for SIGTERM at the end of its parent and then replaces itself, so the pid stays and nothing of it
is left in memory. Elsewhere than on Linux it only replaces itself.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Replace this process by the program that its arguments name."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit("its parent ended before it began")  # and would send no signal any more
    os.execv(command[0], command)  # noqa: S606 - the program that it is told to be


if __name__ == "__main__":
    main()
