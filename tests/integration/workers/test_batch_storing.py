"""Batches whose store, Redis or other drivers are slow or away: results are stored, and no line fails."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from palaver.shared.batches import BatchJob, BatchLine, SliceIndex, new_batch_id
from palaver.shared.errors import ConfigurationError, FileStoreUnavailableError, PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Command, Query, operations
from palaver.shared.ledger.operations import batch_driving
from palaver.shared.responses import ChatResponse
from palaver.shared.stores import FileRef, FileStore
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches import driver as driving
from palaver.workers.batches import patience, storing
from palaver.workers.batches.lines import line_result
from tests.faults.proxy import Proxy
from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.doubles import PREFIX, Held
from tests.integration.workers.test_batches import (
    HASTE,
    Open,
    drive,
    open_batch_on,
    put_lines,
    results,
    until,
)
from tests.servers import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
async def engine(make_engine: MakeEngine, files_url: str) -> Engine:
    return await make_engine(files_url=files_url, **HASTE)


@pytest.fixture
def open_batch(engine: Engine) -> Open:
    return open_batch_on(engine)


def members(key: str) -> Query[list[str]]:
    return Query(
        commands=(Command("ZRANGE", key, 0, -1),),
        decode=lambda replies: [member.decode() for member in replies[0]],
    )


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    """Asked for before `make_engine`, it is there as long as the engines."""
    with Proxy(redis_server.port) as standing:
        yield standing


class OtherDriver:
    """One in another worker, that does what it is told."""

    def __init__(self, engine: Engine, batch: BatchJob) -> None:
        self.ledger = engine.ledger
        self.batch_id = batch.batch_id

    async def claim(self, room: int) -> list[int]:
        claiming = operations.claim_lines(
            self.ledger.keys,
            self.batch_id,
            token="other",
            ticket=1,
            worker="other",
            lease=60,
            room=room,
            window=room,
        )
        return list((await self.ledger.run(claiming)).lines)

    async def tell(self, *indexes: int) -> None:
        told = [
            line_result(index, f"line-{index}", ChatResponse(success=True, content="told"))
            for index in indexes
        ]
        await self.ledger.run(
            operations.note_results(
                self.ledger.keys,
                self.batch_id,
                token="other",
                results=told,
                retention=self.ledger.retention,
            )
        )

    async def leave(self) -> None:
        await self.ledger.run(operations.leave_batch(self.ledger.keys, self.batch_id, token="other"))


async def test_the_driver_that_stores_does_so_for_others_while_its_own_lines_take_long(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "FLUSH_SECONDS", 0.1)
    batch = await open_batch([{"text": "told"}] * 4 + [{"endless": True, "rate": 100}], window=4)
    other = OtherDriver(engine, batch)
    assert await other.claim(3) == [0, 1, 2]
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.flushed == 1 and view.running == 4)
    await other.tell(0, 1, 2)
    await until(engine, batch, lambda view: view.flushed == 4)
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_as_many_results_as_may_wait_are_stored_when_their_driver_is_gone(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "FLUSH_SECONDS", 0.1)
    monkeypatch.setattr(batch_driving, "WAITING_RESULTS", 3)
    batch = await open_batch([{"text": "told"}] * 4)
    other = OtherDriver(engine, batch)
    await other.tell(*await other.claim(3))
    await other.leave()
    assert await drive(engine, batch) == "completed"
    assert len(await results(engine, batch)) == 4


async def test_results_leave_the_ledger_while_the_batch_runs(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "PART_LINES", 10)
    batch = await open_batch([{"text": f"answer {n}"} for n in range(100)] + [{"endless": True, "rate": 100}])
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.counts.done == 100 and view.flushed > 90)
    assert len(await results(engine, batch)) == 100
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_results_that_redis_was_not_told_before_a_hand_over_are_told_after_it(
    proxy: Proxy, make_engine: MakeEngine, redis_url: str, files_url: str
) -> None:
    """Redis is away when the lines are answered and their worker is to leave; none is asked again."""
    profiles = {"held": {"kind": PREFIX + "Held"}}
    leaving, other = [
        await make_engine(redis_url=url, profiles=profiles, files_url=files_url, **HASTE)
        for url in (proxy.url, redis_url)
    ]
    provider, spare = (engine.provider("held", Held) for engine in (leaving, other))
    batch = await open_batch_on(other)([{"text": "x"}] * 3, model="held/m")
    driver = asyncio.create_task(drive(leaving, batch))
    await until(other, batch, lambda view: view.running == len(provider.asked) == 3)
    trap = proxy.hold("batch_done", reply=False)
    provider.gate.set()
    await asyncio.to_thread(trap.wait)
    draining = asyncio.create_task(leaving.service.drain(0))
    await asyncio.sleep(0.1)  # it is handed over by now
    assert not driver.done()
    proxy.reset()
    await draining
    assert await driver == "released"
    spare.gate.set()
    assert await drive(other, batch) == "completed"
    assert (len(await results(other, batch)), spare.asked) == (3, [])


@pytest.mark.parametrize("problem", [FileStoreUnavailableError, ConfigurationError])
async def test_no_line_fails_for_a_store_that_cannot_be_used(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, problem: type[PalaverError]
) -> None:
    """A driver that does not reach it leaves the lines to others, those that it has begun as well."""
    batch = BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=2)
    job = ChatJob(messages='{"text": "there"}', model="scripted/echo")
    lines = [BatchLine(index=index, custom_id=f"line-{index}", job=job).to_line() for index in range(2)]
    await put_lines(engine, batch, lines, each=1)
    await engine.ledger.open_batch(batch)
    read = BatchFiles.slice

    async def read_the_first(files: BatchFiles, batch: BatchJob, first: int) -> list[bytes]:
        if first:
            raise problem
        return await read(files, batch, first)

    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(BatchFiles, "slice", read_the_first)
        assert await drive(engine, batch) == "released"
    assert (await engine.ledger.batch(batch.batch_id)).running == 0
    assert await drive(engine, batch) == "completed"
    assert (await engine.ledger.batch(batch.batch_id)).counts.completed == 2


@pytest.fixture
async def of_a_file(engine: Engine, open_batch: Open) -> BatchJob:
    """A batch of one line, about a file."""
    ref = await FileStore.of(engine.service.settings).put(b"what is in it", filename="a.txt")
    return await open_batch([{"text": "read"}], each={"files": [ref.id]})


async def refuse(*_: object) -> None:
    raise FileStoreUnavailableError


def away(
    monkeypatch: pytest.MonkeyPatch, *, times: int, error: type[PalaverError] = FileStoreUnavailableError
) -> None:
    """The store answers nobody who asks for a file, so many times."""
    stat, refusals = FileStore.stat, iter(range(times))

    async def ask(store: FileStore, *args: Any) -> FileRef:
        if next(refusals, None) is not None:
            raise error
        return await stat(store, *args)

    monkeypatch.setattr(FileStore, "stat", ask)


@pytest.mark.parametrize("error", patience.NO_STORE)
async def test_a_line_waits_for_the_store_of_its_files(
    engine: Engine, of_a_file: BatchJob, monkeypatch: pytest.MonkeyPatch, error: type[PalaverError]
) -> None:
    away(monkeypatch, times=2, error=error)
    monkeypatch.setattr(patience, "PAUSES", (0.01, 0.01))
    assert await drive(engine, of_a_file) == "completed"
    assert (await results(engine, of_a_file))[0].response.success


async def test_no_line_fails_for_a_store_that_has_gone_since_it_was_read(
    engine: Engine, of_a_file: BatchJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch, times=1)
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    with monkeypatch.context() as broken:
        slices = BatchFiles.slices

        async def read_once(files: BatchFiles, batch: BatchJob) -> SliceIndex:
            broken.setattr(BatchFiles, "slices", refuse)
            return await slices(files, batch)

        broken.setattr(BatchFiles, "slices", read_once)
        assert await drive(engine, of_a_file) == "released"
    assert (await engine.ledger.batch(of_a_file.batch_id)).running == 0
    assert await drive(engine, of_a_file) == "completed"
    assert (await results(engine, of_a_file))[0].response.success


async def test_a_file_that_cannot_be_read_in_a_store_that_can_fails_its_line_alone(
    engine: Engine, of_a_file: BatchJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    away(monkeypatch, times=2)
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    assert await drive(engine, of_a_file) == "completed"
    result = (await results(engine, of_a_file))[0]
    assert result.response.error_info is not None
    assert (result.custom_id, result.response.error_info.code) == ("line-0", "file_store_unavailable")


async def test_a_driver_leaves_a_batch_whose_output_cannot_be_stored(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await open_batch([{"text": "x"}])

    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(BatchFiles, "put_part", refuse)
        assert await drive(engine, batch) == "no_store"
    assert await drive(engine, batch) == "completed"
    assert set(await results(engine, batch)) == {0}


async def test_a_driver_that_cannot_store_what_waits_leaves_the_batch_with_its_lines(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    monkeypatch.setattr(driving, "FLUSH_SECONDS", 0.0)
    batch = await open_batch([{"text": "x"}, {"endless": True, "rate": 100}])
    with monkeypatch.context() as broken:
        broken.setattr(storing, "PART_LINES", 1)
        broken.setattr(BatchFiles, "put_part", refuse)
        assert await drive(engine, batch) == "released"
    assert (await engine.ledger.batch(batch.batch_id)).running == 0
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.flushed == 1)
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_lines_that_run_are_not_asked_again_for_a_few_results_that_cannot_be_stored(
    engine: Engine, open_batch: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)
    monkeypatch.setattr(driving, "FLUSH_SECONDS", 0.0)
    batch = await open_batch([{"text": "x"}, {"endless": True, "rate": 100}])
    put_part, refused = BatchFiles.put_part, asyncio.Event()

    async def put(files: BatchFiles, *part: Any) -> None:
        if refused.is_set():
            return await put_part(files, *part)
        refused.set()
        raise FileStoreUnavailableError

    monkeypatch.setattr(BatchFiles, "put_part", put)
    driver = asyncio.create_task(drive(engine, batch))
    await until(engine, batch, lambda view: view.flushed == 1)
    assert refused.is_set()
    assert not driver.done()
    await engine.ledger.cancel_batch(batch.batch_id)
    await driver


async def test_an_output_that_was_not_finished_is_written_again(
    make_engine: MakeEngine, engine: Engine, open_batch: Open, files_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first driver dies between its two files: it has stored all results, and its lease runs out."""
    batch = await open_batch([{"text": f"answer {n}"} for n in range(5)])
    hangs = asyncio.Event()

    async def hang(*_: object) -> None:
        hangs.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as broken:
        broken.setattr(BatchFiles, "put_errors", hang)
        driver = asyncio.create_task(drive(engine, batch))
        await hangs.wait()
    leases = f"{engine.ledger.keys.base(batch.batch_id)}:batch:leases"
    (token,) = await engine.ledger.query(members(leases))
    await engine.ledger.run(operations.leave_batch(engine.ledger.keys, batch.batch_id, token=token))
    other = await make_engine(files_url=files_url, **HASTE)
    assert await drive(other, batch) == "completed"
    assert await driver in ("fenced", "job_ended")
    files = BatchFiles.of(engine.service.settings)
    output = b"".join([piece async for piece in files.output(batch.batch_id)]).splitlines()
    assert len(output) == 5
