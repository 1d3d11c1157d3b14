"""A server of tools, on the official package: `python tests/mcp_server.py` over its pipes, with a port over
HTTP; with `--older` it speaks the protocol as most servers do, with sessions.
"""

import argparse
import asyncio
import os
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import uvicorn
from mcp import types
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("shop")


@server.tool(structured_output=False)
async def price(item: str) -> str:
    """What an item costs."""
    if item == "nothing":
        raise ValueError("we do not sell that")
    return f"{item}: 4.50"


@server.tool(structured_output=False)
async def process() -> str:
    """Who answers."""
    return f"{os.getpid()} {os.environ.get('SHOP_KEY')} {os.environ.get('PALAVER_REDIS_URL')}"


@server.tool(structured_output=False)
async def stall(seconds: float = 600) -> str:
    """Take time."""
    print("stalling", file=sys.stderr, flush=True)
    await asyncio.sleep(seconds)
    return "late"


@server.tool(structured_output=False)
async def much(size: int) -> str:
    """Say much."""
    return "x" * size


@server.tool(structured_output=False)
async def picture() -> Any:
    """Show something."""
    return [types.ImageContent(type="image", data="AAAA", mime_type="image/png")]


@server.tool(structured_output=False)
async def die() -> str:
    """End the server in the middle of a call."""
    os._exit(1)


@server.tool(structured_output=False)
async def grow(context: Context[Any, Any]) -> str:
    """Have one tool more."""
    server.add_tool(price, name="grown")
    await context.notify_tools_changed()
    await context.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def flood(packed: bool) -> str:
    """Never called: see `Front`."""
    return str(packed)


class Front:
    """Before the application: asks for the key, lets an older server know nothing of newer requests, and
    answers calls of `flood` with a gigabyte.
    """

    def __init__(self, app: Any, *, older: bool) -> None:
        self.app = app
        self.older = older

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if headers.get(b"authorization", b"").decode() != f"Bearer {os.environ['SHOP_KEY']}":
            await self._refuse(send, 401)
        elif self.older and headers.get(b"mcp-method") == b"server/discover":
            await self._refuse(send, 400)
        else:
            first = await receive()
            if b'"name":"flood"' in first.get("body", b"").replace(b" ", b""):
                await self._flood(send, packed=b"true" in first["body"])
                return
            read = iter([first])
            await self.app(scope, lambda: _next(read, receive), send)

    async def _flood(self, send: Any, *, packed: bool) -> None:
        encoding = [(b"content-encoding", b"gzip")] if packed else []
        headers = [(b"content-type", b"application/json"), *encoding]
        piece = bytes(1 << 20)
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        begin, more = (packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for body in (begin, *[more] * 1023) if packed else [piece] * 1024:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, send: Any, status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _next(read: Iterator[Any], receive: Any) -> Any:
    """What was received already, then what comes."""
    return next(read, None) or await receive()


async def over_http(port: int, *, older: bool) -> None:
    app = Front(server.streamable_http_app(), older=older)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    uvicorn_server = uvicorn.Server(config)
    serving = asyncio.create_task(uvicorn_server.serve())
    while not uvicorn_server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int, nargs="?")
    parser.add_argument("--older", action="store_true")
    asked = parser.parse_args()
    print("serving", os.getpid(), file=sys.stderr, flush=True)
    if asked.port is None:
        server.run()
    else:
        asyncio.run(over_http(asked.port, older=asked.older))
