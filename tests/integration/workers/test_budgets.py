"""What tenants may spend: warned of, kept by every worker, and told by every door."""

import asyncio
import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.errors import QueueFullError, SpendLimitError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import AsyncLedger, Command, Query, Submitted, operations
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.spending import today
from palaver.workers.publisher import Writer
from tests.integration.workers.conftest import Engine, MakeEngine, completed
from tests.integration.workers.money import FEW, HOLD, MANY, PROFILES, SEVENTY, TENANTS, answered
from tests.integration.workers.test_batches import drive, open_batch_on
from tests.integration.workers.test_costs import COUNTED, SCRIPTED
from tests.integration.workers.test_engine import end_of

pytestmark = pytest.mark.redis


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(
        profiles=PROFILES,
        tenants=TENANTS,
        tools="tests.integration.workers.user_tools",
        lease_seconds=60,
        renew_seconds=20,
    )


def codes(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["code"] for event in events if event["type"] == "warning"]


async def test_a_tenant_is_warned_and_then_refused(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warned = [codes(await answered(engine, session_id=f"s{n}")) for n in range(3)]
    assert warned == [[], [], ["spend_soft"]]
    with pytest.raises(SpendLimitError, match=r"'acme' has spent 210\.00 dollars") as refused:
        await engine.submit("hi", tenant="acme")
    error = refused.value
    assert (error.spent, error.limit, error.retryable, error.http_status) == (210, 200, False, 402)
    resets = datetime.fromtimestamp(error.resets_at, UTC)
    assert (resets.day, resets.hour, resets > datetime.now(UTC)) == (1, 0, True)
    assert await engine.submit("hi", tenant="other", session_id="other")
    assert [record.message.split()[0] for record in caplog.records] == ["tenant.spends_much"]


async def test_what_waits_when_the_limit_is_reached_is_not_asked(engine: Engine) -> None:
    """Neither is the next model of its list: it is no model's failure."""
    waiting = await engine.submit(
        SEVENTY, model=["dear/echo", "other/echo"], tenant="small", session_id="w", params=FEW
    )
    await answered(engine, "small", session_id="s")
    await engine.run(waiting)
    events = await engine.events(waiting)
    end = end_of(events)
    assert (end["status"], end["error"]["type"]) == ("failed", "SpendLimitError")
    assert end["error"]["details"]["limit"] == 70
    assert "retry" not in [event["type"] for event in events]


@pytest.mark.parametrize("who", [{}, {"agent": "asking"}], ids=["a job", "an agent"])
async def test_a_model_that_is_too_dear_for_what_is_left_makes_way_for_the_next(
    make_engine: MakeEngine, who: dict[str, Any]
) -> None:
    cheap = {"cheap": {**SCRIPTED, "prices": {"*": {"input": 1, "output": 1}}}}
    agents = "tests.integration.workers.user_agents"
    engine = await make_engine(profiles=PROFILES | cheap, tenants=TENANTS, agents=agents)
    fields = {"model": ["dear/echo", "cheap/echo"], "tenant": "small", "params": {"max_tokens": 100}}
    events = await engine.answer({"n": 2}, session_id="s", **fields, **who)
    assert end_of(events)["status"] == "completed"
    (retry,) = [event["data"] for event in events if event["type"] == "retry"]
    assert (retry["error"]["type"], retry["model"]) == ("SpendLimitError", "cheap/echo")


async def test_a_job_that_reaches_the_limit_asks_no_further_request(engine: Engine) -> None:
    call = {"tool_calls": [{"name": "clock", "arguments": {}}], "usage": COUNTED, "text": "so far"}
    rounds = {"rounds": [call]}
    events = await answered(engine, "middle", messages=rounds, tools=[{"name": "clock"}], session_id="s")
    end = end_of(events)
    assert (end["error"]["type"], end["text"]) == ("SpendLimitError", "so far")
    assert end["usage"]["cost"] == 70


async def test_lines_of_a_batch_count_before_it_ends(make_engine: MakeEngine, tmp_path: Path) -> None:
    files = {"files_url": f"file://{tmp_path}/files"}
    engine = await make_engine(profiles=PROFILES, tenants=TENANTS, **files)
    lines = [SEVENTY, SEVENTY, SEVENTY]
    batch = await open_batch_on(engine)(
        lines, tenant="small", window=1, model="dear/echo", each={"params": FEW}
    )
    assert await drive(engine, batch) == "completed"
    counts = (await engine.ledger.batch(batch.batch_id)).counts
    assert (counts.completed, counts.failed) == (1, 2)
    with pytest.raises(SpendLimitError):
        await engine.ledger.note_batch(
            BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=1, tenant="small")
        )


