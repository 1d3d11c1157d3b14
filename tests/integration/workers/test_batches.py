"""Batches through engines, without Celery: a real Redis, a folder, and providers as each test wants them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from palaver.shared.batches import (
    SLICE,
    BatchJob,
    BatchLine,
    BatchResult,
    BatchStatus,
    BatchView,
    SliceIndex,
    line_id,
    new_batch_id,
)
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import operations
from palaver.shared.messages import Message, Role
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers import requests, workshop
from tests.integration.workers.conftest import Engine, MakeEngine, completed, stand
from tests.integration.workers.doubles import PREFIX, Held
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

Open = Callable[..., Awaitable[BatchJob]]

HASTE = {"lease_seconds": 60, "renew_seconds": 0.2}


@pytest.fixture
async def engine(make_engine: MakeEngine, files_url: str) -> Engine:
    return await make_engine(files_url=files_url, **HASTE)


def open_batch_on(engine: Engine) -> Open:
    """Store a batch of these scripts."""

    async def make(
        scripts: Sequence[dict[str, Any]], *, model: str = "scripted/echo", each: Any = None, **fields: Any
    ) -> BatchJob:
        batch = BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=len(scripts), **fields)
        texts = [orjson.dumps(script).decode() for script in scripts]
        jobs = [ChatJob(messages=text, model=model, **(each or {})) for text in texts]
        lines = [
            BatchLine(index=index, custom_id=f"line-{index}", job=job).to_line()
            for index, job in enumerate(jobs)
        ]
        await engine.ledger.note_batch(batch)
        await put_lines(engine, batch, lines)
        await engine.ledger.open_batch(batch)
        return batch

    return make


async def put_lines(engine: Engine, batch: BatchJob, lines: Sequence[bytes], *, each: int = SLICE) -> None:
    """Store these lines, so many in a slice."""
    files = BatchFiles.of(engine.service.settings)
    slices = [
        (first, await files.put_slice(batch, first, lines[first : first + each]))
        for first in range(0, len(lines), each)
    ]
    await files.put_slices(batch, SliceIndex(slices, batch.total))


@pytest.fixture
def open_batch(engine: Engine) -> Open:
    return open_batch_on(engine)


async def drive(engine: Engine, batch: BatchJob) -> str:
    async with asyncio.timeout(30):
        return await engine.service.drive(batch.batch_id)


async def results(engine: Engine, batch: BatchJob) -> dict[int, BatchResult]:
    """All results, from the ledger and the parts."""
    files, found = BatchFiles.of(engine.service.settings), list[bytes]()
    while True:
        page = await engine.ledger.batch_results(batch.batch_id, after=len(found))
        if page.part is None and not page.lines:
            break
        found += page.lines
        if page.part is not None:
            first, _ = page.part
            found += (await files.part(batch.batch_id, *page.part))[len(found) + 1 - first :]
    parsed = [BatchResult.model_validate_json(line) for line in found]
    assert len({result.index for result in parsed}) == len(parsed), "a line has two results"
    return {result.index: result for result in parsed}


async def until(engine: Engine, batch: BatchJob, condition: Callable[[BatchView], object]) -> None:
    async with asyncio.timeout(20):
        while not condition(await engine.ledger.batch(batch.batch_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_batch_is_answered_stored_and_ended(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": f"answer {n}"} for n in range(20)] + [{"fail": {"status": 400}}])
    assert await drive(engine, batch) == "completed"
    found = await results(engine, batch)
    assert [found[n].response.content for n in range(20)] == [f"answer {n}" for n in range(20)]
    assert not found[20].response.success
    view = await engine.ledger.batch(batch.batch_id)
    assert (view.status, view.counts.completed, view.counts.failed) == (BatchStatus.COMPLETED, 20, 1)
    assert (view.tokens > 0, view.stored, view.flushed) == (True, True, 21)
    files = BatchFiles.of(engine.service.settings)
    output = b"".join([piece async for piece in files.output(batch.batch_id)]).splitlines()
    assert {orjson.loads(line)["custom_id"] for line in output} == {f"line-{n}" for n in range(20)}
    errors = b"".join([piece async for piece in files.errors(batch.batch_id)]).splitlines()
    assert [orjson.loads(line)["custom_id"] for line in errors] == ["line-20"]
    events = await engine.ledger.events(batch.batch_id)
    kinds = [orjson.loads(event)["type"] for event in events]
    assert set(kinds) == {"progress", "stream_end"}, "no event of a line"
    assert await drive(engine, batch) == "job_ended"


async def test_no_more_lines_run_at_once_than_the_window_says(
    make_engine: MakeEngine, server: ModelServer, files_url: str
) -> None:
    profile = {"kind": "openai", "base_url": server.openai_url}
    engine = await make_engine(files_url=files_url, profiles={"http": profile}, **HASTE)
    batch = await open_batch_on(engine)([{"n": 5, "rate": 100}] * 30, model="http/m", window=4)
    assert await drive(engine, batch) == "completed"
    assert server.stats()["max_open"] == 4


async def test_a_line_of_several_requests_is_whole(engine: Engine, open_batch: Open) -> None:
    rounds = [{"text": "one ", "finish_reason": "length"}, {"text": "two"}]
    batch = await open_batch([{"rounds": rounds}] * 3, each={"complete": True})
    assert await drive(engine, batch) == "completed"
    found = await results(engine, batch)
    assert [found[n].response.content for n in range(3)] == ["one two"] * 3


async def test_equal_lines_are_asked_once_when_that_is_wanted(
    make_engine: MakeEngine, server: ModelServer, files_url: str
) -> None:
    profile = {"kind": "openai", "base_url": server.openai_url}
    engine = await make_engine(files_url=files_url, profiles={"http": profile}, **HASTE)
    batch = await open_batch_on(engine)([{"n": 5}] * 30 + [{"n": 6}], model="http/m", dedupe=True)
    assert await drive(engine, batch) == "completed"
    assert server.stats()["requests"] == 2
    assert (await engine.ledger.batch(batch.batch_id)).counts.completed == 31
    kept = [engine.client.ttl(key) for key in engine.client.scan_iter(engine.ledger.keys.answer("*"))]
    assert len(kept) == 2
    assert min(kept) > 23 * 3600, "the last of equal lines may run when the batch is to end"


async def test_a_cancel_ends_what_runs_and_keeps_what_is_done(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "done"}] * 3 + [{"endless": True, "rate": 100}] * 17, window=10)
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.counts.done == 3 and view.running == 10)
    assert await engine.ledger.cancel_batch(batch.batch_id) is BatchStatus.CANCELLING
    assert await driver == "left"
    assert await drive(engine, batch) == "cancelled"
    assert set(await results(engine, batch)) == {0, 1, 2}


async def test_lines_that_are_left_when_the_window_closes_expire(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "done"}] * 3 + [{"endless": True, "rate": 100}] * 17, window=10)
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.counts.done == 3 and view.running == 10)
    engine.client.hset(f"{engine.ledger.keys.base(batch.batch_id)}:batch", "expires", 1)
    assert await driver == "expired"
    found = await results(engine, batch)
    infos = [found[n].response.error_info for n in range(20)]
    assert [info and info.code for info in infos] == [None] * 3 + ["job_expired"] * 17


async def test_the_first_failure_ends_a_batch_that_is_to_fail_fast(engine: Engine, open_batch: Open) -> None:
    scripts = [{"fail": {"status": 400}}, *[{"endless": True, "rate": 100}] * 9]
    batch = await open_batch(scripts, fail_fast=True)
    assert await drive(engine, batch) == "left"
    assert await drive(engine, batch) == "cancelled"
    assert set(await results(engine, batch)) == {0}


async def test_a_worker_that_hands_over_gives_its_lines_back_at_once(
    make_engine: MakeEngine, files_url: str
) -> None:
    slow = {"scripted": {"kind": "scripted", "options": {"rate": 2}}}
    engine = await make_engine(files_url=files_url, profiles=slow, **HASTE)
    batch = await open_batch_on(engine)([{"n": 20}] * 10, window=10)  # for ten seconds
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.running == 10)
    await engine.service.drain(0)
    assert await driver == "released"
    assert (await engine.ledger.batch(batch.batch_id)).running == 0
    assert await drive(engine, batch) == "draining"
    other = await make_engine(files_url=files_url, **HASTE)
    assert await drive(other, batch) == "completed"
    assert len(await results(other, batch)) == 10


async def test_a_job_of_a_chat_begins_in_the_middle_of_a_batch(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"endless": True, "rate": 100}] * 20)
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.running == 20)
    told = engine.service._presence.told()
    assert (told["running"], told["batches"]) == (1, 1), "a batch takes a slot, and is no job"
    job = await engine.submit({"text": "Hello"})
    assert (await engine.run(job)).status is Status.COMPLETED
    await engine.ledger.cancel_batch(batch.batch_id)
    assert await driver == "left"


async def test_a_gate_lets_a_chat_in_by_turns_with_a_batch(make_engine: MakeEngine, files_url: str) -> None:
    """Many lines wait at the gate before the job comes; half of the places are its all the same."""
    profile = {"kind": PREFIX + "Held", "limits": {"concurrent": 1}}
    engine = await make_engine(files_url=files_url, profiles={"one": profile}, **HASTE)
    batch = await open_batch_on(engine)([{"text": "line"}] * 50, model="one/echo", window=50)
    driver = asyncio.create_task(drive(engine, batch))
    await stand(engine, "one", running=1, waiting=49)
    job = await engine.submit({"text": "Hello"}, model="one/echo")
    running = asyncio.create_task(completed(engine, job))
    await stand(engine, "one", running=1, waiting=50)
    provider = engine.provider("one", Held)
    provider.gate.set()
    await running
    order = ["Hello" in request.messages[-1].text for request in provider.asked]
    assert order.index(True) < 3, order
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_a_line_that_killed_its_workers_is_given_up(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "deadly"}, {"text": "harmless"}])
    deaths = f"{engine.ledger.keys.base(batch.batch_id)}:batch:deaths"
    engine.client.hset(deaths, "0", operations.POISONED_AFTER)
    engine.client.expire(deaths, 60)
    assert await drive(engine, batch) == "completed"
    found = await results(engine, batch)
    assert found[0].response.error_info is not None
    assert found[0].response.error_info.code == "job_poisoned"
    assert found[1].response.success


async def test_a_line_that_nobody_stored_fails_alone(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "there"}])
    more = batch.model_copy(update={"batch_id": new_batch_id(None, None), "total": 3})
    await put_lines(engine, more, await BatchFiles.of(engine.service.settings).slice(batch, 0))
    await engine.ledger.open_batch(more)
    assert await drive(engine, more) == "completed"
    found = await results(engine, more)
    assert [found[n].response.success for n in range(3)] == [True, False, False]


async def test_what_the_lines_have_spent_is_counted_once(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "one two"}] * 5 + [{"fail": {"status": 400}}], tenant="acme")
    assert await drive(engine, batch) == "completed"
    for _ in range(2):
        turn = await engine.ledger.sweep_turn(period=0)
        assert turn is not None
        await engine.ledger.sweep(turn)
        await engine.ledger.open_batch(batch)  # has the next sweep look again
    today = datetime.now(UTC).date()
    (row,) = await engine.ledger.usage(since=today - timedelta(days=1), until=today, tenant="acme")
    assert (row.model, row.jobs, row.requests) == ("scripted/echo", 5, 5)
    assert row.input_tokens + row.output_tokens == (await engine.ledger.batch(batch.batch_id)).tokens


async def test_lines_that_cannot_be_read_fail_alone(engine: Engine) -> None:
    batch = BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=4)
    line = BatchLine(index=1, custom_id="good", job=ChatJob(messages="Hi", model="scripted/echo"))
    newer = b'{"index":3,"custom_id":"newer","job":{"messages":"Hi","unheard_of":1}}\n'
    await put_lines(engine, batch, [b"garbage\n", line.to_line(), b'{"index":2}\n', newer])
    await engine.ledger.open_batch(batch)
    assert await drive(engine, batch) == "completed"
    found = await results(engine, batch)
    assert [found[n].response.success for n in range(4)] == [False, True, False, False]
    ids = [line_id(batch.batch_id, index) for index in range(4)]
    assert [found[n].custom_id for n in range(4)] == [ids[0], "good", ids[2], "newer"]
    assert found[3].response.error_info is not None
    assert found[3].response.error_info.param == "unheard_of"


async def open_large(engine: Engine, script: str, *, model: str) -> BatchJob:
    """Store a batch of eight lines of 100 kB, each in a slice of its own."""
    batch = BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=8)
    messages = [Message(role=Role.USER, content=content) for content in ("x" * 100_000, script)]
    job = ChatJob(messages=messages, model=model)
    lines = [BatchLine(index=index, custom_id=f"line-{index}", job=job).to_line() for index in range(8)]
    await put_lines(engine, batch, lines, each=1)
    await engine.ledger.open_batch(batch)
    return batch


async def test_large_lines_run_as_memory_has_room_for_them(
    make_engine: MakeEngine, server: ModelServer, files_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight, two at a time."""
    monkeypatch.setattr(workshop, "LINE_BYTES", 250_000)
    profile = {"kind": "openai", "base_url": server.openai_url}
    engine = await make_engine(files_url=files_url, profiles={"http": profile}, **HASTE)
    batch = await open_large(engine, '{"n": 5, "rate": 50}', model="http/m")
    assert await drive(engine, batch) == "completed"
    assert server.stats()["max_open"] == 2
    assert (await engine.ledger.batch(batch.batch_id)).counts.completed == 8


