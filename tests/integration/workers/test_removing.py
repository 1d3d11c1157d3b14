"""Objects of batches leave the store when the ledger has forgotten their batch, whoever dies meanwhile."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.errors import FileStoreUnavailableError
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches import Removing
from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.test_batches import HASTE, drive, open_batch_on
from tests.integration.workers.test_engine import KeptPost

pytestmark = pytest.mark.redis


@pytest.fixture
async def engine(make_engine: MakeEngine, files_url: str) -> Engine:
    return await make_engine(files_url=files_url, **HASTE)


def stored(files_url: str) -> set[str]:
    """The batches of which there is something in the store, be it an empty folder."""
    return {path.name for path in (Path(files_url.removeprefix("file://")) / "batches").glob("*")}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_batch_is_removed_from_the_store_when_the_ledger_has_forgotten_it(
    make_engine: MakeEngine, files_url: str
) -> None:
    engine = await make_engine(files_url=files_url, **HASTE)
    client, keys, open_batch = engine.client, engine.ledger.keys, open_batch_on(engine)
    batch, going_on = await open_batch([{"text": "x"}]), await open_batch([{"text": "y"}])
    assert await drive(engine, batch) == "completed"
    await engine.service.serve(KeptPost())  # which sweeps
    await until(lambda: client.zscore(keys.batches, batch.batch_id) is None)
    ended = (await engine.ledger.batch(batch.batch_id)).ended_at
    assert ended is not None
    kept_until = client.zscore(keys.stored_batches, batch.batch_id)
    assert kept_until == pytest.approx((ended + engine.ledger.retention.batch) * 1000, abs=2)

    assert stored(files_url) == {batch.batch_id, going_on.batch_id}
    client.unlink(*client.scan_iter(f"{keys.base(batch.batch_id)}:*"))  # thirty days pass
    client.zadd(keys.stored_batches, {batch.batch_id: 1, going_on.batch_id: 1})
    await (await make_engine(files_url=files_url, **HASTE)).service.serve(KeptPost())
    await until(lambda: not client.zscore(keys.stored_batches, batch.batch_id))
    assert stored(files_url) == {going_on.batch_id}
    assert await drive(engine, going_on) == "completed"


async def test_a_removal_is_ended_by_another_when_its_worker_dies(
    engine: Engine, files_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch that was stored and never opened; another one cannot be removed at all."""
    files, keys = BatchFiles.of(engine.service.settings), engine.ledger.keys
    batch, stuck = (BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=1) for _ in range(2))
    for each in (batch, stuck):
        await engine.ledger.note_batch(each)
        await files.put_slice(each, 0, [b"line"])
        engine.client.zadd(keys.stored_batches, {each.batch_id: 1})
    hangs, delete = asyncio.Event(), BatchFiles.delete

    async def hang(*_: object) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async def refuse(files: BatchFiles, batch_id: str) -> None:
        if batch_id == stuck.batch_id:
            raise FileStoreUnavailableError("no")
        await delete(files, batch_id)

    monkeypatch.setattr(BatchFiles, "delete", hang)
    dying = asyncio.create_task(Removing(engine.ledger, files, taken=0.2).run())
    await hangs.wait()
    dying.cancel()
    monkeypatch.setattr(BatchFiles, "delete", refuse)
    living = asyncio.create_task(Removing(engine.ledger, files, period=0.01, taken=0.2).run())
    await until(lambda: stored(files_url) == {stuck.batch_id})
    monkeypatch.setattr(BatchFiles, "delete", delete)
    await until(lambda: not engine.client.exists(keys.stored_batches))
    living.cancel()
    assert stored(files_url) == set()
