"""Models, for agents: the worker's providers, with their retries, their limits and what they cost."""

from __future__ import annotations

import asyncio
from typing import Unpack

from palaver.shared.messages import Message, MessagesLike
from palaver.shared.responses import ChatResponse
from palaver.workers.agents.conversation import conversation
from palaver.workers.agents.model_request import ModelRequest, ModelRequestFields

__all__ = ["ask_model", "ask_model_blocking", "get_history"]


async def ask_model(messages: MessagesLike, **fields: Unpack[ModelRequestFields]) -> ChatResponse:
    """What a model answers to these messages, and nothing else: `get_history()` has those before.

        answer = await ask_model([*get_history(), message], system="You sell tea.")
        return answer.content

    A provider that fails before its first word is asked again, or the next of the list is, as the job wants
    it. Raises its error; ValidationError for what no model can be asked.
    """
    here = conversation()
    return await asyncio.wrap_future(here.call(here.services.ask, ModelRequest.of(messages, fields)))


def ask_model_blocking(messages: MessagesLike, **fields: Unpack[ModelRequestFields]) -> ChatResponse:
    """As `ask_model`, for agents that are plain functions."""
    here = conversation()
    return here.call(here.services.ask, ModelRequest.of(messages, fields)).result()


def get_history() -> list[Message]:
    """The session's messages before this one."""
    return list(conversation().history)
