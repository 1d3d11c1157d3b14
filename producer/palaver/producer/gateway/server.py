"""The gateway as a process: uvicorn, with bounds of ours, and an end that loses no reader."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from palaver.producer.gateway.access.caller import is_loopback
from palaver.producer.gateway.app import create_app
from palaver.producer.gateway.bounds import WhenFull
from palaver.producer.gateway.open_files import fit
from palaver.producer.gateway.state import Gateway
from palaver.shared.errors import ConfigurationError
from palaver.shared.frames import frames, unhandled
from palaver.shared.settings import Settings

log = logging.getLogger("palaver.gateway")

MOST_HEADER_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_BACKLOG: Final = 2048
_IDLE_SECONDS: Final = 75
"""For the next request on a connection: longer than balancers keep theirs."""
_HASTE_SECONDS: Final = 5.0
"""For the head of a request, while there are more connections than there may be."""


class Protocol(HttpToolsProtocol):
    """A connection. Its request's head is bounded in size and time, and what it does not take is not kept.

    Beyond `most_connections` it is served by `when_full`, and has to be quick.
    """

    stall_seconds = 60.0
    most_connections = 10_000
    when_full: ASGIApp

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self.app = self.when_full
            self.stall_seconds = min(self.stall_seconds, _HASTE_SECONDS)
        self._give_up_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forgive()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._give_up_later()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._forgive()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._give_up_later()

    def resume_writing(self) -> None:
        self._forgive()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > MOST_HEADER_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEADER_BYTES:
            raise ValueError(
                "the head of the request is too large"
            )  # uvicorn answers through send_400_response

    def _give_up_later(self) -> None:
        self._forgive()
        self._timer = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def _forgive(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, and where it happened: for an event loop."""
    said, error = unhandled(context)
    where = "" if error is None else f" error={type(error).__name__}\n{frames(error)}"
    log.error("unhandled: %s%s", said, where)


class Server(uvicorn.Server):
    """Says when it is ready, and when it stops first has its readers come back to another one."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.gateway = gateway
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        asyncio.get_running_loop().set_exception_handler(report)
        await super().startup(sockets)
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no connection any more, end the streams that can go on elsewhere, wait for the others."""
        # Once uvicorn has marked its connections to be closed after their response.
        asyncio.get_running_loop().call_soon(self.gateway.streams.drain)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second Ctrl-C ends it at once. Unlike uvicorn's, it leaves an exit code of 0."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings, *, host: str, port: int, when_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `when_ready` is told the address.

    Raises ConfigurationError if it cannot listen there.
    """
    listener = listen(host, port)
    with listener:
        where = f"http://{_shown(host)}:{listener.getsockname()[1]}"
        server = make_server(settings, host=host, when_ready=lambda: when_ready(where))
        server.run(sockets=[listener])


def make_server(settings: Settings, *, host: str, when_ready: Callable[[], None]) -> Server:
    """A gateway that does not serve yet; `host` is where it will listen. Raises ConfigurationError."""
    app = create_app(settings, open_to_loopback=is_loopback(host))
    gateway: Gateway = app.state.gateway
    bounds = {
        "stall_seconds": settings.gateway_stall_seconds,
        "most_connections": fit(settings.gateway_connections),
        "when_full": WhenFull(app, gateway.counts),
    }
    config = uvicorn.Config(
        app,
        http=type("Protocol", (Protocol,), bounds),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("x-content-type-options", "nosniff")],
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    return Server(config, gateway, when_ready)


def listen(host: str, port: int) -> socket.socket:
    """A socket for it; port 0: a free one. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        problem = f"the gateway cannot listen on {_shown(host)}:{port}: {error.strerror or error}"
    else:
        return listener
    raise ConfigurationError(problem, param="port")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
