"""The Celery side of a worker, seen by a Celery client that has nothing of Palaver."""

import base64
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestSetup  # type: ignore[import-untyped]

from palaver.shared.ids import session_for
from tests.processes import Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

SECRET = "xyzzy-42"


class Outsider:
    """A sender with only `celery`, and a reader with only `redis`."""

    def __init__(self, setup: CeleryTestSetup) -> None:
        self.celery: Celery = setup.app
        self.redis = redis.Redis.from_url(setup.broker.container.url)
        self.worker: Running = setup.worker.container.running

    def submit(self, document: Any, **options: Any) -> str:
        sent = self.celery.send_task("palaver.submit", args=(document,), queue="palaver.submit", **options)
        return str(sent.id)

    def events(self, session_id: str) -> list[dict[str, Any]]:
        log: Any = self.redis.xrange(f"palaver:{{{session_id}}}:events")
        return [json.loads(fields[b"e"]) for _, fields in log]

    def ended(self, session_id: str) -> dict[str, Any]:
        """The `stream_end` of the session's job."""
        assert eventually(lambda: any(e["type"] == "stream_end" for e in self.events(session_id)))
        (end,) = (event for event in self.events(session_id) if event["type"] == "stream_end")
        data: dict[str, Any] = end["data"]
        return data

    def push(self, message: str | bytes, queue: str = "palaver.submit") -> None:
        """Put raw bytes where a broker's client would put a message."""
        self.redis.lpush(queue, message)

    def message(self, body: bytes, *, task: Any = "palaver.submit", **headers: Any) -> dict[str, Any]:
        """A message as kombu writes it to Redis."""
        return {
            "body": base64.b64encode(body).decode(),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": task, "id": "outside", "lang": "py", **headers},
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "palaver.submit"},
                "delivery_mode": 2,
                "delivery_tag": "outside",
            },
        }

    def still_works(self) -> None:
        """The worker took everything before this, and lives."""
        self.submit({"session_id": "after", "job_id": "after", "messages": "hello"})
        assert self.ended("after")["status"] == "completed"
        assert self.worker.process.poll() is None


@pytest.fixture
def outsider(celery_setup: CeleryTestSetup) -> Outsider:
    return Outsider(celery_setup)


def test_a_document_becomes_a_stream(outsider: Outsider) -> None:
    outsider.submit({"session_id": "s1", "job_id": "j1", "messages": f"hello {SECRET}"})
    assert outsider.ended("s1")["response"]["content"] == f"hello {SECRET}"
    types = [event["type"] for event in outsider.events("s1")]
    assert types[:2] == ["job_queued", "stream_start"]
    outsider.worker.wait_for(r"palaver\.chat\[j1\] succeeded .*'completed'")
    assert SECRET not in outsider.worker.output


def test_the_task_id_is_the_default_idempotency_key(outsider: Outsider) -> None:
    for _ in range(2):
        outsider.submit({"session_id": "s1", "messages": "hello"}, task_id="the-key")
    assert eventually(lambda: outsider.worker.output.count("palaver.submit[the-key] succeeded") == 2)
    outsider.ended("s1")
    assert [event["type"] for event in outsider.events("s1")].count("job_queued") == 1


def test_a_bad_document_that_names_its_job_gets_a_terminal_event(outsider: Outsider) -> None:
    document = {"session_id": "s1", "job_id": "j1", "messages": SECRET, "params": {"temperature": 5}}
    outsider.submit(document, task_id="bad")
    end = outsider.ended("s1")
    assert end["status"] == "failed"
    assert end["error"]["param"] == "params.temperature"
    outsider.worker.wait_for(r"palaver\.submit\[bad\] raised expected: JobFailed\('invalid_request'\)")
    assert SECRET not in outsider.worker.output


@pytest.mark.parametrize(
    "named",
    [
        {"idempotency_key": None},  # the session is then the job's own id
        {"idempotency_key": "k", "tenant": "t"},
        {},  # the task's id is the key
        {"session_id": "s 1", "idempotency_key": ""},
    ],
)
def test_a_bad_document_without_a_session_ends_where_a_good_one_would(
    outsider: Outsider, named: dict[str, Any]
) -> None:
    outsider.submit({"job_id": "j1", "messages": "", **named}, task_id="bad")
    assert eventually(lambda: outsider.redis.exists("palaver:job:j1"))
    session_id = outsider.redis.get("palaver:job:j1")
    assert isinstance(session_id, bytes)
    key = named.get("idempotency_key", "bad")
    assert session_id.decode() == (session_for(named.get("tenant"), key) if key else "j1")
    assert outsider.ended(session_id.decode())["error"]["type"] == "ValidationError"


