"""Jobs through the engine: a real Redis, real providers, and nothing of Celery."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from palaver.shared.errors import LedgerUnavailableError, TimeoutError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Dispatch
from palaver.shared.messages import Message
from palaver.shared.names import Queue
from palaver.workers.publisher import HIGH_WATER
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import Flood, Recording, Silent
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

PIECES = ["Grüße ", "日", "本", "👩", "\u200d", "🚀", "e", "\u0301", " \n\t", '"quoted\\"', "\u2028", "</s>"]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def end_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[-1]["type"] == "stream_end"
    data: dict[str, Any] = events[-1]["data"]
    return data


async def test_events_result_and_history_hold_the_same_text_byte_for_byte(engine: Engine) -> None:
    job = await engine.submit({"deltas": PIECES})
    outcome = await engine.run(job)
    events = await engine.events(job)
    view = await engine.ledger.job(job.job_id)
    history = [orjson.loads(message) for message in await engine.ledger.messages("s1")]
    text = "".join(PIECES)
    assert (outcome.status, outcome.model, outcome.dispatch) == (Status.COMPLETED, "scripted/echo", None)
    assert kinds(events)[:2] == ["job_queued", "stream_start"]
    assert view.response is not None
    assert text_of(events) == view.response.content == end_of(events)["response"]["content"] == text
    assert [message["role"] for message in history] == ["user", "assistant"]
    assert history[1]["content"] == text
    assert end_of(events)["finish_reason"] == "stop"
    assert view.response.token_count


async def test_reasoning_and_tool_calls_are_kept_apart_from_the_text(engine: Engine) -> None:
    script = {"reasoning": "Let me see.", "tool_calls": [{"name": "look", "arguments": {"at": "日本"}}]}
    events = await engine.answer(script)
    response = end_of(events)["response"]
    assert (response["content"], response["reasoning"]) == ("", "Let me see.")
    assert response["finish_reason"] == "tool_calls"
    assert [call["arguments"] for call in response["tool_calls"]] == [{"at": "日本"}]
    assert [event["data"]["name"] for event in events if event["type"] == "tool_call"] == ["look"]


FAILURES: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "status", "status": 401}, "AuthenticationError", ""),
    ({"kind": "status", "status": 404}, "NotFoundError", ""),
    ({"kind": "status", "status": 400}, "ValidationError", ""),
    ({"kind": "status", "status": 429}, "RateLimitError", ""),
    ({"kind": "status", "status": 503}, "ServerError", ""),
    ({"kind": "refused"}, "ConnectionError", ""),
    ({"kind": "timeout"}, "TimeoutError", ""),
    ({"kind": "idle", "after": 2}, "TimeoutError", " w0 w1"),
    ({"kind": "cut", "after": 2}, "StreamInterruptedError", " w0 w1"),
    ({"kind": "malformed", "after": 2}, "MalformedStreamError", " w0 w1"),
    ({"kind": "error", "status": 500, "after": 2}, "ServerError", " w0 w1"),
]


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(("fail", "error", "partial"), FAILURES)
async def test_every_failure_ends_the_job_with_its_error_and_the_partial_text(
    engine: Engine, fail: dict[str, Any], error: str, partial: str, retries: int
) -> None:
    job = await engine.submit(
        {"n": 5, "fail": fail}, model="again/echo", max_retries=retries, timeouts={"read": 0.05}
    )
    outcome = await engine.run(job)
    events = await engine.events(job)
    end, view = end_of(events), await engine.ledger.job(job.job_id)
    assert outcome.status is Status.FAILED
    assert (end["status"], end["error"]["type"], end["error"]["job_id"]) == ("failed", error, job.job_id)
    assert view.response is not None
    assert end["text"] == view.response.content == text_of(events) == partial
    assert kinds(events).count("retry") == (retries if end["error"]["retryable"] else 0)
    assert await engine.ledger.messages("s1") == []


async def test_a_retry_before_the_first_chunk_repeats_nothing(engine: Engine) -> None:
    events = await engine.answer({"n": 5, "fail": {"status": 500, "times": 2}})
    assert kinds(events).count("retry") == 2
    assert kinds(events).count("stream_start") == 1
    assert end_of(events)["response"]["content"] == text_of(events) == " w0 w1 w2 w3 w4"


@pytest.mark.parametrize(("profile", "offset"), [("scripted", 9), ("again", 0)])
async def test_a_cut_stream_goes_on_as_the_profile_says(engine: Engine, profile: str, offset: int) -> None:
    script = {"n": 9, "fail": {"kind": "cut", "after": 3, "times": 1}}
    events = await engine.answer(script, model=f"{profile}/echo")
    offsets = [event["data"]["offset"] for event in events if event["type"] == "stream_start"]
    assert offsets == [0, offset]
    assert end_of(events)["response"]["content"] == text_of(events) == "".join(f" w{n}" for n in range(9))


async def test_the_next_model_of_the_list_answers_when_the_first_cannot(engine: Engine) -> None:
    models = ["scripted/status-401", "scripted/refused", "scripted/echo"]
    events = await engine.answer("hello", model=models, max_retries=0)
    assert kinds(events).count("retry") == 2
    assert end_of(events)["response"]["model"] == "echo"
    assert text_of(events) == "hello"


async def test_usage_of_a_failed_request_is_counted(engine: Engine) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4}
    script = {"n": 4, "usage": usage, "fail": {"kind": "cut", "after": 2, "times": 1}}
    end = end_of(await engine.answer(script))
    assert end["usage"]["input_tokens"] >= 3


@pytest.mark.parametrize("mode", ["cancel", "interrupt", "rollback"])
async def test_cancel_reaches_a_silent_stream_by_notice(engine: Engine, mode: Any) -> None:
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.ledger.cancel("s1", job.job_id, mode=mode)
    outcome = await running  # the next renewal would be 20 seconds away
    events = await engine.events(job)
    assert outcome.status is Status.CANCELLED
    assert (end_of(events)["error"]["type"], end_of(events)["text"]) == ("JobCancelledError", "one")
    assert engine.provider("silent", Silent).closed
    history = [orjson.loads(message) for message in await engine.ledger.messages("s1")]
    assert [message["content"] for message in history] == ([] if mode == "rollback" else ["hello", "one"])


async def test_cancel_is_found_by_renewal_when_the_notice_is_lost(make_engine: MakeEngine) -> None:
    engine = await make_engine(lease_seconds=1, renew_seconds=0.1)
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    engine.client.hset(engine.ledger.keys.job("s1", job.job_id), "cancel", "cancel")
    assert (await running).status is Status.CANCELLED


async def test_a_cancelled_task_ends_its_job_as_cancelled(engine: Engine) -> None:
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    running.cancel()
    assert (await running).status is Status.CANCELLED
    assert end_of(await engine.events(job))["text"] == "one"


async def test_the_operator_may_end_a_job_for_a_reason(engine: Engine) -> None:
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    assert engine.service.end(job.job_id, TimeoutError("the task's time limit is over"))
    assert (await running).code == "timeout"
    assert not engine.service.end(job.job_id)


@pytest.mark.parametrize("kind", ["text", "reasoning"])
async def test_an_answer_beyond_its_bound_ends_its_job_with_what_there_is(
    make_engine: MakeEngine, kind: str
) -> None:
    engine = await make_engine(max_answer_bytes=5000)
    script = {"deltas": ["é" * 10], "reasoning": "é" * 3000} if kind == "reasoning" else {"endless": True}
    events = await engine.answer(script, model="scripted/echo")
    end = end_of(events)
    assert (end["status"], end["error"]["type"]) == ("failed", "AnswerTooLargeError")
    assert "5000 bytes" in end["error"]["message"]
    if kind == "text":
        assert len(end["text"]) > 5000
        assert end["text"] == text_of(events)
    fits = await engine.answer({"n": 1000}, model="scripted/echo", session_id="s2")
    assert end_of(fits)["status"] == "completed"


async def test_a_total_timeout_and_the_deadline_end_a_stream(engine: Engine) -> None:
    late = await engine.answer("hello", model="silent/m", timeouts={"total": 0.1}, session_id="a")
    over = await engine.answer("hello", model="silent/m", deadline=3, session_id="b")
    assert (end_of(late)["status"], end_of(late)["error"]["type"]) == ("failed", "TimeoutError")
    assert (end_of(over)["status"], end_of(over)["error"]["type"]) == ("expired", "JobExpiredError")
    assert end_of(over)["text"] == "one"


async def test_a_fenced_worker_stops_and_writes_nothing(make_engine: MakeEngine) -> None:
    engine = await make_engine(lease_seconds=1, renew_seconds=0.1)
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    before = await engine.events(job)
    engine.client.hset(engine.ledger.keys.job("s1", job.job_id), mapping={"attempt": 2, "holder": 2})
    outcome = await running
    assert (outcome.status, outcome.reason, outcome.dispatch) == (None, "fenced", None)
    assert await engine.events(job) == before
    assert engine.provider("silent", Silent).closed


async def test_a_job_that_is_not_ours_is_left_alone(engine: Engine) -> None:
    first = await engine.submit("one")
    second = await engine.submit("two")
    assert (await engine.run(second)).reason == "waiting"
    assert (await engine.run(first)).dispatch is not None
    assert (await engine.run(first)).reason == "ended"
    assert (await engine.service.run("s1", "none")).reason == "gone"
    assert (await engine.run(second)).status is Status.COMPLETED


async def test_a_bug_ends_the_job_without_telling_its_content(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        events = await engine.answer("my prompt", model="buggy/m")
    end = end_of(events)
    assert (end["status"], end["error"]["type"], end["text"]) == ("failed", "ChatClientError", "two words")
    assert "doubles.py" in caplog.text
    assert "my prompt" not in caplog.text + orjson.dumps(end).decode()
    assert "two words" not in caplog.text


async def test_a_bug_in_a_provider_costs_its_model_alone(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    events = await engine.answer("my prompt", model=["leaving/m", "scripted/echo"])
    (retry,) = [event["data"] for event in events if event["type"] == "retry"]
    told = retry["error"]
    assert (told["type"], told["provider"], retry["model"]) == ("ChatClientError", "leaving", "scripted/echo")
    assert (end_of(events)["status"], text_of(events)) == ("completed", "my prompt")
    await engine.service._served._lending.retire("leaving")
    assert "answer of" in told["message"]
    assert caplog.text.count("client.failed profile=leaving error=SystemExit") == 2
    assert "my prompt" not in caplog.text + told["message"]


async def test_a_provider_that_cancels_itself_has_failed(engine: Engine) -> None:
    """Nobody has cancelled the job."""
    events = await engine.answer("my prompt", model=["cancelling/m", "scripted/echo"])
    (retry,) = [event["data"] for event in events if event["type"] == "retry"]
    assert retry["error"]["type"] == "ChatClientError"
    assert "CancelledError" in retry["error"]["message"]
    assert (end_of(events)["status"], text_of(events)) == ("completed", "my prompt")


async def test_a_result_that_cannot_be_written_ends_the_job_with_its_text(engine: Engine) -> None:
    job = await engine.submit("hello", model="unfit/m")
    assert (await engine.run(job)).status is Status.FAILED
    end = end_of(await engine.events(job))
    assert (end["status"], end["text"]) == ("failed", "two words")


@pytest.mark.parametrize(
    "document", [b"{}", b"not JSON", b'{"messages": [{"role": "king", "content": "x"}]}']
)
async def test_a_document_that_is_not_valid_fails_its_job(engine: Engine, document: bytes) -> None:
    job = await engine.submit("hello")
    engine.client.hset(engine.ledger.keys.job("s1", job.job_id), "doc", document)
    assert (await engine.run(job)).code == "invalid_request"
    assert end_of(await engine.events(job))["error"]["type"] == "ValidationError"


@pytest.mark.parametrize("model", ["nope/m", "scripted/nope"])
async def test_an_unknown_model_fails_its_job(engine: Engine, model: str) -> None:
    assert end_of(await engine.answer("hello", model=model))["status"] == "failed"


async def test_a_provider_is_asked_with_system_history_and_messages(engine: Engine) -> None:
    await engine.answer("first", model="recording/m", system="Be brief.")
    events = await engine.answer("second", model="recording/m", history="session")
    asked = engine.provider("recording", Recording).asked
    assert [(m.role.value, m.text) for m in asked[0].messages] == [("system", "Be brief."), ("user", "first")]
    assert [m.text for m in asked[1].messages] == ["first", "ok", "second"]
    assert end_of(events)["response"]["model"] == "recorded-1"


async def test_what_is_not_served_is_said(engine: Engine) -> None:
    events = await engine.answer("hello", webhook="http://127.0.0.1/hook")
    warned = [event["data"]["param"] for event in events if event["type"] == "warning"]
    assert warned == ["webhook"]
    assert text_of(events) == "hello"


async def test_a_cut_connection_loses_and_repeats_nothing(engine: Engine) -> None:
    jobs = [await engine.submit({"n": 100, "rate": 200}, session_id=f"s{n}") for n in range(20)]
    running = asyncio.gather(*(engine.run(job) for job in jobs))
    await engine.said(jobs[0])
    while not running.done():
        engine.kill_connections()
        await asyncio.sleep(0.05)
    assert {outcome.status for outcome in await running} == {Status.COMPLETED}
    for job in jobs:
        events = await engine.events(job)
        text = "".join(f" w{n}" for n in range(100))
        assert end_of(events)["response"]["content"] == text_of(events) == text


async def test_forgotten_scripts_are_loaded_again(engine: Engine) -> None:
    job = await engine.submit({"n": 50, "rate": 100})
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    while not running.done():
        engine.client.script_flush()
        await asyncio.sleep(0.02)
    await running
    assert text_of(await engine.events(job)) == "".join(f" w{n}" for n in range(50))


async def test_a_frozen_redis_pauses_the_provider_and_nobody_is_lost(
    own_redis: Callable[..., RedisServer], make_engine: MakeEngine
) -> None:
    server = own_redis()
    engine = await make_engine(redis_url=server.url, lease_seconds=1, renew_seconds=0.2)
    job = await engine.submit("hello", model="flood/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    assert server.running is not None
    server.running.signal(signal.SIGSTOP)
    flood = engine.provider("flood", Flood)
    said = -1
    while said != flood.said:  # it stands still once the buffers are full
        said = flood.said
        await asyncio.sleep(1.2)  # longer than the lease
    stored = said * 1024
    server.running.signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        while flood.said < said + 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    assert flood.closed
    text = end_of(await engine.events(job))["text"]
    assert len(text) == flood.said * 1024 > stored
    assert stored > HIGH_WATER


async def test_a_draining_worker_hands_its_jobs_over_with_their_text(make_engine: MakeEngine) -> None:
    old = await make_engine(profiles={"slow": {"kind": "scripted", "options": {"rate": 10}}})
    new = await make_engine(profiles={"slow": {"kind": "scripted", "options": {"rate": 0}}})
    job = await old.submit({"n": 60}, model="slow/echo")  # for six seconds, or until it is handed over
    running = asyncio.create_task(old.run(job))
    await old.said(job)
    await old.service.drain(0)
    outcome = await running
    assert (outcome.status, outcome.reason) == (None, "released")
    assert outcome.dispatch is not None
    assert outcome.dispatch.queue == Queue.RESUME
    assert (await old.run(job)).reason == "draining"
    assert (await new.run(job)).status is Status.COMPLETED
    events = await new.events(job)
    assert [event["data"]["offset"] > 0 for event in events if event["type"] == "stream_start"] == [
        False,
        True,
    ]
    assert {event["attempt"] for event in events} == {0, 1, 2}
    assert end_of(events)["response"]["content"] == text_of(events) == "".join(f" w{n}" for n in range(60))


async def test_streams_may_finish_while_a_worker_drains(engine: Engine) -> None:
    job = await engine.submit({"n": 10}, model="slow/echo")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.service.drain(30)
    assert (await running).status is Status.COMPLETED


class KeptPost:
    """A broker whose messages the test reads."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Dispatch] = asyncio.Queue()

    def put(self, dispatches: Sequence[Dispatch]) -> None:
        for dispatch in dispatches:
            self.sent.put_nowait(dispatch)

    async def empty_queues(self) -> Sequence[str]:
        return [str(queue) for queue in Queue]


