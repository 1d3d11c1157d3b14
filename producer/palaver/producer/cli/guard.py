"""Ends its whole process group as soon as its parent is gone; a script whose stdin is a pipe from the parent.

Every part of `palaver dev` joins this script's process group. A parent that is killed outright can stop
nothing any more, but the kernel closes its end of the pipe, on every POSIX system alike. Only the standard
library is used, so that it starts in milliseconds.
"""

import os
import signal
import sys


def main() -> None:
    """Wait for the end of stdin, then kill the group, this process included."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