async def test_an_answer_from_the_cache_is_given_beyond_the_limit(engine: Engine) -> None:
    first = await engine.submit(
        SEVENTY, model="dear/echo", tenant="small", cache=True, params=FEW, session_id="a"
    )
    again = await engine.submit(
        SEVENTY, model="dear/echo", tenant="small", cache=True, params=FEW, session_id="b"
    )
    for job in (first, again):
        await engine.run(job)
    assert end_of(await engine.events(again))["usage"]["from_cache"] is True


async def test_what_was_spent_before_there_was_a_limit_counts(make_engine: MakeEngine) -> None:
    free = await make_engine(profiles=PROFILES)
    await answered(free, "small", session_id="s")
    engine = await make_engine(profiles=PROFILES, tenants=TENANTS)
    with pytest.raises(SpendLimitError):
        await engine.submit("hi", tenant="small")
    assert (await engine.ledger.spending("small")).spent == 70


async def test_workers_know_of_each_other(engine: Engine, make_engine: MakeEngine) -> None:
    other = await make_engine(profiles=PROFILES, tenants=TENANTS)
    jobs = [
        await engine.submit(SEVENTY, model="dear/echo", tenant="acme", session_id=f"s{n}", params=FEW)
        for n in range(8)
    ]
    for place, job in enumerate(jobs):
        worker = (engine, other)[place % 2]
        await worker.run(job)
        await worker.service._bounding.budgets.told()
    kinds = [end_of(await engine.events(job))["status"] for job in jobs]
    assert kinds == ["completed"] * 3 + ["failed"] * 5
    assert (await engine.ledger.spending("acme")).spent == 210


