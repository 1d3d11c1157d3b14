"""What an application gives its workers: tools and prompts, found by `PALAVER_TOOLS`."""

import asyncio
from collections.abc import Mapping
from typing import Any

from palaver.shared.tools import FunctionTool
from palaver.workers.generation import Offer, ToolContext, ToolError, ToolSource, continue_prompt, tool

seen: list[ToolContext] = []
"""The contexts of the calls of `wait` and `stuck`, which end when their job does."""
PASSWORD = "hunter2"


@tool
async def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool
def clock(zone: str = "UTC") -> dict[str, Any]:
    """What time it is."""
    return {"time": "noon", "zone": zone}


@tool
async def wait(where: ToolContext) -> str:
    """Wait for ever."""
    seen.append(where)
    await asyncio.Event().wait()
    return "never"


@tool
def stuck(where: ToolContext) -> str:
    """Wait until nobody wants the answer any more."""
    seen.append(where)
    where.stopped.wait(60)
    return "too late"


@tool(timeout=0.2)
async def slow() -> str:
    """Take longer than allowed."""
    await asyncio.sleep(60)
    return "never"


@tool
def broken() -> str:
    """Fail with a secret in the exception."""
    raise RuntimeError(f"password={PASSWORD}")


@tool
def leaving() -> str:
    """Wants to end the program."""
    raise SystemExit(PASSWORD)


@tool
async def picky() -> str:
    """Fail for a reason that the model may know."""
    raise ToolError("it is closed on Mondays")


@tool
def long(size: int) -> str:
    """Say much."""
    return "é" * size


@continue_prompt
def numbered(count: int, max_count: int, current_text: str, original_prompt: str) -> str:
    return f"{count}/{max_count} after {len(current_text)} of {original_prompt}"


@continue_prompt(name="faulty")
async def another(*_: Any) -> str:
    raise RuntimeError(f"password={PASSWORD}")


class Careless(ToolSource):
    """A source that keeps to nothing that one must keep to."""

    async def tools(self) -> Mapping[str, Offer]:
        return {name: Offer(FunctionTool(name=name)) for name in ("lost", "exiting", "silent", "telling")}

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        if name == "exiting":
            raise SystemExit(PASSWORD)
        if name == "lost":
            answer = asyncio.get_running_loop().create_future()
            answer.cancel()  # as its connection was lost
            await answer
        return {"n": 5} if name == "telling" else None
