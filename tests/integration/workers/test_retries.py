"""Retries, fallback, breakers and parking through the engine: scripted providers and a model server over
HTTP."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from palaver.shared.jobs import Status
from palaver.shared.ledger import Dispatch
from palaver.shared.names import Queue
from palaver.shared.profiles import Catalog
from palaver.workers.generation import tool
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX
from tests.integration.workers.test_engine import KeptPost, end_of, kinds
from tests.model_server import ModelServer
from tests.servers import eventually

pytestmark = pytest.mark.redis

WORDS = "".join(f" w{n}" for n in range(5))
LIMITED = {"n": 5, "fail": {"status": 429, "retry_after": 3.1, "times": 1}}
CUT = {"n": 5, "fail": {"kind": "error", "status": 429, "retry_after": 3.1, "after": 2, "times": 1}}
LONG = {"fail": {"status": 429, "retry_after": 60}}
SCRIPTS = {"limited": LIMITED, "cut": CUT, "long": LONG}
SCRIPTED = {"kind": "scripted", "options": {"rate": 0, "scripts": SCRIPTS}}
PAUSE = 0.5


@pytest.fixture
async def http(server: ModelServer, make_engine: MakeEngine) -> Engine:
    profiles = {
        "weak": {
            "kind": "openai",
            "base_url": server.openai_url,
            "resume": "prefix",
            "breaker": {"failures": 2, "pause": PAUSE},
        },
        "scripted": SCRIPTED,
    }
    return await make_engine(profiles=profiles, lease_seconds=60, renew_seconds=20)


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(profiles={"scripted": SCRIPTED}, lease_seconds=60, renew_seconds=20)


def retries(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Error and next model of each retry."""
    told = [event["data"] for event in events if event["type"] == "retry"]
    return [(data["error"]["type"], data["model"]) for data in told]


async def test_a_long_delay_holds_no_slot_and_forgets_nothing(engine: Engine) -> None:
    job = await engine.submit("hello", model=["scripted/status-401", "scripted/limited"], max_retries=1)
    behind = await engine.submit("behind")
    outcome = await engine.run(job)
    view = await engine.ledger.job(job.job_id)
    assert (outcome.status, outcome.reason, outcome.dispatch) == (None, "parked", None)
    assert (engine.service.running, view.status, view.failures) == (0, Status.RUNNING, 1)
    assert (await engine.run(job)).reason == "not_due"
    assert (await engine.run(behind)).reason == "waiting"
    post = KeptPost()
    await engine.service.serve(post)
    async with asyncio.timeout(30):
        while (dispatch := await post.sent.get()).job_id != job.job_id:
            pass
    assert dispatch == Dispatch("s1", job.job_id, Queue.RESUME)
    assert (await engine.run(job)).status is Status.COMPLETED
    events = await engine.events(job)
    # The model that refused the key is not asked again.
    assert retries(events) == [
        ("AuthenticationError", "scripted/limited"),
        ("RateLimitError", "scripted/limited"),
    ]
    assert text_of(events) == WORDS


async def test_a_parked_answer_goes_on_after_its_text(engine: Engine) -> None:
    job = await engine.submit("hello", model="scripted/cut")
    assert (await engine.run(job)).reason == "parked"
    post = KeptPost()
    await engine.service.serve(post)
    async with asyncio.timeout(30):
        await post.sent.get()
    await engine.run(job)
    events = await engine.events(job)
    assert [event["data"]["offset"] for event in events if event["type"] == "stream_start"] == [0, 6]
    assert end_of(events)["response"]["content"] == text_of(events) == WORDS


async def test_cancel_ends_a_parked_job_at_once(engine: Engine) -> None:
    job = await engine.submit("hello", model="scripted/long")
    assert (await engine.run(job)).reason == "parked"
    assert (await engine.ledger.cancel("s1", job.job_id)).status is Status.CANCELLED
    assert end_of(await engine.events(job))["status"] == "cancelled"


@pytest.mark.parametrize("limit", [{"deadline": 30}, {"timeouts": {"total": 30}}])
async def test_a_delay_beyond_the_jobs_time_ends_it_with_the_providers_error(
    engine: Engine, limit: dict[str, Any]
) -> None:
    end = end_of(await engine.answer("hello", model="scripted/long", **limit))
    assert (end["status"], end["error"]["type"]) == ("failed", "RateLimitError")


async def test_a_job_with_a_total_timeout_waits_in_the_ledger_as_others_do(engine: Engine) -> None:
    job = await engine.submit("hello", model="scripted/limited", timeouts={"total": 30})
    assert (await engine.run(job)).reason == "parked"


async def test_a_date_in_retry_after_is_read(http: Engine) -> None:
    later = email.utils.format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    script = {"fail": {"status": 429, "retry_after": later}}
    end = end_of(await http.answer(script, model="weak/m", deadline=60))
    assert end["error"]["type"] == "RateLimitError"
    assert end["error"]["details"]["retry_after"] == pytest.approx(300, abs=30)