async def test_an_outage_of_the_ledger_loses_no_cost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An addition whose reply was lost is said again, under its number, and counts once."""
    ledger, link, lost = engine.service.ledger, engine.service._link, asyncio.Event()
    run = link.run

    async def cut(operation: Any) -> Any:
        reply = await run(operation)
        if operation.keys == (ledger.keys.spent(today(), "acme"),) and not lost.is_set():
            lost.set()
            raise QueueFullError("a failure of any kind")
        return reply

    monkeypatch.setattr(link, "run", cut)
    monkeypatch.setattr("palaver.workers.accounts.PAUSE_SECONDS", 0.01)
    await answered(engine, session_id="s")
    assert lost.is_set()
    assert (await engine.ledger.spending("acme")).spent == 70


async def test_who_is_cancelled_while_the_ledger_answers_leaves_nothing_set_aside(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, link, reserved = engine.service.ledger, engine.service._link, asyncio.Event()
    run, spent = link.run, (ledger.keys.spent(today(), "small"),)

    async def late(operation: Any) -> Any:
        reply = await run(operation)
        if operation.keys == spent and reply.held and not reserved.is_set():
            reserved.set()
            await asyncio.Event().wait()
        return reply

    monkeypatch.setattr(link, "run", late)
    job = await engine.submit(SEVENTY, model="dear/echo", tenant="small", session_id="s", params=FEW)
    running = asyncio.create_task(engine.run(job))
    async with asyncio.timeout(20):
        await reserved.wait()
    assert await ledger.query(held_of(engine, "small")) == 1
    await ledger.cancel("s", job.job_id)
    await running
    await engine.service._bounding.budgets.told()
    assert await ledger.query(held_of(engine, "small")) == 0


async def test_a_repeat_of_what_was_taken_is_answered_beyond_the_limit(engine: Engine) -> None:
    job = ChatJob(messages="hi", tenant="small", session_id="s")
    stored = await engine.ledger.submit(job)
    keys = engine.ledger.keys
    await engine.ledger.run(operations.spend(keys, today(), "small", worker="w", number=1, nanos=10**12))
    assert await engine.ledger.submit(job) == stored
    results = await engine.ledger.submit_many([job, ChatJob(messages="new", tenant="small")])
    assert [type(result) for result in results] == [Submitted, SpendLimitError]


async def limit(engine: Engine, file: Path, dollars: float) -> None:
    """Give acme a limit now. What was spent before is known a second after it at the latest."""
    file.write_text(f"[tenants.acme]\nspend_hard = {dollars}\n")  # noqa: ASYNC240 - a moment, of a test
    await engine.service._bounding.budgets.told()
    engine.service._bounding.tenancy.renew()


@pytest.mark.parametrize("seen", ["before it ends", "after it ends"])
async def test_a_limit_that_is_set_while_a_request_runs_knows_what_was_spent_before(
    make_engine: MakeEngine, tmp_path: Path, seen: str
) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text("")
    engine = await make_engine(profiles=PROFILES, config=str(file))
    for n in range(2):
        await answered(engine, "acme", session_id=f"before{n}")
    job = await engine.submit(SEVENTY | {"rate": 20}, model="dear/echo", tenant="acme", session_id="s")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    if seen == "before it ends":
        await limit(engine, file, 130)
    await running
    await limit(engine, file, 130)
    with pytest.raises(SpendLimitError):
        await engine.submit("hi", tenant="acme", session_id="after")
    await engine.service._bounding.budgets.told()
    assert (await engine.ledger.spending("acme")).spent == 210


async def test_a_limit_that_is_set_in_the_middle_of_a_batch_knows_what_its_lines_have_spent(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text("")
    engine = await make_engine(profiles=PROFILES, config=str(file), files_url=f"file://{tmp_path}/files")
    await answered(engine, "acme", session_id="before")
    slow = SEVENTY | {"rate": 1.2}  # it takes three seconds: the limit is to be there before its end
    batch = await open_batch_on(engine)(
        [SEVENTY, SEVENTY, slow, SEVENTY], tenant="acme", window=1, model="dear/echo"
    )
    driven = asyncio.create_task(drive(engine, batch))
    async with asyncio.timeout(20):
        while (await engine.ledger.batch(batch.batch_id)).counts.completed < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await limit(engine, file, 200)
    async with AsyncLedger(engine.service.settings) as producer:
        with pytest.raises(SpendLimitError, match=r"2[18]0\.00"):
            await producer.submit(ChatJob(messages="hi", tenant="acme"))
    assert await driven == "completed"
    counts = (await engine.ledger.batch(batch.batch_id)).counts
    assert (counts.completed, counts.failed) == (3, 1)
    await engine.service._bounding.budgets.told()
    assert (await engine.ledger.spending("acme")).spent == 280


async def test_jobs_that_run_at_once_are_not_beyond_the_limit(make_engine: MakeEngine) -> None:
    """What each may cost is set aside before it is asked for; who has no room comes again later."""
    engines = [await make_engine(profiles=PROFILES, tenants=TENANTS) for _ in range(2)]
    jobs = [
        await engines[0].submit(
            SEVENTY | {"rate": 20},
            model="dear/echo",
            tenant="acme",
            session_id=f"s{n}",
            params={"max_tokens": 70},
        )
        for n in range(12)
    ]
    runs = (engines[n % 2].run(job) for n, job in enumerate(jobs))
    outcomes = await asyncio.gather(*runs)
    for engine in engines:
        await engine.service._bounding.budgets.told()
    # 110 dollars are set aside for each, with what is asked, and 70 spent: of those that run at once the
    # limit of 200 has room for one, and for a second one after it.
    completed = [outcome.status for outcome in outcomes].count(Status.COMPLETED)
    assert completed in (1, 2)
    others = [outcome for outcome in outcomes if outcome.status is not Status.COMPLETED]
    assert {outcome.reason or outcome.code for outcome in others} <= {"parked", "spend_limit"}
    assert (await engines[0].ledger.spending("acme")).spent == 70 * completed


CALLING = {"tool_calls": [{"name": "clock", "arguments": {}}], "usage": COUNTED, "text": "so far"}


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": SEVENTY},
        {"messages": {"n": 4, "fail": {"kind": "cut", "after": 4}}, "max_retries": 0},
        {"messages": {"rounds": [CALLING]}, "tools": [{"name": "clock"}]},
        {"messages": SEVENTY, "agent": "asking"},
    ],
    ids=["whole", "cut", "with a tool", "of an agent"],
)
async def test_what_was_set_aside_is_so_until_what_was_spent_counts(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """However long it takes to write what was said."""
    engine = await make_engine(
        profiles=PROFILES,
        tenants={"acme": {"spend_hard": 500}},
        tools="tests.integration.workers.user_tools",
        agents="tests.integration.workers.user_agents",
    )
    ledger, budgets = engine.service.ledger, engine.service._bounding.budgets
    link = engine.service._link
    run, flush, known = link.run, Writer.flush, list[Standing]()

    async def heard(operation: Any) -> Any:
        reply = await run(operation)
        if operation.keys == (ledger.keys.spent(today(), "acme"),):
            known.append(reply)
        return reply

    async def slow(writer: Writer) -> None:
        await budgets.told()
        await flush(writer)

    monkeypatch.setattr(link, "run", heard)
    monkeypatch.setattr(Writer, "flush", slow)
    await answered(engine, session_id="s", params={"max_tokens": 70}, **asked)
    first = next(standing.spent for standing in known if standing.spent)
    reserved = next(place for place, standing in enumerate(known) if standing.held)
    assert all(standing.spent + standing.held >= first for standing in known[reserved:])


async def test_what_a_failed_request_had_set_aside_is_free(make_engine: MakeEngine) -> None:
    engine = await make_engine(profiles=PROFILES, tenants=TENANTS)
    fails = {"fail": {"status": 400}}
    await answered(engine, "small", messages=fails, session_id="a")
    assert await engine.ledger.query(held_of(engine, "small")) == 0
    assert end_of(await answered(engine, "small", session_id="b"))["status"] == "completed"


async def test_a_request_that_has_no_room_is_refused_while_smaller_ones_have(engine: Engine) -> None:
    """However much is left: a limit is hard."""
    await answered(engine, session_id="a")
    events = await answered(engine, session_id="b", params={"max_tokens": 150})
    error = end_of(events)["error"]
    assert error["type"] == "SpendLimitError"
    assert "has spent 70.00 dollars" in error["message"]
    assert "more has no room before" in error["message"]
    assert end_of(await answered(engine, session_id="c"))["status"] == "completed"


async def test_what_runs_for_long_stays_set_aside(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told again before the ledger believes it no more, and taken back at the end."""
    monkeypatch.setattr("palaver.workers.accounts.AGAIN_SECONDS", 0.01)
    engine = await make_engine(profiles=PROFILES, tenants=TENANTS)
    job = await engine.submit(HOLD, model="dear/echo", tenant="small", params=MANY)
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    key = f"{engine.ledger.keys.spent(today(), 'small')}:held"
    (worker,) = engine.client.hkeys(key)
    engine.client.hset(key, worker, "1 1")  # as if a minute had passed
    async with asyncio.timeout(20):
        while engine.client.hget(key, worker) == b"1 1":  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    other = await engine.submit(SEVENTY, model="dear/echo", tenant="small", session_id="o", params=FEW)
    assert (await engine.run(other)).reason == "parked"
    engine.service.end(job.job_id)
    await running
    await engine.service._bounding.budgets.told()
    assert not engine.client.exists(key)


