"""The contract: everything that a producer, a worker and a reader must agree on.

Names are loaded at first use, so that importing one part does not cost the others. All errors are in
`palaver.shared.errors`, all event classes in `palaver.shared.events`.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.shared.accumulator import Accumulator, accumulate, end_error
    from palaver.shared.chat_client import ChatClient
    from palaver.shared.errors import ErrorInfo, PalaverError, ValidationError, error_for_status
    from palaver.shared.events import AnyEvent, Event, OtherEvent, parse_event
    from palaver.shared.health import Health
    from palaver.shared.history import ChatHistory
    from palaver.shared.hooks import CompletionEvent, Hooks, PreCompletionEvent
    from palaver.shared.ids import new_job_id, new_session_id, valid_session_id
    from palaver.shared.jobs import ChatJob, FinishReason, OnBusy, Status, Timeouts, fingerprint
    from palaver.shared.memory import MemoryModel, SendMessageWrap
    from palaver.shared.messages import (
        ChatInput,
        ImagePart,
        Message,
        MessagesLike,
        Role,
        TextPart,
        ToolCall,
        UserMessage,
        parse_messages,
    )
    from palaver.shared.modes import ChatMode
    from palaver.shared.names import Queue, queue_for
    from palaver.shared.params import ChatParams, ReasoningOptions
    from palaver.shared.presets import ModelPreset
    from palaver.shared.profiles import Catalog, ModelRef, Profile
    from palaver.shared.responses import (
        ChatResponse,
        ChatResult,
        ChatStreamChunk,
        ModelResponse,
        Response,
        StreamChunk,
        UniResponse,
        Usage,
    )
    from palaver.shared.sessions import SessionInfo, SessionStatus
    from palaver.shared.settings import Settings, redacted_url
    from palaver.shared.spending import DailyUsage
    from palaver.shared.tools import FunctionTool, ToolChoice
    from palaver.shared.validation import (
        validate_chat_params,
        validate_messages,
        validate_model,
        validate_stop,
    )

_HOMES: Final = {
    "accumulator": "Accumulator accumulate end_error",
    "chat_client": "ChatClient",
    "errors": "ErrorInfo PalaverError ValidationError error_for_status",
    "events": "AnyEvent Event OtherEvent parse_event",
    "health": "Health",
    "history": "ChatHistory",
    "hooks": "CompletionEvent Hooks PreCompletionEvent",
    "ids": "new_job_id new_session_id valid_session_id",
    "jobs": "ChatJob FinishReason OnBusy Status Timeouts fingerprint",
    "memory": "MemoryModel SendMessageWrap",
    "messages": "ChatInput ImagePart Message MessagesLike Role TextPart ToolCall UserMessage parse_messages",
    "modes": "ChatMode",
    "names": "Queue queue_for",
    "params": "ChatParams ReasoningOptions",
    "presets": "ModelPreset",
    "profiles": "Catalog ModelRef Profile",
    "responses": (
        "ChatResponse ChatResult ChatStreamChunk ModelResponse Response StreamChunk UniResponse Usage"
    ),
    "sessions": "SessionInfo SessionStatus",
    "settings": "Settings redacted_url",
    "spending": "DailyUsage",
    "tools": "FunctionTool ToolChoice",
    "validation": "validate_chat_params validate_messages validate_model validate_stop",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Accumulator",
    "AnyEvent",
    "Catalog",
    "ChatClient",
    "ChatHistory",
    "ChatInput",
    "ChatJob",
    "ChatMode",
    "ChatParams",
    "ChatResponse",
    "ChatResult",
    "ChatStreamChunk",
    "CompletionEvent",
    "DailyUsage",
    "ErrorInfo",
    "Event",
    "FinishReason",
    "FunctionTool",
    "Health",
    "Hooks",
    "ImagePart",
    "MemoryModel",
    "Message",
    "MessagesLike",
    "ModelPreset",
    "ModelRef",
    "ModelResponse",
    "OnBusy",
    "OtherEvent",
    "PalaverError",
    "PreCompletionEvent",
    "Profile",
    "Queue",
    "ReasoningOptions",
    "Response",
    "Role",
    "SendMessageWrap",
    "SessionInfo",
    "SessionStatus",
    "Settings",
    "Status",
    "StreamChunk",
    "TextPart",
    "Timeouts",
    "ToolCall",
    "ToolChoice",
    "UniResponse",
    "Usage",
    "UserMessage",
    "ValidationError",
    "accumulate",
    "end_error",
    "error_for_status",
    "fingerprint",
    "new_job_id",
    "new_session_id",
    "parse_event",
    "parse_messages",
    "queue_for",
    "redacted_url",
    "valid_session_id",
    "validate_chat_params",
    "validate_messages",
    "validate_model",
    "validate_stop",
]

__getattr__, __dir__ = _lazily(__name__, _HOME_OF)