@pytest.mark.parametrize("form", ["json", "too many", "beside", "fields"])
def test_a_job_named_in_another_form_gets_a_terminal_event_too(outsider: Outsider, form: str) -> None:
    bad = {"session_id": "s1", "job_id": "j1", "messages": ""}
    good = bad | {"messages": "hello"}
    args: dict[str, tuple[Any, ...]] = {"json": (json.dumps(bad),), "too many": (good, 1), "beside": (good,)}
    kwargs: dict[str, dict[str, Any]] = {"beside": {"another": 1}, "fields": bad}
    outsider.celery.send_task(
        "palaver.submit", args=args.get(form, ()), kwargs=kwargs.get(form, {}), queue="palaver.submit"
    )
    assert outsider.ended("s1")["error"]["type"] == "ValidationError"


def test_a_bad_document_that_names_no_job_is_one_line_without_content(outsider: Outsider) -> None:
    outsider.submit({"messages": [{"role": SECRET, "content": SECRET}]})
    outsider.worker.wait_for(r"submit\.discarded invalid_request \(messages\[0\]\.role\)")
    outsider.still_works()
    assert SECRET not in outsider.worker.output


def test_headers_that_describe_arguments_are_not_believed(outsider: Outsider) -> None:
    document = {"session_id": "s1", "job_id": "j1", "messages": json.dumps({"n": 500, "rate": 20})}
    words: dict[str, Any] = {"argsrepr": SECRET, "kwargsrepr": SECRET, "shadow": SECRET}
    outsider.submit(document, **words)
    chat: dict[str, Any] = {"args": ("s1", "j9"), "queue": "palaver.normal", "task_id": "j9"}
    outsider.celery.send_task("palaver.chat", **chat, **words)
    outsider.worker.wait_for(r"palaver\.chat\[j1\] received")
    inspect = outsider.celery.control.inspect(timeout=10, limit=1)
    shown = json.dumps([inspect.active(), inspect.query_task("j1"), inspect.reserved()])
    assert "('s1', 'j1')" in shown
    assert SECRET not in shown
    outsider.celery.control.revoke("j1", terminate=True)
    assert outsider.ended("s1")["status"] == "cancelled"
    outsider.still_works()
    assert SECRET not in outsider.worker.output


def test_terminate_ends_the_job_with_its_partial_text(outsider: Outsider) -> None:
    outsider.submit({"session_id": "s1", "job_id": "j1", "messages": json.dumps({"n": 5000, "rate": 50})})
    assert eventually(lambda: sum(e["type"] == "text_chunk" for e in outsider.events("s1")) > 3)
    outsider.celery.control.revoke("j1", terminate=True)
    end = outsider.ended("s1")
    assert end["status"] == "cancelled"
    assert end["text"] == "".join(
        event["data"]["delta"] for event in outsider.events("s1") if event["type"] == "text_chunk"
    )


def test_unknown_and_malformed_jobs_are_one_line(outsider: Outsider) -> None:
    outsider.celery.send_task("palaver.chat", args=("s1", "nobody"), queue="palaver.normal")
    outsider.worker.wait_for(r"chat\.unknown session s1 has no job nobody")
    for args in [(SECRET,), ("s1", 5), ("s1", "j1", SECRET), ({"a": SECRET}, [SECRET])]:
        outsider.celery.send_task("palaver.chat", args=args, queue="palaver.normal")
    outsider.celery.send_task("palaver.chat", kwargs={SECRET: SECRET}, queue="palaver.normal")
    assert eventually(lambda: outsider.worker.output.count("chat.discarded") == 5)
    outsider.still_works()
    assert SECRET not in outsider.worker.output


def test_a_probe_with_arguments_is_one_line(outsider: Outsider) -> None:
    outsider.celery.send_task("palaver.probe", args=(SECRET,), queue="palaver.high", task_id="p1")
    outsider.worker.wait_for(r"palaver\.probe\[p1\] raised expected: JobFailed\('invalid_request'\)")
    assert "probe.discarded p1" in outsider.worker.output
    assert "Traceback" not in outsider.worker.output
    assert SECRET not in outsider.worker.output


