"""The end of tasks that are not needed any more."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

_AGAIN_SECONDS: Final = 1.0


async def end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel them, and return when all have ended; what they raise is theirs."""
    while tasks := [task for task in tasks if not task.done()]:
        # Again and again: library code may swallow a cancellation that meets another event in one turn, as
        # `wait_for` does on Python 3.11.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
