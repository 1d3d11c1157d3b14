"""Document 001's `ChatLogger`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from palaver.shared.messages import Message
from palaver.shared.plain import require
from palaver.shared.responses import ChatResponse, Response
from palaver.shared.settings import Settings


class ChatLogger:
    """Logs interactions as `Chat interaction`, level INFO, with `chat_message`, `chat_response` and
    `chat_metadata` on the record: `logging` has a `message` of its own.

    What was said is in them only with `content` (None: as `PALAVER_LOG_CONTENT` says); else they tell how
    long it was. The metadata is logged as it is given.
    """

    def __init__(self, *, content: bool | None = None) -> None:
        self.logger = logging.getLogger("chat")
        self._content = Settings.load().log_content if content is None else content

    def log_interaction(
        self, message: Message, response: Response | ChatResponse, metadata: Mapping[str, Any]
    ) -> None:
        """Log what was asked and answered. Raises ValidationError for anything else."""
        require("message", message, Message, "a Message")
        require("response", response, Response | ChatResponse, "a Response or a ChatResponse")
        require("metadata", metadata, Mapping, "an object")
        said = {"chat_message": self._told(message), "chat_response": self._told(response)}
        self.logger.info("Chat interaction", extra={**said, "chat_metadata": dict(metadata)})

    def _told(self, document: Message | Response | ChatResponse) -> dict[str, Any]:
        if self._content:
            return document.model_dump(mode="json", exclude_none=True)
        text = document.text if isinstance(document, Message) else document.content
        told: dict[str, Any] = {"characters": len(text)}
        if isinstance(document, Message):
            return {"role": document.role.value, **told}
        return {**told, "model_name": document.model_name, "token_count": document.token_count}
