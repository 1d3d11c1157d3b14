"""What is open on an event loop is closed with it, also where nobody closes it: as with `asyncio.run(…)`
around faces of the process.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress


def until_loop_ends(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Have `close` awaited once: when what this returns is closed, or when the running loop ends, which
    closes its generators. It must be held until then.
    """
    closing = _closing(close)
    with suppress(StopIteration):  # it comes to its first `yield`, and waits for nothing before it
        anext(closing).__await__().send(None)
    return closing


async def _closing(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await close()
