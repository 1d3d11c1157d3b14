"""Spans of a worker in this process, kept in memory."""

import sys
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
from palaver.workers.tracing import Tracing, tracing_of
from palaver.workers.tracing.spans import Spans
from tests.integration.workers.conftest import Engine, MakeEngine

pytestmark = pytest.mark.redis

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"
SECRET = "xyzzy-42"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def content() -> bool:
    return False


@pytest.fixture
async def traced_engine(
    make_engine: MakeEngine, provider: TracerProvider, content: bool, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """An engine whose spans are kept."""
    spans = Spans(provider.get_tracer("test"), content=content, close=provider.shutdown)
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
