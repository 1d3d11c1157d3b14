"""The text of files, for agents."""

from __future__ import annotations

import asyncio

from palaver.workers.agents.conversation import conversation

__all__ = ["aget_file_text", "get_file_text"]


def get_file_text(file_id: object) -> str:
    """The text of a file; empty for an unknown one, and for one of which no text can be had.

    The files of the message were read before the agent was called. Another one is read now, and a coroutine
    that does not want to hold up its fellows awaits `aget_file_text`. Raises FileRefusedError for another
    user's file.
    """
    here, name = conversation(), str(file_id)
    known = here.file_texts.get(name)
    return here.call(here.services.file_text, name).result() if known is None else known


async def aget_file_text(file_id: object) -> str:
    """As `get_file_text`, for coroutines."""
    here, name = conversation(), str(file_id)
    known = here.file_texts.get(name)
    return await asyncio.wrap_future(here.call(here.services.file_text, name)) if known is None else known