async def test_large_lines_that_wait_for_their_provider_keep_no_other_batch_waiting(
    make_engine: MakeEngine, files_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "LINE_BYTES", 250_000)
    profiles = {"held": {"kind": PREFIX + "Held"}, "scripted": {"kind": "scripted", "options": {"rate": 0}}}
    engine = await make_engine(files_url=files_url, profiles=profiles, **HASTE)
    held = await open_large(engine, "waits", model="held/m")
    waiting, provider = asyncio.create_task(drive(engine, held)), engine.provider("held", Held)
    await until(engine, held, lambda view: view.running == 8 and len(provider.asked) == 2)
    assert await drive(engine, await open_batch_on(engine)([{"text": "small"}] * 3)) == "completed"
    large = await open_large(engine, '{"text": "large"}', model="scripted/echo")
    assert await drive(engine, large) == "completed"
    provider.gate.set()
    assert await waiting == "completed"


async def test_a_worker_that_has_not_the_input_leaves_it_to_others(
    make_engine: MakeEngine, engine: Engine, open_batch: Open, tmp_path: Path
) -> None:
    batch = await open_batch([{"text": "x"}])
    other = await make_engine(files_url=f"file://{tmp_path}/other")
    assert await drive(other, batch) == "no_input"
    assert await drive(engine, batch) == "completed"


