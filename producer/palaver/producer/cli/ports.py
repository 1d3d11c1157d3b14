"""Ports of 127.0.0.1: the usual one of a service, if nobody has it, else any that is free."""

import contextlib
import socket
from typing import Final

HOST: Final = "127.0.0.1"


def choose(asked: int | None, usual: int) -> int:
    """The port that was asked for; for 0 any that is free, for None the usual one if that is free."""
    if asked:
        return asked
    if asked is None and _free(usual):
        return usual
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.2):
        return True
    return False


def _free(port: int) -> bool:
    if listens(port):
        return False
    with socket.socket() as probe, contextlib.suppress(OSError):
        # As servers do: what is left of the connections of the last one does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False
