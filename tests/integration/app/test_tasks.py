"""The Celery side of a worker, seen by a Celery client that has nothing of Palaver."""

import base64
import json
import pickle
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery

from palaver.shared.ids import new_job_id, new_session_id, session_for
from tests.integration.app.conftest import System
from tests.integration.conftest import StartWorker
from tests.processes import Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("system")]

SECRET = "xyzzy-42"


class Outsider:
    """A sender with only `celery`, and a reader with only `redis`. `session` and `job` are nobody else's."""

    def __init__(self, url: str, worker: Running) -> None:
        self.celery = Celery("outsider", broker=url, set_as_current=False)
        self.redis = redis.Redis.from_url(url)
        self.worker = worker
        self.session, self.job = new_session_id(), new_job_id()
        self.document = {"session_id": self.session, "job_id": self.job}
        self._before = len(worker.output)

    @property
    def said(self) -> str:
        """What the worker has written since this test began."""
        return self.worker.output[self._before :]

    def submit(self, document: Any, **options: Any) -> str:
        sent = self.celery.send_task("palaver.submit", args=(document,), queue="palaver.submit", **options)
        return str(sent.id)

    def events(self, session_id: str = "") -> list[dict[str, Any]]:
        log: Any = self.redis.xrange(f"palaver:{{{session_id or self.session}}}:events")
        return [json.loads(fields[b"e"]) for _, fields in log]

    def ended(self, session_id: str = "") -> dict[str, Any]:
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
        after = new_session_id()
        self.submit({"session_id": after, "messages": "hello"})
        assert self.ended(after)["status"] == "completed"
        assert self.worker.process.poll() is None

    def close(self) -> None:
        self.celery.close()
        self.redis.close()


@pytest.fixture
def outsider(system: System) -> Iterator[Outsider]:
    outsider = Outsider(system.url, system.worker)
    yield outsider
    outsider.close()