async def test_a_sweeping_worker_sends_what_was_lost(make_engine: MakeEngine) -> None:
    gone, here = await make_engine(lease_seconds=1, renew_seconds=0.5), await make_engine()
    job = await gone.submit("hello", model="silent/m")
    running = asyncio.create_task(gone.run(job))
    await gone.said(job)
    await gone.service.close()  # without draining: the lease stays behind
    left = await running
    assert (left.status, left.reason) == (None, LedgerUnavailableError.code)
    post = KeptPost()
    await here.service.serve(post)
    async with asyncio.timeout(30):
        dispatch = await post.sent.get()
    assert (dispatch.job_id, dispatch.queue) == (job.job_id, Queue.RESUME)
    taken_over = asyncio.create_task(here.run(job))
    await here.said(job)
    await here.ledger.cancel("s1", job.job_id)
    assert (await taken_over).status is Status.CANCELLED


@pytest.mark.parametrize(("mode", "remembered"), [("cancel", ["hello", "one"]), ("rollback", [])])
async def test_a_job_cancelled_between_two_workers_is_remembered_as_any(
    make_engine: MakeEngine, mode: str, remembered: list[str]
) -> None:
    gone, here = await make_engine(), await make_engine()
    job = await gone.submit("hello", model="silent/m")
    running = asyncio.create_task(gone.run(job))
    await gone.said(job)
    await gone.service.close()
    await running
    key = here.ledger.keys.job("s1", job.job_id)
    here.client.hset(key, "cancel", mode)
    here.client.hdel(key, "holder")  # as a sweep that frees the lease
    assert (await here.run(job)).status is Status.CANCELLED
    messages = [Message.model_validate_json(raw) for raw in await here.ledger.messages("s1")]
    assert [message.text for message in messages] == remembered


