"""The classes of other chat libraries, as faces of the one client. Names are loaded at first use."""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.interfaces.amrita_config import AmritaConfig
    from palaver.producer.interfaces.chat import Chat
    from palaver.producer.interfaces.chat_object import ChatObject
    from palaver.producer.interfaces.clients import Clients
    from palaver.producer.interfaces.hooks import CompletionEvent, Hooks, PreCompletionEvent
    from palaver.producer.interfaces.streaming import (
        AsyncStreamingIterator,
        StreamingIterator,
        StreamingResult,
    )

_HOMES: Final = {
    "AmritaConfig": "amrita_config",
    "AsyncStreamingIterator": "streaming",
    "Chat": "chat",
    "ChatObject": "chat_object",
    "Clients": "clients",
    "CompletionEvent": "hooks",
    "Hooks": "hooks",
    "PreCompletionEvent": "hooks",
    "StreamingIterator": "streaming",
    "StreamingResult": "streaming",
}

__all__ = [
    "AmritaConfig",
    "AsyncStreamingIterator",
    "Chat",
    "ChatObject",
    "Clients",
    "CompletionEvent",
    "Hooks",
    "PreCompletionEvent",
    "StreamingIterator",
    "StreamingResult",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