async def test_who_waits_for_money_is_not_passed_by_smaller_requests(engine: Engine) -> None:
    """Of its own tenant."""
    fields = {"model": "dear/echo", "tenant": "acme"}
    holding = await engine.submit(HOLD, session_id="h", **fields, params={"max_tokens": 100})
    held = asyncio.create_task(engine.run(holding))
    await engine.said(holding)
    large = await engine.submit({"n": 1}, session_id="l", **fields, params={"max_tokens": 120})
    small = await engine.submit({"n": 1}, session_id="s", **fields, params=FEW)
    assert (await engine.run(large)).reason == "parked"
    assert (await engine.run(small)).reason == "parked"
    engine.service.end(holding.job_id)
    await held
    await engine.service._bounding.budgets.told()
    await completed(engine, large)
    await completed(engine, small)


async def test_lines_that_wait_at_a_gate_take_no_money_from_other_jobs(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    narrow = {**PROFILES["dear"], "limits": {"concurrent": 1, "requests_per_minute": 2}}
    engine = await make_engine(
        profiles=PROFILES | {"narrow": narrow}, tenants=TENANTS, files_url=f"file://{tmp_path}/files"
    )
    holding = await engine.submit({"n": 4000, "rate": 20}, model="narrow/echo", session_id="h")
    held = asyncio.create_task(engine.run(holding))
    await engine.said(holding)
    batch = await open_batch_on(engine)(
        [SEVENTY] * 2, tenant="small", window=1, model="narrow/echo", each={"params": FEW}
    )
    driven = asyncio.create_task(drive(engine, batch))
    async with asyncio.timeout(20):
        while not any(gate.waiting for gate in await engine.ledger.gates()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert end_of(await answered(engine, "small", session_id="j"))["status"] == "completed"
    engine.service.end(holding.job_id)
    await held
    assert await driven == "completed"
    assert (await engine.ledger.batch(batch.batch_id)).counts.failed == 2, "the job has spent the rest"
    other = await engine.submit({"n": 1}, model="narrow/echo", session_id="o")
    assert (await engine.run(other)).status is Status.COMPLETED, "what was not asked counts as a request"


async def test_agents_that_wait_for_money_hold_few_slots(make_engine: MakeEngine) -> None:
    """No more than at a gate."""
    engine = await make_engine(
        profiles=PROFILES,
        tenants=TENANTS,
        agents="tests.integration.workers.user_agents",
    )
    engine.service.slots = 2
    small = {"model": "dear/echo", "tenant": "small"}
    holding = await engine.submit(HOLD, session_id="h", **small, params=MANY)
    held = asyncio.create_task(engine.run(holding))
    await engine.said(holding)
    agents = [
        await engine.submit(SEVENTY, session_id=f"s{n}", agent="asking", **small, params=FEW)
        for n in range(3)
    ]
    runs = [asyncio.create_task(engine.run(agent)) for agent in agents]
    async with asyncio.timeout(20):
        for run in itertools.islice(asyncio.as_completed(runs), 2):
            assert (await run).reason == "parked"
    engine.service.end(holding.job_id)
    await asyncio.gather(held, *runs)


def held_of(engine: Engine, tenant: str) -> Query[int]:
    key = f"{engine.ledger.keys.spent(today(), tenant)}:held"
    return Query(commands=(Command("HLEN", key),), decode=lambda replies: int(replies[0]))


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"spend_hard": 5, "spend_unpriced": "warn"}, "completed"),
        ({"spend_soft": 5}, "completed"),
        ({"spend_soft": 5, "spend_unpriced": "refuse"}, "failed"),
        ({"spend_hard": 5}, "failed"),
    ],
)
async def test_what_nobody_can_count_is_told_or_refused(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture, limits: dict[str, Any], status: str
) -> None:
    engine = await make_engine(profiles={"free": SCRIPTED}, tenants={"acme": limits})
    for name in ("echo", "numbers"):
        events = await answered(engine, "acme", model=f"free/{name}", session_id=name)
        end = end_of(events)
        assert end["status"] == status
        if status == "completed":
            assert codes(events) == ["spend_unpriced"]
        else:
            assert end["error"]["type"] == "SpendLimitError"
            assert f"No price is known for free/{name}" in end["error"]["message"]
    told = [record for record in caplog.records if "tenant.spends_unpriced" in record.message]
    assert len(told) == (1 if status == "completed" else 0)
    assert codes(await answered(engine, "other", model="free/echo", session_id="o")) == []


async def test_what_workers_may_bounds_producers_without_a_table(make_engine: MakeEngine) -> None:
    """As soon as the worker has read it, and for a service that was there before."""
    engine = await make_engine(profiles=PROFILES, tenants={"acme": {"queued": 1}})
    own = engine.service.settings.model_copy(update={"tenants": {}})
    async with AsyncLedger(own) as producer:
        await producer.submit(ChatJob(messages="hi", tenant="acme"))
        with pytest.raises(QueueFullError):
            await producer.submit(ChatJob(messages="hi", tenant="acme"))
    kept = Query(commands=(Command("PTTL", engine.ledger.keys.tenants),), decode=lambda replies: replies[0])
    assert await engine.ledger.query(kept) > 24 * 3600 * 1000, "and when the last worker is gone"
