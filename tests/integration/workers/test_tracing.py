"""Spans of a worker in this process, kept in memory."""

import asyncio
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from palaver.producer.tracing import traced
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.jobs import ChatJob, fingerprint
from palaver.shared.settings import Settings
from palaver.workers import service
from palaver.workers.metrics import Counts
from palaver.workers.stop import HandOver
from palaver.workers.tracing import Tracing, tracing_of
from palaver.workers.tracing import spans as tracing_spans
from palaver.workers.tracing.spans import JobTraces, Spans
from tests.integration.workers.conftest import Engine, MakeEngine

pytestmark = pytest.mark.redis

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"
SECRET = "xyzzy-42"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces() -> JobTraces:
    return JobTraces()


@pytest.fixture
def provider(exporter: InMemorySpanExporter, traces: JobTraces) -> TracerProvider:
    provider = TracerProvider(id_generator=traces)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def content() -> bool:
    return False


@pytest.fixture
async def traced_engine(
    make_engine: MakeEngine,
    provider: TracerProvider,
    traces: JobTraces,
    content: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> Engine:
    """An engine whose spans are kept."""
    spans = Spans(provider.get_tracer("test"), content=content, close=provider.shutdown, traces=traces)
    monkeypatch.setattr(service, "tracing_of", lambda *_: spans)
    return await make_engine(lease_seconds=60, renew_seconds=20)


def named(exporter: InMemorySpanExporter, name: str) -> Sequence[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def test_an_attempt_and_its_requests_are_of_the_trace_that_the_job_carries(
    traced_engine: Engine, exporter: InMemorySpanExporter
) -> None:
    once = {"fail": {"kind": "status", "status": 503, "times": 1}, "text": "hello"}
    await traced_engine.run(await traced_engine.submit(once, traceparent=PARENT))
    (attempt,) = named(exporter, "palaver.job")
    failed, answered = named(exporter, "chat echo")
    assert attempt.context is not None
    assert attempt.parent is not None
    assert trace.format_trace_id(attempt.context.trace_id) in PARENT
    assert trace.format_span_id(attempt.parent.span_id) in PARENT
    for request in (failed, answered):
        assert request.parent == attempt.context
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "server_error"
    assert not failed.status.is_ok
    assert answered.status.is_unset
    assert [event.name for event in attempt.events] == ["stream_end"]


async def test_all_attempts_of_a_job_whose_producer_does_not_trace_are_of_one_trace(
    traced_engine: Engine, exporter: InMemorySpanExporter
) -> None:
    for session in ("s1", "s2"):
        job = await traced_engine.submit({"endless": True}, session_id=session, model="slow/echo")
        first = asyncio.create_task(traced_engine.run(job))
        await traced_engine.said(job)
        assert traced_engine.service._running.stop(job.job_id, HandOver("Another one goes on."))
        assert (await first).reason == "released"
        second = asyncio.create_task(traced_engine.run(job))
        await asyncio.sleep(0)
        assert traced_engine.service.end(job.job_id)
        await second
    spans = exporter.get_finished_spans()
    attempts = named(exporter, "palaver.job")
    assert [attempt.attributes and attempt.attributes["palaver.attempt"] for attempt in attempts] == [
        1,
        2,
        1,
        2,
    ]
    assert all(attempt.parent is None for attempt in attempts)
    traces = [attempt.context.trace_id for attempt in attempts if attempt.context is not None]
    assert traces[0] == traces[1] != traces[2] == traces[3]
    assert {span.context.trace_id for span in spans if span.context is not None} == {traces[0], traces[2]}


async def test_a_request_that_fails_by_a_bug_says_so_in_its_span(
    traced_engine: Engine, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(Counts, "requested", broken)
    await traced_engine.answer("hello")
    (request,) = named(exporter, "chat echo")
    assert request.attributes is not None
    assert request.attributes["error.type"] == "RuntimeError"
    assert not request.status.is_ok
    assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_a_document_that_cannot_be_read_has_a_span_all_the_same(
    traced_engine: Engine, exporter: InMemorySpanExporter
) -> None:
    job = await traced_engine.submit("hello")
    ledger = traced_engine.ledger
    traced_engine.client.hset(ledger.keys.job(job.session_id or "", job.job_id), "doc", "{" + SECRET)
    await traced_engine.run(job)
    (attempt,) = named(exporter, "palaver.job")
    assert attempt.attributes is not None
    assert attempt.attributes["error.type"] == "invalid_request"


async def test_a_collector_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_spans, "FLUSH_SECONDS", 0.05)
    over, closing = threading.Event(), threading.Event()

    def hang() -> None:
        closing.set()
        over.wait()

    spans = Spans(TracerProvider().get_tracer("test"), content=False, close=hang)
    try:
        async with asyncio.timeout(10):
            await spans.aclose()
        assert await asyncio.to_thread(closing.wait, 20)
        threads = [thread for thread in threading.enumerate() if thread.name == "palaver-traces"]
        assert threads
        assert all(thread.daemon for thread in threads)  # one of a test before may be about to end
    finally:
        over.set()


async def test_a_job_that_failed_says_its_code_and_no_more(
    traced_engine: Engine, exporter: InMemorySpanExporter
) -> None:
    await traced_engine.answer({"fail": {"kind": "status", "status": 401}, "text": SECRET})
    (attempt,) = named(exporter, "palaver.job")
    assert attempt.attributes is not None
    assert attempt.attributes["error.type"] == "authentication"
    assert not attempt.status.is_ok
    assert attempt.parent is None
    assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())


@pytest.mark.parametrize("content", [False, True])
async def test_what_was_said_is_told_only_if_somebody_wants_it(
    traced_engine: Engine, exporter: InMemorySpanExporter, content: bool
) -> None:
    await traced_engine.answer(SECRET)
    (request,) = named(exporter, "chat echo")
    assert request.attributes is not None
    assert request.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert int(str(request.attributes["gen_ai.usage.output_tokens"])) > 0
    told = {
        name: request.attributes.get(name) for name in ("gen_ai.input.messages", "gen_ai.output.messages")
    }
    if content:
        part = '"parts":[{"type":"text","content":"' + SECRET
        assert f'{{"role":"user",{part}' in str(told["gen_ai.input.messages"])
        assert SECRET in str(told["gen_ai.output.messages"])
    else:
        assert told == {"gen_ai.input.messages": None, "gen_ai.output.messages": None}
        assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_who_submits_decides_whether_it_is_sampled(
    traced_engine: Engine, exporter: InMemorySpanExporter
) -> None:
    await traced_engine.run(await traced_engine.submit("hello", traceparent=UNSAMPLED))
    assert exporter.get_finished_spans() == ()


def test_a_span_of_the_program_is_carried_by_its_jobs(provider: TracerProvider) -> None:
    job, other = ChatJob(messages="x"), ChatJob(messages="x", traceparent=UNSAMPLED)
    with traced([job]) as jobs:
        assert jobs[0].traceparent is None, "nobody traces"
    with provider.get_tracer("shop").start_as_current_span("checkout") as span:
        with traced([job, other]) as (carrying, own):
            assert carrying.traceparent is not None
            assert trace.format_trace_id(span.get_span_context().trace_id) in carrying.traceparent
            assert carrying.traceparent.endswith("-01")
            assert own.traceparent == UNSAMPLED
        with traced([]) as none:
            assert list(none) == []
    assert fingerprint(carrying) == fingerprint(job), "it is the same job"


@pytest.mark.parametrize("wrong", ["x", PARENT.upper(), "01" + PARENT[2:], PARENT + "-x", SECRET])
def test_a_context_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="traceparent") as raised:
        ChatJob(messages="x", traceparent=wrong)
    assert SECRET not in str(raised.value)


def test_without_the_library_tracing_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "palaver.workers.tracing.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'palaver\[otel\]'$"):
        tracing_of(Settings(tracing=True), "w")
    assert type(tracing_of(Settings(), "w")) is Tracing
