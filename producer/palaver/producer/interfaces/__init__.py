"""The classes of other chat libraries, as faces of the one client. Names are loaded at first use."""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.interfaces.aiml_client import AIMLClient
    from palaver.producer.interfaces.amrita_config import AmritaConfig
    from palaver.producer.interfaces.chat import Chat
    from palaver.producer.interfaces.chat_logger import ChatLogger
    from palaver.producer.interfaces.chat_manager import ChatManager, managed_chat_session
    from palaver.producer.interfaces.chat_object import ChatObject
    from palaver.producer.interfaces.chat_operations import (
        process_message_batch,
        process_stream,
        safe_chat_operation,
    )
    from palaver.producer.interfaces.chat_types import ChainOfThoughtPrompt, ModelConfig
    from palaver.producer.interfaces.clients import Clients
    from palaver.producer.interfaces.conversation_service import Conversations, ConversationService
    from palaver.producer.interfaces.conversations import AsyncConversations
    from palaver.producer.interfaces.response_cache import ResponseCache
    from palaver.producer.interfaces.sending import Sending
    from palaver.producer.interfaces.streaming import (
        AsyncStreamingIterator,
        StreamingIterator,
        StreamingResult,
    )

_HOMES: Final = {
    "AIMLClient": "aiml_client",
    "AmritaConfig": "amrita_config",
    "AsyncConversations": "conversations",
    "AsyncStreamingIterator": "streaming",
    "ChainOfThoughtPrompt": "chat_types",
    "Chat": "chat",
    "ChatLogger": "chat_logger",
    "ChatManager": "chat_manager",
    "ChatObject": "chat_object",
    "Clients": "clients",
    "ConversationService": "conversation_service",
    "Conversations": "conversation_service",
    "ModelConfig": "chat_types",
    "ResponseCache": "response_cache",
    "Sending": "sending",
    "StreamingIterator": "streaming",
    "StreamingResult": "streaming",
    "managed_chat_session": "chat_manager",
    "process_message_batch": "chat_operations",
    "process_stream": "chat_operations",
    "safe_chat_operation": "chat_operations",
}

__all__ = [
    "AIMLClient",
    "AmritaConfig",
    "AsyncConversations",
    "AsyncStreamingIterator",
    "ChainOfThoughtPrompt",
    "Chat",
    "ChatLogger",
    "ChatManager",
    "ChatObject",
    "Clients",
    "ConversationService",
    "Conversations",
    "ModelConfig",
    "ResponseCache",
    "Sending",
    "StreamingIterator",
    "StreamingResult",
    "managed_chat_session",
    "process_message_batch",
    "process_stream",
    "safe_chat_operation",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
