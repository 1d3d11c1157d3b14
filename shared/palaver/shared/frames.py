"""Where an exception happened, for logs; never its text, which may quote a prompt, an answer or a key."""

import re
import traceback
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["forget_frames", "frames", "unhandled"]

E = TypeVar("E", bound=BaseException)


def frames(error: BaseException) -> str:
    """The lines of code that it passed."""
    return "".join(traceback.format_tb(error.__traceback__))


def forget_frames(error: E) -> E:
    """The error, of which nobody asks any more where it happened, nor what had happened before it.

    Each line of code that it has passed holds what it worked on, and mostly the error itself: a cycle, which
    keeps a whole job until the collector of garbage comes. That comes rarely.
    """
    behind: list[BaseException | None] = [error]
    while behind:
        found = behind.pop()
        if found is None:
            continue
        behind += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            behind += found.exceptions
        found.__cause__ = found.__context__ = found.__traceback__ = None
    return error


def unhandled(context: Mapping[str, Any]) -> tuple[str, BaseException | None]:
    """What an event loop says of what nobody caught, and the exception; without what a callback was called
    with, which asyncio puts behind its name.
    """
    said = re.split(r"[(<]", str(context.get("message")), maxsplit=1)[0].strip()
    return said, context.get("exception")
