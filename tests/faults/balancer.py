"""A load balancer before a server, of which one node may hang: connections that stand are swallowed, by a
kernel that goes on to take in what is sent; new ones reach a node that is well.
"""

import socket
import threading
from contextlib import ExitStack, suppress
from typing import Self

CHUNK = 65536


class Balancer:
    """Listens on a free port of the loopback, in threads of its own. A context manager."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._pairs: list[_Pair] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="balancer", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for pair in self._pairs:
                stack.callback(pair.cut)
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def freeze(self) -> None:
        """From now on nobody answers the connections that stand."""
        for pair in self._pairs:
            pair.frozen.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._pairs.append(_Pair(client, socket.create_connection(("127.0.0.1", self._upstream))))


class _Pair:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.frozen = threading.Event()
        self._ends = (client, server)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=ends, name="balancer", daemon=True).start()

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if not self.frozen.is_set():
                    target.sendall(chunk)
        if not self.frozen.is_set():
            self.cut()
