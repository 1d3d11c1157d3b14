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

from palaver.producer.gateway.access.caller import is_loopback
from palaver.producer.gateway.app import create_app
from palaver.producer.gateway.bounds import WhenFull
from palaver.producer.gateway.open_files import fit
from palaver.producer.gateway.protocol import Protocol, Room
from palaver.producer.gateway.state import Gateway
from palaver.shared.collector import collect_rarely
from palaver.shared.errors import ConfigurationError, GatewayStoppedError
from palaver.shared.frames import frames, unhandled
from palaver.shared.settings import Settings

log = logging.getLogger("palaver.gateway")

_BACKLOG: Final = 2048
_IDLE_SECONDS: Final = 75
"""For the next request on a connection: longer than balancers keep theirs."""
_LAST_SECONDS: Final = 1.0
"""Of the time to drain, half of it at most: for telling streams that are not at their end that it is over."""
_SEND_BYTES: Final = 128 * 1024
"""What the system keeps for a client that takes nothing; it doubles that, for what it needs itself, and would
keep megabytes of its own accord.
"""


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
        loop, patience = asyncio.get_running_loop(), self.config.timeout_graceful_shutdown or 0
        # Once uvicorn has marked its connections to be closed after their response.
        loop.call_soon(self.gateway.streams.drain)
        told = loop.call_later(
            max(patience - _LAST_SECONDS, patience / 2), self.gateway.streams.end, GatewayStoppedError()
        )
        try:
            await super().shutdown(sockets)
        finally:
            told.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second Ctrl-C ends it at once. Unlike uvicorn's, it leaves an exit code of 0."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings, *, host: str, port: int, when_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. `when_ready` is told the address.

    Raises ConfigurationError if it cannot listen there.
    """
    listener = listen(host, port, stall_seconds=settings.gateway_stall_seconds)
    with listener:
        where = f"http://{_shown(host)}:{listener.getsockname()[1]}"
        server = make_server(settings, host=host, when_ready=lambda: when_ready(where))
        collect_rarely()
        server.run(sockets=[listener])


def make_server(settings: Settings, *, host: str, when_ready: Callable[[], None]) -> Server:
    """A gateway that does not serve yet; `host` is where it will listen. Raises ConfigurationError."""
    app = create_app(settings, open_to_loopback=is_loopback(host))
    gateway: Gateway = app.state.gateway
    bounds = {
        "stall_seconds": settings.gateway_stall_seconds,
        "room": Room(fit(settings.gateway_connections)),
        "when_full": WhenFull(app, gateway.counts),
        "counts": gateway.counts,
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


def listen(host: str, port: int, *, stall_seconds: float) -> socket.socket:
    """A socket for it; port 0: a free one. What a client does not take in so long is not offered any longer,
    after its connection was closed too. Raises ConfigurationError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)  # connections inherit it
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            patience = max(1, round(stall_seconds * 1000))
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        listener.bind(address)
    except OSError as error:
        problem = f"the gateway cannot listen on {_shown(host)}:{port}: {error.strerror or error}"
    else:
        return listener
    raise ConfigurationError(problem, param="port")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
