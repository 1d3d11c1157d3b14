"""The policy that makes a span of each request to a provider, by OpenTelemetry's conventions for generative
AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from palaver.shared.errors import PalaverError
from palaver.workers.policies import Ask
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    Sink,
    TextDelta,
    ToolCallPart,
    UsagePart,
)

__all__ = ["TracedRequests"]

_PARAMS: Final = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
_ANSWERS: Final = (TextDelta, ReasoningDelta, ToolCallPart)


class TracedRequests:
    """See the module; a `Policy`. Requests of attempts that are traced are; those of batches are not."""

    def __init__(self, tracer: Tracer, attempts: Mapping[str, Span], *, content: bool) -> None:
        self._tracer = tracer
        self._attempts = attempts
        self._content = content

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`."""
        attempt = self._attempts.get(request.asker.job_id) if request.asker is not None else None
        if attempt is None:  # nor is one that was not sampled
            await ask(provider, request, sink)
            return
        span = self._tracer.start_span(
            f"chat {request.model}",
            trace.set_span_in_context(attempt),
            kind=SpanKind.CLIENT,
            attributes=_asked(provider, request),
        )
        heard = _Heard(sink, keeps=self._content)
        try:
            await ask(provider, request, heard)
        except Exception as error:
            code = error.code if isinstance(error, PalaverError) else type(error).__qualname__
            span.set_attribute("error.type", code)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.set_attributes(heard.told)
            if self._content:
                span.set_attributes(_said(request, heard))
            span.end()


def _asked(provider: Provider, request: GenerationRequest) -> dict[str, Any]:
    profile = provider.profile
    told: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": profile.kind,
        "gen_ai.request.model": request.model,
        "gen_ai.request.stream": request.stream,
        "palaver.profile": profile.name,
    }
    if request.asker is not None:
        told["gen_ai.conversation.id"] = request.asker.session_id
    for name in _PARAMS:
        value = getattr(request.params, name, None)
        if value is not None:
            told[f"gen_ai.request.{name}"] = value
    address = urlsplit(provider.address or "")
    if address.hostname:
        told["server.address"] = address.hostname
        told["server.port"] = address.port or (443 if address.scheme == "https" else 80)
    return told


class _Heard:
    """A sink that notes what a span tells of the answer; the words only if it `keeps` them."""

    def __init__(self, sink: Sink, *, keeps: bool) -> None:
        self._sink = sink
        self._keeps = keeps
        self._began = time.monotonic()
        self.room = sink.room
        self.told: dict[str, Any] = {}
        self.words: list[str] = []

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        for part in parts:
            if isinstance(part, _ANSWERS):
                self.told.setdefault("gen_ai.response.time_to_first_chunk", time.monotonic() - self._began)
            if isinstance(part, TextDelta) and self._keeps:
                self.words.append(part.text)
            elif isinstance(part, UsagePart):
                self._count(part)
            elif isinstance(part, FinishPart):
                self.told["gen_ai.response.finish_reasons"] = [str(part.reason)]
                if part.model is not None:
                    self.told["gen_ai.response.model"] = part.model
        return self._sink.take(parts)

    def _count(self, part: UsagePart) -> None:
        for name, tokens in (("input", part.usage.input_tokens), ("output", part.usage.output_tokens)):
            if tokens is not None:
                self.told[f"gen_ai.usage.{name}_tokens"] = tokens


def _said(request: GenerationRequest, heard: _Heard) -> dict[str, str]:
    """What was asked and answered, as text; images and calls are left out."""
    asked = [_message(str(message.role), message.text) for message in request.messages]
    answered = [_message("assistant", "".join(heard.words))]
    return {
        "gen_ai.input.messages": orjson.dumps(asked).decode(),
        "gen_ai.output.messages": orjson.dumps(answered).decode(),
    }


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
