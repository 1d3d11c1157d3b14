"""Where an exception happened, for logs; never its text, which may quote a prompt, an answer or a key."""

import re
import traceback
from collections.abc import Mapping
from typing import Any

__all__ = ["frames", "unhandled"]


def frames(error: BaseException) -> str:
    """The lines of code that it passed."""
    return "".join(traceback.format_tb(error.__traceback__))


def unhandled(context: Mapping[str, Any]) -> tuple[str, BaseException | None]:
    """What an event loop says of what nobody caught, and the exception; without what a callback was called
    with, which asyncio puts behind its name.
    """
    said = re.split(r"[(<]", str(context.get("message")), maxsplit=1)[0].strip()
    return said, context.get("exception")