async def test_a_partial_answer_looks_the_same_whoever_ended_its_job(make_engine: MakeEngine) -> None:
    gone, here = await make_engine(), await make_engine()
    jobs = [await gone.submit("hello", model="silent/m", session_id=f"s{n}") for n in range(2)]
    by_nobody, by_worker = jobs
    running = [asyncio.create_task(engine.run(job)) for engine, job in zip((gone, here), jobs, strict=True)]
    for job in jobs:
        await here.said(job)
    await gone.service.close()
    here.client.hset(here.ledger.keys.job("s0", by_nobody.job_id), "lease", 1)
    ended = [(await here.ledger.cancel(f"s{n}", job.job_id)).ended for n, job in enumerate(jobs)]
    assert ended == [True, False]
    await asyncio.gather(*running)

    async def left(job: ChatJob) -> list[Any]:
        """Its stream_end, but for the estimate that only a worker makes, and what its session remembers."""
        messages = await here.ledger.messages(job.session_id or "")
        end = end_of(await here.events(job))
        end.pop("usage", None)
        return [
            json.replace(job.job_id, "ID")
            for json in (orjson.dumps(end).decode(), *map(bytes.decode, messages))
        ]

    assert await left(by_nobody) == await left(by_worker)
    assert orjson.loads((await here.ledger.messages("s0"))[-1])["metadata"] == {
        "job_id": by_nobody.job_id,
        "partial": True,
    }


