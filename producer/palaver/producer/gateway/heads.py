"""HEAD, wherever there is a GET: the same answer without its body. Pure ASGI, and in no stream's way."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """Asks the app for what a GET would answer, and tells of it how it begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        head = _Head(receive, send)
        await self._app({**scope, "method": "GET"}, head.receive, head.send)


class _Head:
    """A client that leaves after the head of an answer: so a stream ends there too."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._told = False

    async def receive(self) -> Message:
        return {"type": "http.disconnect"} if self._told else await self._receive()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            self._told = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
