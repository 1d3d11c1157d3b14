"""Where a job's trace begins: a span around its submit, whose context travels in the job's document.

OpenTelemetry is not imported here: a program that traces has done so, in any other there is nothing to
carry.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from palaver.shared.jobs import ChatJob

__all__ = ["traced"]

_API: Final = "opentelemetry.trace"
_SAMPLED: Final = 1


@contextmanager
def traced(jobs: Sequence[ChatJob]) -> Iterator[Sequence[ChatJob]]:
    """The jobs with the context of one span, which lasts as long as the block. A job that brings a context of
    its own keeps it.
    """
    api: Any = sys.modules.get(_API)
    if api is None or not jobs or not _traces(api):
        yield jobs
        return
    tracer = api.get_tracer("palaver.producer")
    with tracer.start_as_current_span(
        "palaver.submit", kind=api.SpanKind.PRODUCER, attributes=_attributes(jobs), record_exception=False
    ) as span:
        parent = _traceparent(span.get_span_context())
        if parent is None:
            yield jobs
        else:
            yield [job if job.traceparent else job.model_copy(update={"traceparent": parent}) for job in jobs]


def _traces(api: Any) -> bool:
    """Whether the program does: a library may have imported the API all the same."""
    has_provider = not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider)
    return has_provider or bool(api.get_current_span().get_span_context().is_valid)


def _attributes(jobs: Sequence[ChatJob]) -> dict[str, str | int]:
    told: dict[str, str | int] = {"messaging.system": "palaver", "messaging.operation.type": "send"}
    if len(jobs) > 1:
        return {**told, "messaging.batch.message_count": len(jobs)}
    (job,) = jobs
    told["messaging.message.id"] = job.job_id
    if job.session_id is not None:
        told["gen_ai.conversation.id"] = job.session_id
    return told


def _traceparent(context: Any) -> str | None:
    """As W3C's Trace Context has it; None of a span that belongs to no trace."""
    if not context.is_valid:
        return None
    flags = context.trace_flags & _SAMPLED
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