Malform = Callable[[Outsider], str | bytes]

MALFORMED: dict[str, Malform] = {
    "no JSON": lambda o: f"{SECRET} {{",
    "no message": lambda o: json.dumps([SECRET]),
    "no properties": lambda o: json.dumps({"body": SECRET}),
    "body is no JSON": lambda o: json.dumps(o.message(f"{SECRET} {{".encode())),
    "body is no text": lambda o: json.dumps(o.message(b"\xff\xfe" + SECRET.encode())),
    "body is no list": lambda o: json.dumps(o.message(json.dumps({SECRET: 1}).encode())),
    "body is too short": lambda o: json.dumps(o.message(json.dumps([[SECRET]]).encode())),
    "args are a number": lambda o: json.dumps(o.message(json.dumps([5, {}, {}]).encode())),
    "args are a mapping": lambda o: json.dumps(o.message(json.dumps([{SECRET: 1}, {}, {}]).encode())),
    "kwargs are a list": lambda o: json.dumps(o.message(json.dumps([[], [SECRET], {}]).encode())),
    "too many args": lambda o: json.dumps(o.message(json.dumps([[SECRET] * 3, {}, {}]).encode())),
    "unknown kwargs": lambda o: json.dumps(o.message(json.dumps([[], {SECRET: 1}, {}]).encode())),
    "no id": lambda o: json.dumps(o.message(b"[[],{},{}]", id=None)),
    "task is a list": lambda o: json.dumps(o.message(b"[[],{},{}]", task=[SECRET])),
    "unknown task": lambda o: json.dumps(o.message(json.dumps([[SECRET], {}, {}]).encode(), task="a.b")),
    "limits are words": lambda o: json.dumps(o.message(b"[[],{},{}]", timelimit=SECRET)),
    "expires is a word": lambda o: json.dumps(o.message(b"[[],{},{}]", expires=SECRET)),
    "eta is a word": lambda o: json.dumps(o.message(b"[[],{},{}]", eta=SECRET)),
    "retries is a word": lambda o: json.dumps(o.message(b"[[],{},{}]", retries=SECRET)),
    "a pickle": lambda o: json.dumps(
        {**o.message(pickle.dumps([[SECRET], {}, {}])), "content-type": "application/x-python-serialize"}
    ),
    "yaml": lambda o: json.dumps({**o.message(SECRET.encode()), "content-type": "application/x-yaml"}),
    "no headers": lambda o: json.dumps({**o.message(b"[[],{},{}]"), "headers": {}}),
    "headers are null": lambda o: json.dumps({**o.message(b"[[],{},{}]"), "headers": None}),
}


def test_malformed_messages_cost_a_line_and_not_the_worker(outsider: Outsider) -> None:
    for ends, (kind, make) in enumerate(MALFORMED.items(), start=1):
        outsider.push(make(outsider))
        outsider.submit({"session_id": "probe", "job_id": kind.replace(" ", "-"), "messages": "hello"})
        assert eventually(
            lambda count=ends: sum(e["type"] == "stream_end" for e in outsider.events("probe")) == count
        ), f"after {kind}: {outsider.worker.tail()}"
    assert eventually(lambda: outsider.redis.hlen("unacked") == 0)
    assert SECRET not in outsider.worker.output
    assert "Traceback" not in outsider.worker.output


def test_a_ten_megabyte_document_is_refused(outsider: Outsider) -> None:
    outsider.submit({"session_id": "s1", "job_id": "j1", "messages": "x" * 10_000_000})
    assert outsider.ended("s1")["error"]["type"] == "ValidationError"
    outsider.still_works()


def test_debug_logs_show_no_content(start_worker: Any, celery_setup: CeleryTestSetup) -> None:
    celery_setup.worker.container.running.stop()
    outsider = Outsider(celery_setup)
    outsider.worker = start_worker("--loglevel", "DEBUG").running
    outsider.submit({"session_id": "s1", "job_id": "j1", "messages": SECRET})
    assert outsider.ended("s1")["status"] == "completed"
    outsider.still_works()
    assert SECRET not in outsider.worker.output