async def test_an_open_breaker_is_skipped_fails_fast_and_closes_by_a_probe(
    http: Engine, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, now = {"fail": {"status": 500}}, time.monotonic()
    with monkeypatch.context() as still:
        still.setattr(http.service._bounding.breakers, "_clock", lambda: now)  # its pause goes on
        for number in range(2):
            await http.answer(broken, model="weak/m", max_retries=0, session_id=f"b{number}")
        asked = server.stats()["requests"]
        fast = await http.answer("hello", model="weak/m", max_retries=0, session_id="fast")
        other = await http.answer(
            "hello", model=["weak/m", "scripted/echo"], max_retries=0, session_id="other"
        )
    error = end_of(fast)["error"]
    assert (error["type"], error["retryable"], error["provider"]) == ("CircuitOpenError", True, "weak")
    assert 0 < error["details"]["retry_after"] <= PAUSE
    assert retries(other) == [("CircuitOpenError", "scripted/echo")]
    assert text_of(other) == "hello"
    assert server.stats()["requests"] == asked == 2
    waited = await http.answer({"n": 5}, model="weak/m", max_retries=1, session_id="waited")
    assert text_of(waited) == WORDS
    assert {error for error, _ in retries(waited)} <= {"CircuitOpenError"}
    after = await http.answer({"n": 5}, model="weak/m", max_retries=0, session_id="after")
    assert text_of(after) == WORDS


async def test_a_provider_that_refuses_or_limits_is_not_taken_for_broken(
    http: Engine, server: ModelServer
) -> None:
    for number, status in enumerate([401, 429, 401, 429, 429, 429]):
        script = {"fail": {"status": status}}
        await http.answer(script, model="weak/m", max_retries=0, session_id=f"b{number}")
    assert server.stats()["requests"] == 6


async def test_a_cancelled_probe_makes_room_for_another(http: Engine, server: ModelServer) -> None:
    for number in range(2):
        await http.answer({"fail": {"status": 500}}, model="weak/m", max_retries=0, session_id=f"b{number}")
    await asyncio.sleep(PAUSE)
    slow = await http.submit({"n": 5, "start": 60}, model="weak/m", session_id="slow")
    probe = asyncio.create_task(http.run(slow))
    probing: Callable[[], bool] = lambda: server.stats()["open"] == 1  # noqa: E731
    assert await asyncio.to_thread(eventually, probing)
    refused = await http.answer("hello", model="weak/m", max_retries=0, session_id="refused")
    assert end_of(refused)["error"]["type"] == "CircuitOpenError"
    await http.ledger.cancel("slow", slow.job_id)
    assert (await probe).status is Status.CANCELLED
    assert text_of(await http.answer({"n": 5}, model="weak/m", max_retries=0, session_id="next")) == WORDS


async def test_reasoning_is_not_doubled_where_an_answer_goes_on(http: Engine) -> None:
    script = {"n": 5, "reasoning": "Let me see.", "fail": {"kind": "cut", "after": 2, "times": 1}}
    events = await http.answer(script, model="weak/m")
    response = end_of(events)["response"]
    assert response["content"] == text_of(events) == WORDS
    assert response["reasoning"].split() == ["Let", "me", "see."]


async def test_a_call_of_an_answer_that_was_not_whole_is_told_once(make_engine: MakeEngine) -> None:
    calling = {"kind": PREFIX + "Calling"}
    old = await make_engine(profiles={"calling": calling | {"options": {"waits": True}}})
    new = await make_engine(profiles={"calling": calling})
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    job = await old.submit("hello", model="calling/m", tools=[tool])
    running = asyncio.create_task(old.run(job))
    await old.said(job)
    await old.service.drain(0)
    await running
    assert (await new.run(job)).status is Status.COMPLETED
    events = await new.events(job)
    assert [event["data"]["offset"] for event in events if event["type"] == "stream_start"] == [0, 3]
    assert text_of(events) == "one"
    assert kinds(events).count("tool_call") == 1
    assert len(end_of(events)["response"]["tool_calls"]) == 1


async def test_a_profile_that_goes_between_two_rounds_makes_way_for_the_next_model(
    make_engine: MakeEngine,
) -> None:
    """What was said before is whole: the request that cannot be made has said nothing."""
    here = {"scripted": {"kind": "scripted", "options": {"rate": 0}}}
    engine = await make_engine(profiles={**here, "leaving": here["scripted"]}, tools=__name__)
    leaves.append(lambda: setattr(engine.service._served, "_catalog", Catalog.of(here)))
    rounds = [{"text": "Well. ", "tool_calls": [{"name": "take_away", "arguments": {}}]}, {"text": "Done."}]
    models = ["leaving/echo", "scripted/echo"]
    events = await engine.answer({"rounds": rounds}, model=models, tools=[{"name": "take_away"}])
    leaves.clear()
    assert (end_of(events)["status"], text_of(events)) == ("completed", "Well. Done.")


leaves: list[Callable[[], None]] = []


@tool
def take_away() -> str:
    """Have what leaves do so."""
    for leave in leaves:
        leave()
    return "It is gone."
