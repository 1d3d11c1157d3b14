"""The classes of other chat libraries, as faces of the one client. Names are loaded at first use."""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.interfaces.chat import Chat
    from palaver.producer.interfaces.clients import Clients
    from palaver.producer.interfaces.streaming import (
        AsyncStreamingIterator,
        StreamingIterator,
        StreamingResult,
    )

_HOMES: Final = {
    "AsyncStreamingIterator": "streaming",
    "Chat": "chat",
    "Clients": "clients",
    "StreamingIterator": "streaming",
    "StreamingResult": "streaming",
}

__all__ = ["AsyncStreamingIterator", "Chat", "Clients", "StreamingIterator", "StreamingResult"]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