async def test_a_worker_is_announced_while_it_is_there(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    workers = {worker.data["name"]: worker.data for worker in await engine.ledger.workers()}
    assert workers["test-0"]["slots"] == engine.service.settings.concurrency
    profiles = {profile.name for profile in await engine.ledger.announced_profiles()}
    assert {"scripted", "slow"} <= profiles


async def test_many_jobs_share_one_connection(engine: Engine) -> None:
    jobs: list[ChatJob] = [await engine.submit(f"job {n}", session_id=f"s{n}") for n in range(200)]
    outcomes = await asyncio.gather(*(engine.run(job) for job in jobs))
    assert {outcome.status for outcome in outcomes} == {Status.COMPLETED}
    assert [text_of(await engine.events(job)) for job in jobs] == [f"job {n}" for n in range(200)]
    assert sum(client["name"] == "palaver-worker" for client in engine.client.client_list()) == 1


async def test_no_job_fails_while_redis_forgets_its_scripts(
    make_engine: MakeEngine, forgetful_redis: None
) -> None:
    engine = await make_engine()
    jobs = [await engine.submit({"n": 50}, model="slow/echo", session_id=f"s{n}") for n in range(20)]
    outcomes = await asyncio.gather(*map(engine.run, jobs))
    assert [outcome.status for outcome in outcomes] == [Status.COMPLETED] * len(jobs)
    for job in jobs:
        events = await engine.events(job)
        assert (
            text_of(events) == end_of(events)["response"]["content"] == "".join(f" w{n}" for n in range(50))
        )
