"""A worker that meets a job of a newer version."""

from pathlib import Path

import orjson
import pytest

from palaver.shared.batches import BatchJob, BatchStatus, new_batch_id
from palaver.shared.contract import VERSION
from palaver.shared.jobs import ChatJob, Status
from tests.integration.workers.conftest import Engine, MakeEngine

pytestmark = pytest.mark.redis


async def submitted(engine: Engine, **new: object) -> ChatJob:
    """A job as a newer producer has stored it."""
    job = await engine.submit("one two", version=VERSION + 1, priority=9)
    key = engine.ledger.keys.job("s1", job.job_id)
    document = orjson.loads(engine.client.hget(key, "doc") or b"")
    engine.client.hset(key, "doc", orjson.dumps({**document, **new}))
    return job


async def test_what_it_can_read_it_does(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    job = await submitted(engine)
    assert (await engine.run(job)).status is Status.COMPLETED


async def test_what_it_cannot_read_is_left_to_one_that_can(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    job = await submitted(engine, dream=True)
    for _ in range(4):  # more often than a job may fail
        assert (await engine.run(job)).reason == "parked"
        view = await engine.ledger.job(job.job_id)
        assert (view.status, view.failures, view.gate) == (Status.RUNNING, 0, None)
        assert view.due is not None
        engine.client.hset(engine.ledger.keys.job("s1", job.job_id), "resume", 0)  # its time has come
    key = engine.ledger.keys.job("s1", job.job_id)
    document = orjson.loads(engine.client.hget(key, "doc") or b"")
    del document["dream"]  # who knows what that is reads the rest as we do
    engine.client.hset(key, "doc", orjson.dumps(document))
    assert (await engine.run(job)).status is Status.COMPLETED


async def test_it_can_be_cancelled(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    job = await submitted(engine, dream=True)
    await engine.run(job)
    await engine.ledger.cancel("s1", job.job_id)
    await engine.run(job)
    assert (await engine.ledger.job(job.job_id)).status is Status.CANCELLED


async def test_a_batch_is_looked_at_and_left_to_a_newer_worker(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = await make_engine(files_url=f"file://{tmp_path}/files")
    batch = BatchJob(version=VERSION + 1, batch_id=new_batch_id(None, None), input="0" * 64, total=3)
    await engine.ledger.open_batch(batch)
    key = f"{engine.ledger.keys.base(batch.batch_id)}:batch"
    document = orjson.loads(engine.client.hget(key, "doc") or b"")
    engine.client.hset(key, "doc", orjson.dumps({**document, "colour": "red"}))
    assert await engine.service.drive(batch.batch_id) == "newer"
    view = await engine.ledger.batch(batch.batch_id)
    assert (view.status, view.counts.done, view.batch.is_newer) == (BatchStatus.IN_PROGRESS, 0, True)
