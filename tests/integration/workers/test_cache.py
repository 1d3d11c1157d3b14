"""The cache through engines and a provider over HTTP that counts: hits, single flights, take-overs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.workers.ending import Outcome
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.test_engine import end_of, kinds
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

MakeHttp = Callable[..., Awaitable[Engine]]


@pytest.fixture
def make_http(server: ModelServer, make_engine: MakeEngine) -> MakeHttp:
    async def make(**values: Any) -> Engine:
        profile = {"kind": "openai", "base_url": server.openai_url, "resume": "prefix", "breaker": False}
        return await make_engine(profiles={"http": profile}, **values)

    return make


@pytest.fixture
async def engine(make_http: MakeHttp) -> Engine:
    return await make_http(lease_seconds=60, renew_seconds=20)


async def submit(engine: Engine, script: dict[str, Any], **fields: Any) -> ChatJob:
    given: dict[str, Any] = {"model": "http/m", "cache": True, "history": [], "max_retries": 0}
    return await engine.submit(script, **(given | fields))


async def answer(engine: Engine, script: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    job = await submit(engine, script, **fields)
    await engine.run(job)
    return await engine.events(job)


async def crowd(
    engines: list[Engine], script: dict[str, Any], size: int, **fields: Any
) -> list[tuple[ChatJob, asyncio.Task[Outcome]]]:
    """Jobs that ask the same, running, in sessions of their own."""
    jobs = [await submit(engines[0], script, session_id=f"s{n}", **fields) for n in range(size)]
    return [(job, asyncio.create_task(engines[n % len(engines)].run(job))) for n, job in enumerate(jobs)]


def cached_keys(engine: Engine) -> list[str]:
    return sorted(key.decode() for key in engine.client.scan_iter(engine.ledger.keys.answer("*")))


def requests(server: ModelServer) -> int:
    return int(server.stats()["requests"])


async def followed(engine: Engine) -> None:
    """Return when somebody waits for another's answer."""
    async with asyncio.timeout(20):
        while not engine.client.pubsub_channels(engine.ledger.keys.answer("*")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_hit_streams_like_the_first_answer(engine: Engine, server: ModelServer) -> None:
    script = {"n": 10_000, "reasoning": "Let me count."}
    first, again = [await answer(engine, script, session_id=name) for name in ("s1", "s2")]
    assert requests(server) == 1
    one, two = end_of(first), end_of(again)
    assert text_of(again) == text_of(first) == two["response"]["content"]
    assert list(dict.fromkeys(kinds(again))) == list(dict.fromkeys(kinds(first)))
    assert kinds(again).count("text_chunk") > 1
    start = next(event["data"] for event in again if event["type"] == "stream_start")
    assert (start["model"], start["provider"], start["offset"]) == ("m", "http", 0)
    assert "from_cache" not in one["usage"]
    assert two["usage"] == one["usage"] | {"from_cache": True, "cost": 0.0}
    for name in ("finish_reason", "reasoning", "model", "provider"):
        assert two["response"].get(name) == one["response"].get(name)


async def test_a_job_that_does_not_ask_for_the_cache_neither_reads_nor_fills_it(
    engine: Engine, server: ModelServer
) -> None:
    for wish in (False, True, False, True):
        await answer(engine, {"n": 3}, cache=wish)
    assert requests(server) == 3


ONLY = {"cache": {"only": True}}


async def test_only_from_the_cache_asks_nobody(engine: Engine, server: ModelServer) -> None:
    before = end_of(await answer(engine, {"n": 3}, **ONLY))
    assert (before["response"]["content"], before["response"]["metadata"]["cache"]) == ("", "miss")
    assert before.get("usage") is None
    assert (requests(server), cached_keys(engine)) == (0, [])
    first = await answer(engine, {"n": 3})
    again = await answer(engine, {"n": 3}, **ONLY)
    assert text_of(again) == text_of(first) == " w0 w1 w2"
    assert end_of(again)["usage"]["from_cache"]
    assert requests(server) == 1


async def test_only_from_the_cache_waits_for_nobody(engine: Engine, server: ModelServer) -> None:
    script = {"n": 3, "fail": {"kind": "idle", "after": 1}}
    ((leading, run),) = await crowd([engine], script, 1)
    await engine.told(leading, "stream_start")
    assert end_of(await answer(engine, script, session_id="s2", **ONLY))["response"]["content"] == ""
    assert not run.done()
    assert engine.service.end(leading.job_id)
    await run
    assert requests(server) == 1


async def test_jobs_that_differ_share_nothing(engine: Engine, server: ModelServer) -> None:
    different: list[dict[str, Any]] = [
        {},
        {"tenant": "t", "session_id": "of-t"},
        {"model": "http/n"},
        {"params": {"temperature": 0.5}},
        {"system": "Be brief."},
    ]
    for _ in range(2):
        for fields in different:
            await answer(engine, {"n": 3}, **fields)
    assert requests(server) == len(different)


async def test_keys_tell_no_content_and_end(engine: Engine) -> None:
    events = await answer(engine, {"n": 3, "key": "secret"}, tenant="acme", cache={"ttl": 100})
    await answer(engine, {"n": 4, "key": "secret"}, tenant="acme")
    ours = [*cached_keys(engine), engine.ledger.keys.answers]
    assert len(ours) == 3
    assert not [key for key in ours if "secret" in key or "acme" in key or "w1" in key]
    assert text_of(events) == " w0 w1 w2"
    times = sorted(engine.client.pttl(key) for key in ours)
    assert 0 < times[0] <= 100_000 < times[1] <= 3_600_000 < times[2]


async def test_the_least_recently_used_answer_makes_room(make_http: MakeHttp, server: ModelServer) -> None:
    engine = await make_http(cache_entries=2)
    for n in (1, 2, 1, 3, 1):
        await answer(engine, {"n": n})
    assert (requests(server), len(cached_keys(engine))) == (3, 2)
    await answer(engine, {"n": 2})
    assert requests(server) == 4


async def test_a_large_answer_is_not_kept(make_http: MakeHttp, server: ModelServer) -> None:
    engine = await make_http(cache_answer_bytes=1000)
    for _ in range(2):
        assert end_of(await answer(engine, {"n": 500}))["status"] == "completed"
    assert (requests(server), cached_keys(engine)) == (2, [])


async def test_a_thousand_equal_prompts_at_once_make_one_request(
    make_http: MakeHttp, server: ModelServer
) -> None:
    engines = [await make_http(lease_seconds=60, renew_seconds=20) for _ in range(2)]
    running = await crowd(engines, {"n": 5, "start": 1}, 1000)
    outcomes = await asyncio.gather(*(run for _, run in running))
    assert {outcome.status for outcome in outcomes} == {Status.COMPLETED}
    assert requests(server) == 1
    ends = [end_of(await engines[0].events(job)) for job, _ in running]
    assert {end["response"]["content"] for end in ends} == {" w0 w1 w2 w3 w4"}
    assert sum("from_cache" not in end["usage"] for end in ends) == 1


async def test_when_the_leader_fails_a_follower_takes_over(make_http: MakeHttp, server: ModelServer) -> None:
    engines = [await make_http(lease_seconds=60, renew_seconds=20) for _ in range(2)]
    script = {"n": 5, "start": 0.5, "fail": {"status": 500, "times": 1}}
    running = await crowd(engines, script, 10)
    outcomes = [outcome.status for outcome in await asyncio.gather(*(run for _, run in running))]
    assert outcomes.count(Status.FAILED) == 1
    assert outcomes.count(Status.COMPLETED) == 9
    assert requests(server) == 2


async def test_when_every_leader_fails_nobody_waits_in_line(engine: Engine, server: ModelServer) -> None:
    running = await crowd([engine], {"start": 0.2, "fail": {"status": 500}}, 20)
    outcomes = await asyncio.gather(*(run for _, run in running))
    assert {outcome.status for outcome in outcomes} == {Status.FAILED}
    assert requests(server) == 20


FIRST_HANGS = {"fail": {"kind": "idle", "after": 2, "times": 1}}
"""The first of all requests says two words, and no more for as long as somebody waits."""


async def test_when_the_leader_is_cancelled_a_follower_takes_over(
    make_http: MakeHttp, server: ModelServer
) -> None:
    engines = [await make_http(lease_seconds=60, renew_seconds=20) for _ in range(2)]
    script = {"n": 30} | FIRST_HANGS
    ((leader, leads),) = await crowd(engines, script, 1)
    await engines[0].said(leader)
    follower = await submit(engines[1], script, session_id="f1")
    follows = asyncio.create_task(engines[1].run(follower))
    await followed(engines[0])
    await engines[0].ledger.cancel(leader.session_id or "", leader.job_id)
    assert (await leads).status is Status.CANCELLED
    assert (await follows).status is Status.COMPLETED
    assert requests(server) == 2


async def test_when_the_leader_dies_a_follower_takes_over(make_http: MakeHttp, server: ModelServer) -> None:
    dying, living = [await make_http(lease_seconds=1, renew_seconds=0.3) for _ in range(2)]
    script = {"n": 40} | FIRST_HANGS
    leader = await submit(dying, script)
    leads = asyncio.create_task(dying.run(leader))
    await dying.said(leader)
    follower = await submit(living, script, session_id="s2")
    follows = asyncio.create_task(living.run(follower))
    await followed(living)
    await dying.service.close()  # without draining: its lead stays behind
    assert (await leads).status is None
    assert (await follows).status is Status.COMPLETED
    assert requests(server) == 2


async def test_a_lead_is_kept_for_as_long_as_an_answer_takes(
    make_http: MakeHttp, server: ModelServer
) -> None:
    engine = await make_http(lease_seconds=0.6, renew_seconds=0.2)
    running = await crowd([engine], {"n": 40, "rate": 20}, 3)
    await asyncio.gather(*(run for _, run in running))
    assert requests(server) == 1


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        ({"n": 5}, {"params": {"max_tokens": 5}, "complete": None}),
        ({"finish": "length"}, {}),
        ({"tool_calls": [{"id": "c", "name": "look"}]}, {"tools": [{"name": "look"}]}),
        ({"fail": {"kind": "eof", "after": 2}}, {}),
    ],
    ids=["whole", "length", "tool_calls", "cut"],
)
async def test_what_is_not_whole_is_asked_for_again(
    engine: Engine, server: ModelServer, script: dict[str, Any], fields: dict[str, Any]
) -> None:
    running = await crowd([engine], script | {"start": 0.3}, 5, **fields)
    await asyncio.gather(*(run for _, run in running))
    whole = script == {"n": 5}
    assert requests(server) == (1 if whole else 5)
    assert len(cached_keys(engine)) == whole


@pytest.mark.parametrize("broken", [b"", b"{}", b'[{"type":"text","text":"x"}]', None])
async def test_a_broken_cache_fails_no_job(engine: Engine, server: ModelServer, broken: bytes | None) -> None:
    await answer(engine, {"n": 3})
    (key,) = cached_keys(engine)
    engine.client.delete(key)
    if broken is None:
        engine.client.rpush(key, "of another type")
    else:
        engine.client.set(key, broken)
    end = end_of(await answer(engine, {"n": 3}))
    assert (end["status"], end["response"]["content"]) == ("completed", " w0 w1 w2")
    assert "from_cache" not in end["usage"]
    assert requests(server) == 2


async def test_the_answer_after_tools_is_kept_and_the_calls_are_not(
    engine: Engine, server: ModelServer
) -> None:
    results = [
        {"role": "user", "content": orjson.dumps({"n": 2}).decode()},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "name": "look", "arguments": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "it is blue"},
    ]
    job = {"model": "http/m", "cache": True, "history": [], "tools": [{"name": "look"}]}
    for name in ("s1", "s2"):
        asking = await engine.submit(results, session_id=name, **job)
        await engine.run(asking)
        assert end_of(await engine.events(asking))["status"] == "completed"
    assert requests(server) == 1
