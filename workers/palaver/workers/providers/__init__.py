"""Providers: what a model server is asked, and its answer as parts. See README.md."""

from palaver.workers.providers.base import (
    Asker,
    Caching,
    Decoder,
    Dialect,
    DialectRequest,
    GenerationRequest,
    HttpProvider,
    ModelInfo,
    Provider,
    ProviderHealth,
    Question,
    Sink,
)
from palaver.workers.providers.flavours import detect_provider
from palaver.workers.providers.guard import close, guarded
from palaver.workers.providers.parts import (
    FinishPart,
    MessagePart,
    MetadataPart,
    Part,
    RawPart,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.providers.registry import class_of, create

__all__ = [
    "Asker",
    "Caching",
    "Decoder",
    "Dialect",
    "DialectRequest",
    "FinishPart",
    "GenerationRequest",
    "HttpProvider",
    "MessagePart",
    "MetadataPart",
    "ModelInfo",
    "Part",
    "Provider",
    "ProviderHealth",
    "Question",
    "RawPart",
    "ReasoningDelta",
    "Sink",
    "TextDelta",
    "ToolCallPart",
    "UsagePart",
    "WarningPart",
    "class_of",
    "close",
    "create",
    "detect_provider",
    "guarded",
]
