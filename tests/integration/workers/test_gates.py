"""Workers hold to their profiles' limits together: engines on one Redis, and a provider that counts."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Dispatch, operations
from palaver.workers.ending import Outcome
from tests.integration.workers.conftest import Engine, MakeEngine, stand, text_of
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

ONE = {"concurrent": 1}
HOLD = {"key": "hold", "n": 3, "fail": {"kind": "idle", "after": 2}}
"""An answer that ends only when its job does."""


class Desk:
    """Stands in for the broker: the jobs of its engine's messages run there."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sent: list[str] = []
        self.runs: list[asyncio.Task[Outcome]] = []
        self.loses = 0  # so many messages

    def put(self, dispatches: Sequence[Dispatch]) -> None:
        for dispatch in dispatches:
            self.sent.append(dispatch.job_id)
            if self.loses:
                self.loses -= 1
                continue
            running = self.engine.service.run(dispatch.session_id, dispatch.job_id, queue=dispatch.queue)
            self.runs.append(asyncio.create_task(self._run(running)))

    async def _run(self, running: Awaitable[Outcome]) -> Outcome:
        outcome = await running
        if outcome.dispatch is not None:
            self.put([outcome.dispatch])
        return outcome

    async def empty_queues(self) -> Collection[str]:
        return ()


MakeWorkers = Callable[..., Awaitable[list[Desk]]]


@pytest.fixture
def make_workers(server: ModelServer, make_engine: MakeEngine) -> MakeWorkers:
    """Start two workers that take their turns at sweeping, with a provider of these limits."""

    async def make(limits: dict[str, Any], **settings: Any) -> list[Desk]:
        profile = {"kind": "openai", "base_url": server.openai_url, "breaker": False}
        profiles = {"http": {**profile, "limits": limits}, "spare": profile}
        engines = [await make_engine(profiles=profiles, **settings) for _ in range(2)]
        desks = [Desk(engine) for engine in engines]
        for desk in desks:
            await desk.engine.service.serve(desk)
        return desks

    return make


async def submit(desk: Desk, script: dict[str, Any] | None = None, **fields: Any) -> ChatJob:
    given: dict[str, Any] = {"model": "http/m", "history": [], "max_retries": 0}
    job = await desk.engine.submit(script or {"n": 2}, **(given | fields))
    desk.put([Dispatch(job.session_id or "", job.job_id, "palaver.normal")])
    return job


async def ended(desk: Desk, *jobs: ChatJob) -> list[dict[str, Any]]:
    """The ends of these jobs, when they have one."""
    ends = []
    for job in jobs:
        await desk.engine.told(job, "stream_end")
        ends.append((await desk.engine.events(job))[-1]["data"])
    return ends


