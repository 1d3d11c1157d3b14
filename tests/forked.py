"""A command that is forked: `python -IS tests/forked.py NAME MODULE …` does what `python -m MODULE …` does,
in a child of the process that forks under this name (see forks.py). It lends the child its streams, passes
signals on, and ends as the child did; when it is killed, so is the child. It imports little: for that it is.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def order(
    name: str, words: Sequence[str], folder: str, environment: Mapping[str, str], streams: Sequence[int]
) -> socket.socket:
    """Have a child run the module of these words, on these as its stdin, stdout and stderr. Over the
    connection come its id and, later, its exit code; when it is closed before, the child is killed.
    """
    module, *arguments = words
    told = {"module": module, "arguments": arguments, "folder": folder, "environment": dict(environment)}
    keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper.settimeout(60)
    keeper.connect(address(name))
    socket.send_fds(keeper, [json.dumps(told).encode()], streams)
    return keeper


def address(name: str) -> str:
    """Linux keeps it apart from all files, so that nothing is left of it."""
    return f"\0{name}"


def main(name: str, words: Sequence[str]) -> int:
    """Run it to its end; its exit code, negative for a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until it is known whom they are for
    with order(name, words, os.getcwd(), os.environ, (0, 1, 2)) as keeper:
        child = int(keeper.recv(64))
        with suppress(ProcessLookupError):  # it may have ended already
            pass_signals_on(os.pidfd_open(child))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        keeper.settimeout(None)
        return int(keeper.recv(64) or -signal.SIGKILL)


def pass_signals_on(child: int) -> None:
    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):  # its exit code is on its way
            signal.pidfd_send_signal(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2:])
    if code < 0:
        if -code in PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
