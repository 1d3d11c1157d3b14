"""How many tokens a prompt has, about: too many rather than too few. What a provider's own tokenizer says is
known only after it was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import ImagePart, Message, Role
from palaver.shared.tools import FunctionTool

BYTES_A_TOKEN: Final = 3  # of UTF-8: English has four, other scripts have two or three
MESSAGE_TOKENS: Final = 8  # what a message costs beside its words
IMAGE_TOKENS: Final = 1500


def prompt_tokens(job: ChatJob) -> int:
    """About how many tokens a job's model is told, but for a history that the ledger has."""
    said = [Message(role=Role.SYSTEM, content=job.system)] if job.system else []
    history = job.history if isinstance(job.history, list) else []
    return tokens_of([*said, *history, *job.messages], job.tools or ())


def tokens_of(messages: Iterable[Message], tools: Iterable[FunctionTool] = ()) -> int:
    """About how many tokens these are; of several the sum of each."""
    return sum(map(_tokens, messages)) + sum(_of_bytes(len(tool.to_json())) for tool in tools)


def _tokens(message: Message) -> int:
    words = [message.text, message.reasoning or ""]
    size = sum(len(text.encode()) for text in words)
    size += sum(len(call.to_json()) for call in message.tool_calls or ())
    parts = message.content if isinstance(message.content, list) else []
    images = sum(isinstance(part, ImagePart) for part in parts)
    return _of_bytes(size) + MESSAGE_TOKENS + images * IMAGE_TOKENS


def _of_bytes(size: int) -> int:
    return -(-size // BYTES_A_TOKEN)
