"""A server that takes what is posted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def posting_to(take: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """An address whose posts are answered by `take`, as those of any other `name` beside it are, on every
    address of this machine.
    """
    app = web.Application()
    app.router.add_post("/{name}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()