async def test_a_line_waits_longer_than_a_job_for_a_provider_that_is_away(
    make_engine: MakeEngine, server: ModelServer, files_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its breaker opens with the first failure; a job would not wait at all."""
    monkeypatch.setattr(requests, "PATIENCE", 0.0)
    breaker = {"failures": 1, "pause": 0.5}
    profile = {"kind": "openai", "base_url": server.openai_url, "breaker": breaker}
    engine = await make_engine(files_url=files_url, profiles={"http": profile}, **HASTE)
    script = {"n": 3, "key": "waits", "fail": {"status": 500, "times": 1}}
    batch = await open_batch_on(engine)([script], model="http/m")
    assert await drive(engine, batch) == "completed"
    assert (await results(engine, batch))[0].response.success


async def test_a_second_message_for_a_batch_does_nothing(engine: Engine, open_batch: Open) -> None:
    batch = await open_batch([{"endless": True, "rate": 100}])
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.drivers == 1)
    assert await drive(engine, batch) == "busy"
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_a_worker_without_a_store_drives_nothing(make_engine: MakeEngine, open_batch: Open) -> None:
    batch = await open_batch([{"text": "x"}])
    other = await make_engine()
    assert await drive(other, batch) == "no_files"


async def test_lines_are_some_of_those_that_a_tenant_may_have_run(
    make_engine: MakeEngine, files_url: str, server: ModelServer
) -> None:
    profiles = {"http": {"kind": "openai", "base_url": server.openai_url}}
    tenants = {"acme": {"running": 3, "user_running": 1}}
    engine = await make_engine(files_url=files_url, profiles=profiles, tenants=tenants, **HASTE)
    make, scripts = open_batch_on(engine), [{"n": 3, "rate": 50}] * 6
    batches = [await make(scripts, model="http/m", tenant="acme", window=6) for _ in range(2)]
    of_a_user = await make(scripts[:3], model="http/m", tenant="acme", user="ann")
    jobs = [await engine.submit("hi", model="http/m", session_id=f"s{n}", tenant="acme") for n in range(2)]
    driving = [drive(engine, batch) for batch in (*batches, of_a_user)]
    became = await asyncio.gather(*driving, *(engine.run(job) for job in jobs))
    assert became[:3] == ["completed"] * 3
    assert server.stats()["max_open"] <= 3


async def test_lines_that_wait_for_their_provider_are_none_of_those_that_run(
    make_engine: MakeEngine, files_url: str, server: ModelServer
) -> None:
    http = {"kind": "openai", "base_url": server.openai_url}
    profiles = {"http": {**http, "limits": {"concurrent": 1}}, "spare": http}
    tenants = {"acme": {"running": 1}}
    engine = await make_engine(files_url=files_url, profiles=profiles, tenants=tenants, **HASTE)
    hold = await engine.submit({"n": 2, "fail": {"kind": "idle", "after": 1}}, model="http/m", session_id="a")
    holding = asyncio.create_task(engine.run(hold))
    await engine.said(hold)
    batch = await open_batch_on(engine)([{"n": 2}] * 2, model="http/m", tenant="acme")
    driving = asyncio.create_task(drive(engine, batch))
    async with asyncio.timeout(20):
        while not [gate for gate in await engine.ledger.gates() if gate.name == "http" and gate.waiting]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # Its message comes again and again, as that of a job that is sent when its tenant has room.
    passing = await engine.submit({"n": 2}, model="spare/m", session_id="b", tenant="acme")
    async with asyncio.timeout(20):
        while (await engine.run(passing)).status is not Status.COMPLETED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await engine.ledger.cancel("a", hold.job_id)
    await holding
    assert await driving == "completed"
    assert server.stats()["max_open"] == 2
