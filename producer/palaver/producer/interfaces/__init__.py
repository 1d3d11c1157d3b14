"""The classes of other chat libraries, as faces of the one client. Names are loaded at first use."""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.interfaces.amrita_config import AmritaConfig
    from palaver.producer.interfaces.chat import Chat
    from palaver.producer.interfaces.chat_object import ChatObject
    from palaver.producer.interfaces.clients import Clients
    from palaver.producer.interfaces.conversation_service import Conversations, ConversationService
    from palaver.producer.interfaces.conversations import AsyncConversations
    from palaver.producer.interfaces.hooks import CompletionEvent, Hooks, PreCompletionEvent
    from palaver.producer.interfaces.streaming import (
        AsyncStreamingIterator,
        StreamingIterator,
        StreamingResult,
    )

_HOMES: Final = {
    "AmritaConfig": "amrita_config",
    "AsyncConversations": "conversations",
    "AsyncStreamingIterator": "streaming",
    "Chat": "chat",
    "ChatObject": "chat_object",
    "Clients": "clients",
    "CompletionEvent": "hooks",
    "ConversationService": "conversation_service",
    "Conversations": "conversation_service",
    "Hooks": "hooks",
    "PreCompletionEvent": "hooks",
    "StreamingIterator": "streaming",
    "StreamingResult": "streaming",
}

__all__ = [
    "AmritaConfig",
    "AsyncConversations",
    "AsyncStreamingIterator",
    "Chat",
    "ChatObject",
    "Clients",
    "CompletionEvent",
    "ConversationService",
    "Conversations",
    "Hooks",
    "PreCompletionEvent",
    "StreamingIterator",
    "StreamingResult",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