async def parked(desk: Desk, job: ChatJob) -> None:
    """Return when the job waits at its gate, and its worker has no slot taken any more."""
    async with asyncio.timeout(20):
        while (await desk.engine.ledger.job(job.job_id)).gate is None or desk.engine.service.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_no_more_requests_than_allowed_and_none_waits_for_nothing(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    workers = await make_workers({"requests_per_minute": 180, "window": 1})
    keys = [f"k{number}" for number in range(12)]
    began = time.time()
    jobs = [
        await submit(workers[n % 2], {"n": 1, "key": key}, session_id=f"s{n}") for n, key in enumerate(keys)
    ]
    assert [end["status"] for end in await ended(workers[0], *jobs)] == ["completed"] * 12
    times = sorted(server.writes(key)[0] for key in keys)
    assert [number for number, at in enumerate(times) if at < began + number // 3] == []


async def test_who_waits_for_long_is_parked_and_goes_on_as_soon_as_it_may(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    one, other = await make_workers(ONE)
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    second, third = [await submit(other, {"n": 2}, session_id=name) for name in ("s2", "s2")]
    await parked(other, second)
    view = await other.engine.ledger.job(second.job_id)
    assert view.prospect is not None
    assert (view.status, view.gate, view.prospect.position) == (Status.RUNNING, "http", 0)
    await one.engine.ledger.cancel("s1", first.job_id)
    await ended(other, second, third)
    assert second.job_id in one.sent  # by the worker that had the place
    assert text_of(await other.engine.events(second)) == " w0 w1"
    # Its session has kept its turn: the message after it has come after it.
    log = await other.engine.ledger.events("s2")
    assert [second.job_id.encode() in event for event in log].index(False) < len(log)
    began = [
        job
        for event in log
        for job in (second, third)
        if b"stream_start" in event and job.job_id.encode() in event
    ]
    assert began == [second, third]
    assert server.stats()["max_open"] == 1
    assert (await other.engine.ledger.job(second.job_id)).failures == 0


async def test_a_lost_message_is_sent_again(make_workers: MakeWorkers) -> None:
    one, other = await make_workers(ONE)
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    second = await submit(other, session_id="s2")
    await parked(other, second)
    one.loses = 1
    await one.engine.ledger.cancel("s1", first.job_id)
    await ended(one, first)
    gate = one.engine.ledger.keys.gate("http")
    async with asyncio.timeout(20):
        while second.job_id not in one.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # What it was given ends, in ten seconds by itself.
    one.engine.client.zadd(f"{gate}:given", {f"s2/{second.job_id}": 1}, xx=True)
    one.engine.client.zadd(one.engine.ledger.keys.gates, {"http": 1})
    assert (await ended(other, second))[0]["status"] == "completed"


async def test_cancel_and_deadline_reach_who_waits(make_workers: MakeWorkers) -> None:
    one, other = await make_workers(ONE)
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    cancelled = await submit(other, session_id="s2")
    late = await submit(other, session_id="s3", deadline=2)
    last = await submit(other, session_id="s4")
    for job in (cancelled, last):
        await parked(other, job)
    await one.engine.ledger.cancel("s2", cancelled.job_id)
    ends = await ended(other, cancelled, late)
    assert [end["status"] for end in ends] == ["cancelled", "expired"]
    await one.engine.ledger.cancel("s1", first.job_id)
    assert (await ended(other, last))[0]["status"] == "completed"


async def test_a_429_closes_the_profile_for_all_workers(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    one, other = await make_workers({})
    began = asyncio.get_running_loop().time()
    refused = await submit(one, {"fail": {"status": 429, "retry_after": 4}}, session_id="s1")
    (end,) = await ended(one, refused)
    assert end["error"]["type"] == "RateLimitError"
    async with asyncio.timeout(20):
        while not other.engine.service._bounding.gates._is_guarded("http"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asked = server.stats()["requests"]
    second = await submit(other, session_id="s2")
    await parked(other, second)
    assert server.stats()["requests"] == asked
    (gate,) = await other.engine.ledger.gates()
    assert (gate.name, gate.waiting) == ("http", 1)
    assert (await ended(other, second))[0]["status"] == "completed"
    assert asyncio.get_running_loop().time() - began > 3.9


async def test_a_profile_without_limits_asks_no_gate(make_workers: MakeWorkers) -> None:
    one, _ = await make_workers({})
    job = await submit(one, session_id="s1")
    await ended(one, job)
    assert not list(one.engine.client.scan_iter(f"{one.engine.ledger.keys.gate('*')}*"))


async def test_tokens_are_settled_by_what_was_used(make_workers: MakeWorkers) -> None:
    one, _ = await make_workers({"tokens_per_minute": 1000})
    jobs = [await submit(one, {"n": 5}, session_id=f"s{n}", params={"max_tokens": 800}) for n in range(3)]
    assert [end["status"] for end in await ended(one, *jobs)] == ["completed"] * 3


async def test_tokens_that_a_provider_does_not_tell_are_counted_by_its_words(
    make_workers: MakeWorkers,
) -> None:
    one, _ = await make_workers({"tokens_per_minute": 1000})
    jobs = [await submit(one, {"n": 5, "usage": False}, session_id=f"s{n}") for n in range(3)]
    assert [end["status"] for end in await ended(one, *jobs)] == ["completed"] * 3


async def test_what_a_stream_has_said_counts_while_it_runs_and_when_it_was_cancelled(
    make_workers: MakeWorkers,
) -> None:
    one, _ = await make_workers({"tokens_per_minute": 100_000}, renew_seconds=0.1)
    used = one.engine.ledger.keys.gate("http") + ":used"

    def tokens() -> int:
        fields: Any = one.engine.client.hgetall(used)
        return sum(int(count) for field, count in fields.items() if field.startswith(b"tokens"))

    endless = HOLD | {"n": 200, "fail": {"kind": "idle", "after": 150}}
    job = await submit(one, endless, session_id="s1", params={"max_tokens": 1})
    async with asyncio.timeout(20):
        while tokens() < 150:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    said = tokens()
    await one.engine.ledger.cancel("s1", job.job_id)
    await ended(one, job)
    following = await submit(one, {"n": 1}, session_id="s2", params={"max_tokens": 1})
    await ended(one, following)
    assert tokens() > said


async def test_an_agent_whose_provider_wants_a_pause_waits_for_it_at_the_gate(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    one, _ = await make_workers({}, agents="tests.integration.workers.user_agents")
    began = time.time()
    script = {"n": 2, "key": "k", "fail": {"status": 429, "retry_after": 2, "times": 1}}
    job = await submit(one, script, session_id="s1", agent="asking", max_retries=1)
    (end,) = await ended(one, job)
    assert end["response"]["content"] == "Let me ask.  w0 w1"
    assert server.writes("k")[0] >= began + 2


async def test_a_paused_provider_is_asked_by_nobody_and_goes_on_when_it_is_resumed(
    make_engine: MakeEngine, server: ModelServer
) -> None:
    profile = {"kind": "openai", "base_url": server.openai_url}
    engines = [await make_engine(profiles={"http": profile, "spare": profile}) for _ in range(2)]
    one, other = desks = [Desk(engine) for engine in engines]
    for desk in desks:
        await desk.engine.service.serve(desk)
    ledger = one.engine.ledger
    running = await submit(one, HOLD, session_id="s0")
    await one.engine.said(running)
    await ledger.query(operations.pause_profile(ledger.keys, "http", by="ann@desk"))
    async with asyncio.timeout(20):
        while not all("http" in desk.engine.service._bounding.pauses for desk in desks):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    asked = server.stats()["requests"]
    waiting = await submit(other, session_id="s1")
    await parked(other, waiting)
    assert server.stats()["requests"] == asked
    spared = await submit(other, session_id="s2", model=["http/m", "spare/m"])
    assert [end["response"]["provider"] for end in await ended(other, spared)] == ["spare"]
    assert (await ledger.job(running.job_id)).status is Status.RUNNING
    await ledger.query(operations.resume_profile(ledger.keys, "http", by="ann@desk"))
    assert [end["status"] for end in await ended(one, waiting)] == ["completed"]
    await ledger.cancel("s0", running.job_id)
    await ended(one, running)


async def test_a_worker_that_starts_later_knows_of_a_pause(make_engine: MakeEngine) -> None:
    first = await make_engine()
    await first.ledger.query(operations.pause_profile(first.ledger.keys, "scripted", by="ann@desk"))
    later = await make_engine()
    job = await later.submit("hello", model="scripted/echo")
    assert (await later.run(job)).status is None
    assert (await later.ledger.job(job.job_id)).gate == "scripted"


async def test_who_has_another_model_does_not_wait_for_a_closed_one(make_workers: MakeWorkers) -> None:
    one, other = await make_workers(ONE)
    refused = await submit(one, {"fail": {"status": 429, "retry_after": 300}}, session_id="s1")
    await ended(one, refused)
    job = await submit(other, session_id="s2", model=["http/m", "spare/m"])
    (end,) = await ended(other, job)
    assert (end["status"], end["response"]["provider"]) == ("completed", "spare")
    (gate,) = await other.engine.ledger.gates()
    assert (gate.waiting, gate.running) == (0, 0)
    # Who has none waits.
    waits = await submit(other, session_id="s3")
    await parked(other, waits)


SHARES = {"*": {"running": 2, "user_running": 1}, "vip": {"running": False, "user_running": False}}


async def test_no_more_jobs_of_a_tenant_and_a_user_run_than_may(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    one, other = await make_workers({}, tenants=SHARES)
    ann = [await submit(one, HOLD, session_id=f"ann{n}", tenant="acme", user="ann") for n in range(2)]
    await one.engine.said(ann[0])
    bob = await submit(other, HOLD, session_id="bob", tenant="acme", user="bob")
    await one.engine.said(bob)
    cid = await submit(other, session_id="cid", tenant="acme", user="cid")
    for job in (ann[1], cid):
        await waits_at(one, job, "tenant/acme")
    others = [await submit(one, session_id=f"o{n}", tenant="other", user="ann") for n in range(1)]
    others += [await submit(one, session_id=f"v{n}", tenant="vip", user="ann") for n in range(3)]
    assert [end["status"] for end in await ended(one, *others)] == ["completed"] * 4
    (gate,) = await one.engine.ledger.gates()
    assert (gate.name, gate.running, gate.waiting) == ("tenant/acme", 2, 2)
    await one.engine.ledger.cancel("bob", bob.job_id)
    assert (await ended(one, cid))[0]["status"] == "completed"
    view = await one.engine.ledger.job(ann[1].job_id)
    assert (view.gate, view.status) == ("tenant/acme", Status.RUNNING)
    await one.engine.ledger.cancel("ann0", ann[0].job_id)
    await one.engine.said(ann[1])
    await one.engine.ledger.cancel("ann1", ann[1].job_id)
    await ended(one, ann[1])


async def test_who_waits_for_a_tenant_goes_on_when_its_bound_is_lifted(
    make_workers: MakeWorkers, tmp_path: Path
) -> None:
    config = tmp_path / "palaver.toml"
    config.write_text("[tenants.acme]\nrunning = 1\n")
    one, other = desks = await make_workers({}, config=str(config))
    first = await submit(one, HOLD, session_id="s0", tenant="acme")
    await one.engine.said(first)
    waiting = [await submit(other, session_id=f"s{n}", tenant="acme") for n in range(1, 5)]
    for job in waiting:
        await waits_at(one, job, "tenant/acme")
    config.write_text("[tenants.acme]\nweight = 1\n")
    async with asyncio.timeout(20):
        while any(desk.engine.service._bounding.tenancy.of("acme").running for desk in desks):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await one.engine.ledger.cancel("s0", first.job_id)
    async with asyncio.timeout(9):  # a place that nobody takes is another's after ten
        assert [end["status"] for end in await ended(one, *waiting)] == ["completed"] * 4


async def test_a_job_that_waits_for_its_provider_is_none_of_those_that_run(make_workers: MakeWorkers) -> None:
    one, other = await make_workers(ONE, tenants={"acme": {"running": 1}})
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    waits = await submit(one, session_id="s2", tenant="acme")
    await waits_at(one, waits, "http")
    runs = await submit(other, HOLD, session_id="s3", tenant="acme", model="spare/m")
    await one.engine.said(runs)
    # Its provider has a place for it now, but its tenant has not, and the place is another's.
    last = await submit(other, session_id="s4")
    await waits_at(one, last, "http")
    await one.engine.ledger.cancel("s1", first.job_id)
    assert (await ended(one, last))[0]["status"] == "completed"
    await waits_at(one, waits, "tenant/acme")
    await one.engine.ledger.cancel("s3", runs.job_id)
    assert (await ended(one, waits))[0]["status"] == "completed"


async def waits_at(desk: Desk, job: ChatJob, gate: str) -> None:
    """Return when the job waits at this gate."""
    async with asyncio.timeout(20):
        while (await desk.engine.ledger.job(job.job_id)).gate != gate:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_job_with_a_total_timeout_is_parked_and_ends_in_time(make_workers: MakeWorkers) -> None:
    one, other = await make_workers(ONE)
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    late = await submit(other, session_id="s2", timeouts={"total": 5})
    third = await submit(other, session_id="s3", timeouts={"total": 60})
    for job in (late, third):
        await parked(other, job)
    (end,) = await ended(other, late)
    assert (end["status"], end["error"]["type"]) == ("failed", "TimeoutError")
    assert "timeouts.total, 5 seconds" in end["error"]["message"]
    await one.engine.ledger.cancel("s1", first.job_id)
    assert (await ended(other, third))[0]["status"] == "completed"
    # Nobody's place was lost with the one that was late.
    assert [gate.waiting for gate in await one.engine.ledger.gates()] == []


async def test_agents_that_wait_lend_their_slots_half_of_them_one_tenants(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    one, other = await make_workers(ONE, agents="tests.integration.workers.user_agents")
    other.engine.service.slots = 4
    lent = other.engine.host.lent
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    agents = [await submit(other, session_id=f"a{n}", agent="asking") for n in range(5)]
    async with asyncio.timeout(20):
        while other.engine.service.running > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    views = [await one.engine.ledger.job(job.job_id) for job in agents]
    assert [view.gate for view in views].count("http") == 3
    assert lent == [1, 1]
    agents += [await submit(other, session_id=f"b{n}", agent="asking", tenant="b") for n in range(3)]
    async with asyncio.timeout(20):
        while (len(lent), other.engine.service.running) != (4, 4):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    passing = await submit(other, session_id="s2", model="spare/m")
    assert (await ended(other, passing))[0]["status"] == "completed"
    await one.engine.ledger.cancel("s1", first.job_id)
    ends = await ended(other, *agents)
    assert [end["status"] for end in ends] == ["completed"] * 8
    assert {end["response"]["content"] for end in ends} == {"Let me ask.  w0 w1"}
    assert sum(lent) == 0
    assert server.stats()["max_open"] == 2  # with the one of the spare profile


async def test_an_agent_that_has_begun_waits_with_the_only_slot_there_is(
    make_workers: MakeWorkers, server: ModelServer
) -> None:
    code, tenants = "tests.integration.workers.user_agents", {"acme": {"running": 1}}
    one, other = await make_workers(ONE, agents=code, tenants=tenants)
    other.engine.service.slots = 1
    server.running.signal(signal.SIGSTOP)  # its first answer ends when somebody else waits
    agent = await submit(other, {"n": 4}, session_id="a", tenant="acme", agent="twice")
    await stand(one.engine, "http", running=1, waiting=0)
    # It has the place when the first answer has ended, and the second request waits for it.
    between = await submit(one, HOLD, session_id="b")
    await stand(one.engine, "http", running=1, waiting=1)
    server.running.signal(signal.SIGCONT)
    await one.engine.said(between)
    records = one.engine.ledger.keys.gate("http") + ":records"
    async with asyncio.timeout(20):
        while not any(b'"later":true' in record for record in one.engine.client.hvals(records)):
            assert (await one.engine.ledger.job(agent.job_id)).gate is None, "it would begin anew"
            await asyncio.sleep(0.01)
    await one.engine.ledger.cancel("b", between.job_id)
    (end,) = await ended(other, agent)
    assert end["response"]["content"] == " w0 w1 w2 w3" * 2
    assert server.stats()["requests"] == 3


async def test_an_agent_one_of_whose_first_requests_is_made_does_not_begin_anew_for_the_other(
    make_workers: MakeWorkers, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it can lend its slot to nobody."""
    monkeypatch.setattr("palaver.workers.waiting.MOMENT_SECONDS", 3.0)
    one, other = await make_workers(ONE, agents="tests.integration.workers.user_agents")
    first = await submit(one, HOLD, session_id="s1")
    await one.engine.said(first)
    server.running.signal(signal.SIGSTOP)  # what it is asked now goes on until the gate was asked twice
    other.engine.service.slots = 0
    agent = await submit(other, {"n": 10}, session_id="a", agent="at_once")
    records = one.engine.ledger.keys.gate("http") + ":records"

    def known_by() -> Any:
        """What the gate knows its request by, which is another one when it comes again."""
        record: Any = one.engine.client.hget(records, f"a/{agent.job_id}")
        return record and orjson.loads(record)["token"]

    async with asyncio.timeout(20):
        while (first_token := known_by()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while known_by() in (None, first_token):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.running.signal(signal.SIGCONT)
        while server.stats()["requests"] < 2 or server.stats()["open"] > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(one.engine.client.hkeys(records)) == 2, "it waits no more"
    await one.engine.ledger.cancel("s1", first.job_id)
    (end,) = await ended(other, agent)
    assert end["response"]["content"] == "".join(f" w{n}" for n in range(10)) * 2
    assert server.stats()["requests"] == 3


async def test_who_wants_a_priority_that_its_tenant_may_not_have_is_told(make_engine: MakeEngine) -> None:
    engine = await make_engine(tenants={"acme": {"priority_most": 5}})
    for priority, told in ((9, ["priority_lowered"]), (5, [])):
        events = await engine.answer("hi", tenant="acme", priority=priority, session_id=f"s{priority}")
        assert [each["data"]["code"] for each in events if each["type"] == "warning"] == told
        assert events[-1]["data"]["status"] == "completed"
