"""What the cache knows a request by, and how it keeps the answer. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final

import msgspec
import orjson

from palaver.shared.document import Document
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import Message
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    Part,
    ReasoningDelta,
    Sink,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.providers.decoded_answer import GUESSED

__all__ = ["Recording", "digest_of", "parts_of"]

PIECE: Final = 100
"""Characters from which on a kept delta is not joined with the next one."""

_VERSION: Final = 1  # of what is kept: another one has other digests

ASIDE: Final = frozenset({"asker", "cache", "prefix", "timeouts"})
"""Fields of a request that do not tell two requests apart. One with a prefix is nobody else's."""

_ASKED: Final = tuple(field.name for field in fields(GenerationRequest) if field.name not in ASIDE)


def digest_of(profile: Profile, request: GenerationRequest) -> str:
    """What two requests have in common if one answer does for both. It tells nothing of their content."""
    asked = {name: getattr(request, name) for name in _ASKED}
    asked["version"] = _VERSION
    asked["tenant"] = request.cache.tenant if request.cache is not None else None
    asked["profile"] = [profile.name, profile.kind, profile.base_url, profile.options]
    return hashlib.sha256(orjson.dumps(asked, _said, orjson.OPT_SORT_KEYS)).hexdigest()


def _said(value: Any) -> Any:
    """A document as its provider is told of it: metadata is ours, and never sent."""
    if not isinstance(value, Document):
        raise TypeError(type(value).__name__)
    return value.model_dump(mode="json", exclude={"metadata"} if isinstance(value, Message) else None)


class Recording:
    """A sink that keeps what passes: at most `limit` characters, and no more once they are exceeded."""

    def __init__(self, sink: Sink, limit: int) -> None:
        self._sink = sink
        self._limit = limit
        self._size = 0
        self._parts: list[Part] = []
        self.room = sink.room

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        if self._size <= self._limit:
            self._parts += parts
            self._size += sum(_size(part) for part in parts)
        else:
            self._parts.clear()
        return self._sink.take(parts)

    def answer(self) -> bytes | None:
        """The answer as the cache keeps it; None for one that it does not keep: not whole, ended for another
        reason than that all was said, or for one that was guessed, without a text, with calls of tools, or
        too large.
        """
        kinds = {type(part) for part in self._parts}
        if TextDelta not in kinds or ToolCallPart in kinds or self._size > self._limit:
            return None
        last = self._parts[-1]
        if not isinstance(last, FinishPart) or last.reason != FinishReason.STOP:
            return None
        if any(isinstance(part, WarningPart) and part.code in GUESSED for part in self._parts):
            return None
        encoded = _encoder.encode(list(_pieces(self._parts)))
        return encoded if len(encoded) <= self._limit else None


def parts_of(answer: bytes) -> list[Part] | None:
    """The parts of a kept answer, its usage marked as coming from the cache; None for what is no answer."""
    try:
        parts = _decoder.decode(answer)
    except ValueError:
        return None
    if not parts or not isinstance(parts[-1], FinishPart):
        return None
    usages = [part.usage for part in parts if isinstance(part, UsagePart)]
    usage = (usages[-1] if usages else Usage()).model_copy(update={"from_cache": True, "cost": 0.0})
    return [*(part for part in parts[:-1] if not isinstance(part, UsagePart)), UsagePart(usage), parts[-1]]


def _pieces(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, small deltas of one kind joined."""
    waiting: TextDelta | ReasoningDelta | None = None
    for part in parts:
        if waiting is not None:
            if _joins(waiting, part):
                waiting = type(waiting)(waiting.text + part.text)  # type: ignore[union-attr] # of the same type
                continue
            yield waiting
        waiting = part if isinstance(part, TextDelta | ReasoningDelta) else None
        if waiting is None:
            yield part
    if waiting is not None:
        yield waiting


def _joins(one: TextDelta | ReasoningDelta, part: Part) -> bool:
    return (
        isinstance(part, TextDelta | ReasoningDelta)
        and type(one) is type(part)
        and one.raw is part.raw is None
        and len(one.text) < PIECE
    )


def _size(part: Part) -> int:
    return len(part.text) + len(part.raw or b"") if isinstance(part, TextDelta | ReasoningDelta) else 0


def _plain(value: Any) -> Any:
    if isinstance(value, Usage):
        return value.model_dump(mode="json")
    raise NotImplementedError(type(value).__name__)


def _document(kind: type, value: Any) -> Any:
    return kind.model_validate(value) if issubclass(kind, Usage) else value


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder = msgspec.json.Decoder(list[Part], dec_hook=_document)
