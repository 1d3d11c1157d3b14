"""A worker's spans. They show ids, models and counts; what was said only if somebody has switched that on.

    palaver.submit            the producer's
      palaver.queue           from a message to its claim
      palaver.job             one attempt; a takeover is another one of the same trace
        chat MODEL            a request to a provider, by the conventions for generative AI

The standard variables say where to: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`
and so on. A program that has set up a provider of traces before the worker starts keeps it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Self

import orjson
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from palaver.shared import jobs
from palaver.shared.ledger import Claimed
from palaver.workers.ending import Outcome
from palaver.workers.tracing.requests import TracedRequests
from palaver.workers.tracing.tracing import Tracing

__all__ = ["Spans"]

FLUSH_SECONDS = 5.0


class Spans(Tracing):
    """Makes spans with a tracer; `close` sends what is left."""

    def __init__(self, tracer: Tracer, *, content: bool, close: Callable[[], object]) -> None:
        self._tracer = tracer
        self._close = close
        self._attempts: dict[str, Span] = {}  # that go on, by the ids of their jobs
        self.policies = (TracedRequests(tracer, self._attempts, content=content),)

    @classmethod
    def made(cls, worker: str, *, content: bool) -> Self:
        """With the program's own provider of traces, or one for the standard variables."""
        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            return cls(provider.get_tracer("palaver.workers"), content=content, close=lambda: None)
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "palaver-worker"}
        own = TracerProvider(resource=Resource.create({**named, "service.instance.id": worker}))
        own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(own.get_tracer("palaver.workers"), content=content, close=own.shutdown)

    def begin(self, claimed: Claimed, queue: str) -> Callable[[Outcome | None], object]:
        """See `Tracing.begin`."""
        parent, now = _context(claimed), time.time_ns()
        told: dict[str, str | int] = {
            "messaging.system": "palaver",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": claimed.job_id,
            "gen_ai.conversation.id": claimed.session_id,
            "palaver.attempt": claimed.attempt,
        }
        if claimed.waited is not None:
            sent = now - int(claimed.waited * 1e9)
            waited = self._tracer.start_span(
                "palaver.queue", parent, attributes={"messaging.destination.name": queue}, start_time=sent
            )
            waited.end(now)
        span = self._tracer.start_span("palaver.job", parent, kind=SpanKind.CONSUMER, attributes=told)
        self._attempts[claimed.job_id] = span
        return partial(self._end, claimed.job_id, span)

    async def aclose(self) -> None:
        """See `Tracing.aclose`."""
        closing = asyncio.create_task(asyncio.to_thread(self._close))
        await asyncio.wait([closing], timeout=FLUSH_SECONDS)

    def _end(self, job_id: str, span: Span, outcome: Outcome | None) -> None:
        if self._attempts.get(job_id) is span:
            del self._attempts[job_id]
        if outcome is not None:
            became = str(outcome.status or outcome.reason)
            span.set_attribute("palaver.outcome", became)
            if outcome.status is not None:
                span.add_event("stream_end", {"status": became})
            if outcome.status in (jobs.Status.FAILED, jobs.Status.EXPIRED):
                span.set_attribute("error.type", outcome.code or became)
                span.set_status(Status(StatusCode.ERROR))
        span.end()


def _context(claimed: Claimed) -> Context:
    """That of the job's submit, if its document has one."""
    try:
        document = orjson.loads(claimed.job)
    except orjson.JSONDecodeError:
        document = None
    carried = document.get("traceparent") if isinstance(document, dict) else None
    carrier = {"traceparent": carried} if isinstance(carried, str) else {}
    return TraceContextTextMapPropagator().extract(carrier, Context())
