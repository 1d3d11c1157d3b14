"""A worker's spans. They show ids, models and counts; what was said only if somebody has switched that on.

    palaver.submit            the producer's, if it traces
      palaver.job             one attempt; a takeover is another one of the same trace
        palaver.queue         from a message to its claim
        chat MODEL            a request to a provider, by the conventions for generative AI

Where the producer has not begun one, all attempts of a job are of the trace that its id makes: nothing has to
be carried for that.

The standard variables say where to: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`
and so on. A program that has set up a provider of traces before the worker starts keeps it; takeovers of jobs
whose producer does not trace are then traces of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from palaver.shared import jobs
from palaver.shared.ledger import Claimed
from palaver.workers.ending import Outcome
from palaver.workers.tracing.requests import TracedRequests
from palaver.workers.tracing.tracing import Attempt, Tracing

__all__ = ["JobTraces", "Spans"]

FLUSH_SECONDS = 3.0
"""For what was not sent yet when the worker ends. A collector that hangs holds it up no longer."""


class JobTraces(RandomIdGenerator):
    """Makes the ids of traces: of a job's first span from the id of the job, of all else at random. Spans are
    begun by one thread.
    """

    def __init__(self) -> None:
        self.job_id: str | None = None  # whose span begins now

    def generate_trace_id(self) -> int:
        """See `IdGenerator`. A digest, as samplers want all bits of it to be random."""
        if self.job_id is None:
            return super().generate_trace_id()
        return int.from_bytes(hashlib.blake2b(self.job_id.encode(), digest_size=16).digest())


class Spans(Tracing):
    """Makes spans with a tracer; `close` sends what is left. `traces` are those of the tracer's provider, if
    that is ours.
    """

    def __init__(
        self, tracer: Tracer, *, content: bool, close: Callable[[], object], traces: JobTraces | None = None
    ) -> None:
        self._tracer = tracer
        self._close = close
        self._traces = traces or JobTraces()
        self._attempts: dict[str, Span] = {}  # that go on and are sampled, by the ids of their jobs
        self.policies = (TracedRequests(tracer, self._attempts, content=content),)

    @classmethod
    def made(cls, worker: str, *, content: bool) -> Self:
        """With the program's own provider of traces, or one for the standard variables."""
        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            return cls(provider.get_tracer("palaver.workers"), content=content, close=lambda: None)
        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "palaver-worker"}
        resource, traces = Resource.create({**named, "service.instance.id": worker}), JobTraces()
        # At exit it would wait for its collector once more.
        own = TracerProvider(resource=resource, id_generator=traces, shutdown_on_exit=False)
        own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        tracer = own.get_tracer("palaver.workers")
        return cls(tracer, content=content, close=own.shutdown, traces=traces)

    def begin(self, claimed: Claimed, queue: str) -> Attempt:
        """See `Tracing.begin`."""
        return _Attempt(self, claimed, queue)

    async def aclose(self) -> None:
        """See `Tracing.aclose`."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._close()
            with suppress(RuntimeError):  # nobody waits any more: the loop has ended
                loop.call_soon_threadsafe(closed.set)

        # A daemon: a process that ends waits for any other thread.
        threading.Thread(target=close, name="palaver-traces", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await closed.wait()

    def start(self, claimed: Claimed, queue: str, *, began: int, traceparent: str | None) -> Span:
        """The span of an attempt that began then, in ns of Unix time."""
        told: dict[str, str | int] = {
            "messaging.system": "palaver",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": claimed.job_id,
            "gen_ai.conversation.id": claimed.session_id,
            "palaver.attempt": claimed.attempt,
        }
        self._traces.job_id = claimed.job_id
        span = self._tracer.start_span(
            "palaver.job", _context(traceparent), kind=SpanKind.CONSUMER, attributes=told, start_time=began
        )
        self._traces.job_id = None
        if span.is_recording():
            self._attempts[claimed.job_id] = span
            self._note_wait(span, claimed, queue, began)
        return span

    def end(self, job_id: str, span: Span, outcome: Outcome | None) -> None:
        """The span's attempt has ended."""
        if self._attempts.get(job_id) is span:
            del self._attempts[job_id]
        if outcome is None:
            span.set_status(Status(StatusCode.ERROR))
        else:
            _note_outcome(span, outcome)
        span.end()

    def _note_wait(self, span: Span, claimed: Claimed, queue: str, began: int) -> None:
        if claimed.waited is None:
            return
        waited = self._tracer.start_span(
            "palaver.queue",
            trace.set_span_in_context(span),
            attributes={"messaging.destination.name": queue},
            start_time=began - int(claimed.waited * 1e9),
        )
        waited.end(began)


class _Attempt(Attempt):
    """One that is traced: its span is made once its job says of which trace it is."""

    def __init__(self, spans: Spans, claimed: Claimed, queue: str) -> None:
        self._spans = spans
        self._claimed = claimed
        self._queue = queue
        self._began = time.time_ns()
        self._span: Span | None = None

    def carries(self, traceparent: str | None) -> None:
        """See `Attempt.carries`."""
        self._span = self._spans.start(self._claimed, self._queue, began=self._began, traceparent=traceparent)

    def end(self, outcome: Outcome | None) -> None:
        """See `Attempt.end`."""
        if self._span is None:
            self.carries(None)
        if self._span is not None:
            self._spans.end(self._claimed.job_id, self._span, outcome)


def _note_outcome(span: Span, outcome: Outcome) -> None:
    became = str(outcome.status or outcome.reason)
    span.set_attribute("palaver.outcome", became)
    if outcome.status is not None:
        span.add_event("stream_end", {"status": became})
    if outcome.status in (jobs.Status.FAILED, jobs.Status.EXPIRED):
        span.set_attribute("error.type", outcome.code or became)
        span.set_status(Status(StatusCode.ERROR))


def _context(traceparent: str | None) -> Context:
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return TraceContextTextMapPropagator().extract(carrier, Context())
