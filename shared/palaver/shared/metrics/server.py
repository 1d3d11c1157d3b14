"""A few pages over HTTP, from threads of their own: they answer while the process's loop hangs too."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from socketserver import TCPServer
from typing import Any, Final

from palaver.shared.errors import ConfigurationError
from palaver.shared.metrics.page import Page
from palaver.shared.metrics_address import MetricsAddress

__all__ = ["MetricsServer"]

REQUEST_SECONDS: Final = 5.0
CLOSING_SECONDS: Final = 0.1


class MetricsServer:
    """Serves `pages`, by their paths, until it is closed.

    A port that is taken gives way to a free one of so many `further`; ConfigurationError when there is none,
    or the host is not this machine's.
    """

    def __init__(
        self, address: MetricsAddress, pages: Mapping[str, Callable[[], Page]], *, further: int = 0
    ) -> None:
        self._server = _bound(address, pages, further)
        self.address = MetricsAddress(address.host, self._server.server_port)
        serve = partial(self._server.serve_forever, poll_interval=CLOSING_SECONDS)
        thread = threading.Thread(target=serve, name="palaver-metrics", daemon=True)
        thread.start()

    def close(self) -> None:
        """Serve no more; blocks for a moment."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With it two processes could serve one port on some systems.
    allow_reuse_port = False

    def server_bind(self) -> None:
        """Without asking for the host's name, as its base does: nobody needs it, and DNS may be silent."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever went away before the answer is no news: a look at the port, a scrape that took too long."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _ServerV6(_Server):
    address_family = AF_INET6


def _bound(address: MetricsAddress, pages: Mapping[str, Callable[[], Page]], further: int) -> _Server:
    server = _ServerV6 if ":" in address.host else _Server
    handler = type("_PalaverHandler", (_Handler,), {"pages": dict(pages)})
    last = address.port + further if address.port else 0
    for port in range(address.port, min(last, 65535) + 1):
        try:
            return server((address.host, port), handler)
        except OSError as error:
            problem = error.strerror or type(error).__name__
    also = f", nor at the {further} ports after it" if further else ""
    wrong = f"metrics cannot be served at {address}{also}: {problem}"
    raise ConfigurationError(wrong, param="metrics_address")


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server_version = "palaver"
    sys_version = ""
    pages: Mapping[str, Callable[[], Page]] = {}

    def do_GET(self) -> None:
        make = self.pages.get(self.path.partition("?")[0])
        page = make() if make is not None else Page(b"not found\n", 404)
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page.body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing: a scrape every few seconds is no news."""
