"""One trace from a program's submit to the end of its job, over two workers: what a collector is sent."""

import signal
from collections.abc import Iterator

import pytest

from palaver.producer import Client
from palaver.shared.errors import JobCancelledError
from palaver.shared.jobs import Status
from palaver.shared.settings import Settings
from tests.collector import Collector, start_collector
from tests.processes import WORKER, Processes
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

SECRET = "xyzzy-42"
CLIENT, PRODUCER, CONSUMER = 3, 4, 5

SUBMIT = f"""
import json
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from palaver.producer import Client

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
with trace.get_tracer("shop").start_as_current_span("checkout"), Client() as client:
    script = json.dumps({{"endless": True, "rate": 50}})
    handle = client.submit(script, system="{SECRET}", session_id="s1", model="scripted/echo")
    print("job", handle.job_id, flush=True)
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with start_collector() as collector:
        yield collector


def test_a_trace_goes_from_submit_over_a_takeover_to_the_end(
    redis_server: RedisServer, processes: Processes, palaver_env: dict[str, str], collector: Collector
) -> None:
    settings = Settings(redis_url=redis_server.url)
    environment = {
        **palaver_env,
        "PALAVER_TRACING": "1",
        "PALAVER_DRAIN_SECONDS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    words = (*WORKER, "--without-mingle", "--concurrency", "10")
    first = processes.start(words, name="first", env=environment)
    program = processes.python("-c", SUBMIT, env=environment)
    job_id = program.wait_for(r"^job (\S+)").group(1)
    with Client(settings) as client:
        job = client.job(job_id)
        assert eventually(lambda: job.status is Status.RUNNING)
        second = processes.start(words, name="second", env=environment)
        second.wait_for(r"\bready\b", seconds=60)
        first.signal(signal.SIGTERM)
        assert first.wait(30) == 0
        view = client.ledger.job
        said = len(view(job_id).text)
        assert eventually(lambda: len(view(job_id).text) > said)  # by the second: the first has ended
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.result(timeout=60)

    one, two = collector.named("palaver.job", 2)
    (checkout,), (submit,) = collector.named("checkout"), collector.named("palaver.submit")
    assert {span.trace for span in collector.spans} == {checkout.trace}
    assert (submit.parent, submit.kind) == (checkout.id, PRODUCER)
    for number, attempt, outcome in ((1, one, "released"), (2, two, "cancelled")):
        assert (attempt.parent, attempt.kind, attempt.service) == (submit.id, CONSUMER, "palaver-worker")
        assert attempt.attributes["palaver.attempt"] == number
        assert attempt.attributes["palaver.outcome"] == outcome
        assert attempt.attributes["messaging.message.id"] == job_id
        assert attempt.attributes["gen_ai.conversation.id"] == "s1"
    requests = collector.named("chat echo", 2)
    assert [request.parent for request in requests] == [one.id, two.id]
    answered = requests[1]
    assert answered.kind == CLIENT
    assert answered.attributes["gen_ai.operation.name"] == "chat"
    assert answered.attributes["gen_ai.provider.name"] == "scripted"
    assert answered.attributes["gen_ai.request.model"] == "echo"
    assert answered.attributes["gen_ai.response.time_to_first_chunk"] >= 0
    waits = collector.named("palaver.queue", 1)
    assert all(wait.parent in (one.id, two.id) for wait in waits)
    assert not any(SECRET.encode() in body for body in collector.bodies)