def test_a_document_becomes_a_stream(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": f"hello {SECRET}"})
    assert outsider.ended()["response"]["content"] == f"hello {SECRET}"
    types = [event["type"] for event in outsider.events()]
    assert types[:2] == ["job_queued", "stream_start"]
    outsider.worker.wait_for(rf"job\.ended .*job_id={outsider.job} .*status=completed")
    assert SECRET not in outsider.said


@pytest.mark.parametrize("form", [dict, json.dumps])
@pytest.mark.parametrize("keyless", [{}, {"idempotency_key": None}])
def test_the_task_id_is_the_default_idempotency_key(
    outsider: Outsider, keyless: dict[str, Any], form: Callable[[Any], Any]
) -> None:
    document = {"session_id": outsider.session, "messages": "hello", **keyless}
    for _ in range(2):
        outsider.submit(form(document), task_id=outsider.job)
    succeeded = f"palaver.submit[{outsider.job}] succeeded"
    assert eventually(lambda: outsider.said.count(succeeded) == 2)
    outsider.ended()
    assert [event["type"] for event in outsider.events()].count("job_queued") == 1


def test_a_bad_document_that_names_its_job_gets_a_terminal_event(outsider: Outsider) -> None:
    document = {**outsider.document, "messages": SECRET, "params": {"temperature": 5}}
    outsider.submit(document, task_id=outsider.job)
    end = outsider.ended()
    assert end["status"] == "failed"
    assert end["error"]["param"] == "params.temperature"
    outsider.worker.wait_for(
        rf"palaver\.submit\[{outsider.job}\] raised expected: JobFailed\('invalid_request'\)"
    )
    assert SECRET not in outsider.said


def test_a_job_beyond_its_tenants_bound_ends_with_the_time_to_try_again(outsider: Outsider) -> None:
    later = {"messages": "hi", "tenant": "bounded", "run_at": time.time() + 3600}
    outsider.submit({**later, "session_id": (first := new_session_id())})
    assert eventually(lambda: outsider.events(first))
    outsider.submit({**later, **outsider.document})
    error = outsider.ended()["error"]
    assert (error["type"], error["retryable"], error["details"]["retry_after"]) == ("QueueFullError", True, 5)


def test_the_id_of_a_job_in_another_session_is_refused_in_this_one(outsider: Outsider) -> None:
    outsider.submit(outsider.document | {"messages": "hello"})
    assert outsider.ended()["status"] == "completed"
    other = new_session_id()
    outsider.submit(outsider.document | {"session_id": other, "messages": "hello"})
    assert outsider.ended(other)["error"]["code"] == "conflict"
    assert outsider.redis.get(f"palaver:job:{outsider.job}") == outsider.session.encode()


@pytest.mark.parametrize(
    "named",
    [
        {"idempotency_key": "k", "tenant": "t"},
        {},  # the task's id is the key
        {"idempotency_key": None},
        {"session_id": "s 1", "idempotency_key": ""},
    ],
)
def test_a_bad_document_without_a_session_ends_where_a_good_one_would(
    outsider: Outsider, named: dict[str, Any]
) -> None:
    outsider.submit({"job_id": outsider.job, "messages": "", **named}, task_id=outsider.job)
    assert eventually(lambda: outsider.redis.exists(f"palaver:job:{outsider.job}"))
    session_id = outsider.redis.get(f"palaver:job:{outsider.job}")
    assert isinstance(session_id, bytes)
    key = outsider.job if named.get("idempotency_key") is None else named["idempotency_key"]
    assert session_id.decode() == (session_for(named.get("tenant"), key) if key else outsider.job)
    assert outsider.ended(session_id.decode())["error"]["type"] == "ValidationError"


@pytest.mark.parametrize("form", ["json", "too many", "beside", "fields"])
def test_a_job_named_in_another_form_gets_a_terminal_event_too(outsider: Outsider, form: str) -> None:
    bad = {**outsider.document, "messages": ""}
    good = bad | {"messages": "hello"}
    args: dict[str, tuple[Any, ...]] = {"json": (json.dumps(bad),), "too many": (good, 1), "beside": (good,)}
    kwargs: dict[str, dict[str, Any]] = {"beside": {"another": 1}, "fields": bad}
    outsider.celery.send_task(
        "palaver.submit", args=args.get(form, ()), kwargs=kwargs.get(form, {}), queue="palaver.submit"
    )
    assert outsider.ended()["error"]["type"] == "ValidationError"


def test_a_bad_document_that_names_no_job_is_one_line_without_content(outsider: Outsider) -> None:
    task_id = outsider.submit({"messages": [{"role": SECRET, "content": SECRET}]})
    outsider.worker.wait_for(rf"submit\.discarded error=invalid_request field=messages task_id={task_id} ")
    outsider.still_works()
    assert SECRET not in outsider.said


def test_a_field_that_the_sender_named_is_not_in_the_log(outsider: Outsider) -> None:
    task_id = outsider.submit({"messages": "hello", SECRET: 1})
    outsider.worker.wait_for(rf"submit\.discarded error=invalid_request task_id={task_id} ")
    outsider.submit({**outsider.document, "messages": "hello", SECRET: 1})
    assert outsider.ended()["error"]["type"] == "ValidationError"
    assert SECRET not in outsider.said


def test_an_expired_message_ends_the_job_that_it_names(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": SECRET}, expires=-5)
    end = outsider.ended()
    assert (end["status"], end["error"]["code"]) == ("failed", "job_expired")
    outsider.worker.wait_for(rf"submit\.refused error=job_expired job_id={outsider.job}")
    assert SECRET not in outsider.said


def test_a_message_that_is_revoked_before_it_is_run_ends_the_job_that_it_names(outsider: Outsider) -> None:
    task_id = new_job_id()
    assert outsider.celery.control.revoke(task_id, reply=True, limit=1, timeout=10)
    outsider.submit({**outsider.document, "messages": "hello"}, task_id=task_id)
    end = outsider.ended()
    assert (end["status"], end["error"]["code"]) == ("failed", "job_cancelled")


def test_a_job_that_is_revoked_before_it_begins_is_cancelled(outsider: Outsider) -> None:
    assert outsider.celery.control.revoke(outsider.job, reply=True, limit=1, timeout=10)
    outsider.submit({**outsider.document, "messages": "hello"})
    assert outsider.ended()["status"] == "cancelled"
    again: dict[str, Any] = {"queue": "palaver.resume", "task_id": outsider.job}
    outsider.celery.send_task("palaver.chat", args=(outsider.session, outsider.job), **again)
    outsider.still_works()
    assert [event["type"] for event in outsider.events()] == ["job_queued", "stream_end"]
    assert "Discarding" not in outsider.said


@pytest.mark.parametrize("form", [dict, json.dumps])
def test_a_message_that_is_far_too_large_is_not_read_and_ends_the_job_that_it_names(
    outsider: Outsider, form: Callable[[Any], Any]
) -> None:
    outsider.submit(form({"messages": SECRET * 3_000_000, **outsider.document}))
    end = outsider.ended()
    assert (end["status"], end["error"]["type"]) == ("failed", "ValidationError")
    assert end["error"]["message"] == "the job is larger than 4194304 bytes"
    outsider.worker.wait_for(rf"submit\.refused error=invalid_request job_id={outsider.job}")
    assert SECRET not in outsider.said
    outsider.still_works()


def test_a_message_that_expires_later_is_run(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": "hello"}, expires=600)
    assert outsider.ended()["status"] == "completed"


def of_the_first_protocol(message: dict[str, Any]) -> dict[str, Any]:
    """The same call, as clients of Celery's first protocol write it: all of it in the body."""
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    body = {**message["headers"], "args": args, "kwargs": kwargs}
    return {**message, "body": base64.b64encode(json.dumps(body).encode()).decode(), "headers": {}}


def of_the_second(message: dict[str, Any]) -> dict[str, Any]:
    return message


Protocol = Callable[[dict[str, Any]], dict[str, Any]]
PROTOCOLS = [of_the_first_protocol, of_the_second]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "headers",
    [
        {"eta": "soon"},
        {"eta": "9999-12-31T24:00"},
        {"expires": "late"},
        {"expires": "9999-12-31T24:00"},
        {"id": ["a list"]},
        {"id": "x" * 2000},
        {"id": {}},
    ],
)
def test_headers_that_mean_nothing_end_the_job_that_their_message_names(
    outsider: Outsider, headers: dict[str, Any], protocol: Protocol
) -> None:
    body = json.dumps([[{**outsider.document, "messages": "hello"}], {}, {}]).encode()
    outsider.push(json.dumps(protocol(outsider.message(body, **headers))))
    end = outsider.ended()
    assert (end["status"], end["error"]["type"]) == ("failed", "ValidationError")
    assert eventually(lambda: outsider.redis.hlen("unacked") == 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "form", [lambda document: [[document], None, {}], lambda document: [7, document, {}]]
)
def test_a_call_that_is_none_ends_the_job_that_it_names(
    outsider: Outsider, form: Callable[[Any], Any], protocol: Protocol
) -> None:
    body = json.dumps(form({**outsider.document, "messages": SECRET})).encode()
    outsider.push(json.dumps(protocol(outsider.message(body))))
    end = outsider.ended()
    assert (end["status"], end["error"]["type"]) == ("failed", "ValidationError")
    assert SECRET not in outsider.said


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "headers",
    [
        {"eta": "0001-01-01T00:00:00+14:00"},
        {"eta": "2020-01-01T00:00:00"},
        {"timelimit": [-1, -1]},
        {"timelimit": [None]},
    ],
)
def test_a_message_with_a_job_is_taken_whatever_its_time_was(
    outsider: Outsider, headers: dict[str, Any], protocol: Protocol
) -> None:
    body = json.dumps([[{**outsider.document, "messages": "hello"}], {}, {}]).encode()
    outsider.push(json.dumps(protocol(outsider.message(body, **{"id": outsider.job, **headers}))))
    assert outsider.ended()["status"] == "completed"
    assert "Traceback" not in outsider.said


def test_a_job_whose_message_comes_before_its_time_waits_in_the_ledger(outsider: Outsider) -> None:
    sent = time.time()
    outsider.submit({**outsider.document, "messages": "hello"}, countdown=4)
    assert eventually(outsider.events)
    assert eventually(lambda: outsider.redis.hlen("unacked") == 0)
    assert outsider.ended()["status"] == "completed"
    queued, start, *_ = outsider.events()
    assert queued["time"] < sent + 4 <= start["time"]


def test_a_job_that_says_when_it_is_due_is_due_then(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": "hello", "run_at": 1}, countdown=600)
    assert outsider.ended()["status"] == "completed"


def test_a_time_beyond_all_times_ends_the_job(outsider: Outsider) -> None:
    body = json.dumps([[{**outsider.document, "messages": "hello"}], {}, {}]).encode()
    outsider.push(json.dumps(outsider.message(body, eta="9999-12-31T23:59:59-14:00")))
    assert outsider.ended()["error"]["param"] == "run_at"


def test_a_task_id_forges_no_line(outsider: Outsider) -> None:
    forged = f"x\nforged {new_job_id()}"
    outsider.submit({**outsider.document, "messages": "hello"}, task_id=forged)
    assert outsider.ended()["status"] == "completed"
    assert eventually(lambda: outsider.said.count("forged") >= 2)  # received, succeeded
    assert not [line for line in outsider.said.splitlines() if line.startswith("forged")]


def test_a_discarded_message_is_named(outsider: Outsider) -> None:
    outsider.push(json.dumps(outsider.message(b"[[],{},{}]", task="own.unknown", id="m1")))
    outsider.worker.wait_for(
        r"message\.discarded error=\w+ task=own\.unknown task_id=m1 queue=palaver\.submit bytes=10"
    )
    outsider.push(json.dumps(outsider.message(b"[[],{},{}]", task=f"{SECRET} {SECRET}", id="m2")))
    outsider.worker.wait_for(r"message\.discarded error=\w+ task_id=m2 ")
    assert SECRET not in outsider.said


def test_headers_that_describe_arguments_are_not_believed(outsider: Outsider) -> None:
    document = {**outsider.document, "messages": json.dumps({"n": 500, "rate": 20})}
    another = new_job_id()
    words: dict[str, Any] = {"argsrepr": SECRET, "kwargsrepr": SECRET, "shadow": SECRET}
    outsider.submit(document, **words)
    words |= {"queue": "palaver.normal", "task_id": another}
    outsider.celery.send_task("palaver.chat", args=(outsider.session, another), **words)
    assert eventually(lambda: any(event["type"] == "stream_start" for event in outsider.events()))
    inspect = outsider.celery.control.inspect(timeout=10, limit=1)
    shown = json.dumps([inspect.active(), inspect.query_task(outsider.job), inspect.reserved()])
    assert str((outsider.session, outsider.job)) in shown
    assert SECRET not in shown
    outsider.celery.control.revoke(outsider.job, terminate=True)
    assert outsider.ended()["status"] == "cancelled"
    outsider.still_works()
    assert SECRET not in outsider.said


def test_terminate_ends_the_job_with_its_partial_text(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": json.dumps({"n": 5000, "rate": 50})})
    assert eventually(lambda: sum(e["type"] == "text_chunk" for e in outsider.events()) > 3)
    # Another message of the same job comes, does nothing, and takes the running one's place nowhere.
    again: dict[str, Any] = {"queue": "palaver.resume", "task_id": outsider.job}
    outsider.celery.send_task("palaver.chat", args=(outsider.session, outsider.job), **again)
    outsider.still_works()
    outsider.celery.control.revoke(outsider.job, terminate=True)
    end = outsider.ended()
    assert end["status"] == "cancelled"
    assert end["text"] == "".join(
        event["data"]["delta"] for event in outsider.events() if event["type"] == "text_chunk"
    )


def test_unknown_and_malformed_jobs_are_one_line(outsider: Outsider) -> None:
    outsider.celery.send_task("palaver.chat", args=(outsider.session, "nobody"), queue="palaver.normal")
    outsider.worker.wait_for(r"chat\.unknown session_id=\S+ job_id=nobody$")
    session, job = outsider.session, outsider.job
    for args in [(SECRET,), (session, 5), (session, job, SECRET), ({"a": SECRET}, [SECRET])]:
        outsider.celery.send_task("palaver.chat", args=args, queue="palaver.normal")
    outsider.celery.send_task("palaver.chat", kwargs={SECRET: SECRET}, queue="palaver.normal")
    assert eventually(lambda: outsider.said.count("chat.discarded") == 5)
    outsider.celery.send_task("palaver.batch", args=(f"{SECRET} {SECRET}",), queue="palaver.batch")
    outsider.celery.send_task("palaver.batch", args=(session, job), queue="palaver.batch")
    outsider.celery.send_task("palaver.batch", kwargs={SECRET: SECRET}, queue="palaver.batch")
    assert eventually(lambda: outsider.said.count("batch.discarded") == 3)
    sent = outsider.celery.send_task("palaver.batch", args=("nobody",), queue="palaver.batch")
    outsider.worker.wait_for(rf"palaver\.batch\[{sent.id}\] (raised|succeeded)")
    outsider.still_works()
    assert SECRET not in outsider.said


def test_a_probe_with_arguments_is_one_line(outsider: Outsider) -> None:
    outsider.celery.send_task("palaver.probe", args=(SECRET,), queue="palaver.high", task_id="p1")
    outsider.worker.wait_for(r"probe\.discarded task_id=p1")
    assert "Traceback" not in outsider.said
    assert SECRET not in outsider.said


def test_a_probe_that_nobody_waits_for_any_more_is_thrown_away(outsider: Outsider) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    args, queue = ("late", "scripted", None), "palaver.high"
    outsider.celery.send_task("palaver.probe", args=args, queue=queue, task_id="p2", expires=past)
    outsider.worker.wait_for(r"Discarding revoked task: palaver\.probe\[p2\]")
    outsider.still_works()
    assert outsider.redis.get("palaver:probe:late") is None


def without_encoding(message: dict[str, Any]) -> dict[str, Any]:
    """Its body may be anything. It has a tag of its own, by which one that is kept is seen."""
    tag = {"delivery_tag": new_session_id()}
    properties = {name: value for name, value in message["properties"].items() if name != "body_encoding"}
    return {**message, "properties": {**properties, **tag}}


Malform = Callable[[Outsider], str | bytes]

MALFORMED: dict[str, Malform] = {
    "no JSON": lambda o: f"{SECRET} {{",
    "no message": lambda o: json.dumps([SECRET]),
    "no properties": lambda o: json.dumps({"body": SECRET}),
    "body is no JSON": lambda o: json.dumps(o.message(f"{SECRET} {{".encode())),
    "body is no text": lambda o: json.dumps(o.message(b"\xff\xfe" + SECRET.encode())),
    "body is no list": lambda o: json.dumps(o.message(json.dumps({SECRET: 1}).encode())),
    "body is a number": lambda o: json.dumps(without_encoding({**o.message(b""), "body": 5})),
    "body is a mapping": lambda o: json.dumps(without_encoding({**o.message(b""), "body": {SECRET: 1}})),
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
    "msgpack": lambda o: json.dumps(
        {**o.message(b"\x91\xa7" + SECRET.encode()), "content-type": "application/x-msgpack"}
    ),
    "yaml": lambda o: json.dumps({**o.message(SECRET.encode()), "content-type": "application/x-yaml"}),
    "a deep message": lambda _: "[" * 100_000 + "]" * 100_000,
    "a deep body": lambda o: json.dumps(o.message(b"[" * 100_000 + b"]" * 100_000)),
    "a deep document": lambda o: json.dumps(
        o.message(b"[[" + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"],{},{}]")
    ),
    "a number of many digits": lambda o: json.dumps(o.message(b"[[" + b"9" * 100_000 + b"],{},{}]")),
    "a huge id": lambda o: json.dumps(o.message(b"[[],{},{}]", id=SECRET * 100_000)),
    "a bomb": lambda o: json.dumps(
        {
            **o.message(zlib.compress(b"[[" + b" " * 50_000_000 + b"],{},{}]")),
            "headers": {"task": "palaver.submit", "id": "outside", "compression": "application/x-gzip"},
        }
    ),
    "no headers": lambda o: json.dumps({**o.message(b"[[],{},{}]"), "headers": {}}),
    "headers are null": lambda o: json.dumps({**o.message(b"[[],{},{}]"), "headers": None}),
}


def test_malformed_messages_cost_a_line_and_not_the_worker(outsider: Outsider) -> None:
    for ends, (kind, make) in enumerate(MALFORMED.items(), start=1):
        outsider.push(make(outsider))
        outsider.submit({"session_id": outsider.session, "messages": "hello"})
        assert eventually(
            lambda count=ends: sum(e["type"] == "stream_end" for e in outsider.events()) == count
        ), f"after {kind}: {outsider.worker.tail()}"
    assert eventually(lambda: outsider.redis.hlen("unacked") == 0)
    assert SECRET not in outsider.said
    assert "Traceback" not in outsider.said


def test_a_ten_megabyte_document_is_refused(outsider: Outsider) -> None:
    outsider.submit({**outsider.document, "messages": "x" * 10_000_000})
    assert outsider.ended()["error"]["type"] == "ValidationError"
    outsider.still_works()


def test_debug_logs_show_no_content(start_worker: StartWorker, worker_env: dict[str, str]) -> None:
    worker = start_worker("--loglevel", "DEBUG").running
    outsider = Outsider(worker_env["PALAVER_REDIS_URL"], worker)
    outsider.submit({**outsider.document, "messages": SECRET})
    assert outsider.ended()["status"] == "completed"
    outsider.still_works()
    assert SECRET not in worker.output
    outsider.close()
