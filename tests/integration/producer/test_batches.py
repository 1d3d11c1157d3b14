"""Batches by the client: what is stored, what comes back and when, cancelling, retrying."""

import json
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from palaver.producer import AsyncClient, BatchHandle, Client
from palaver.producer.batches import watching
from palaver.producer.cli import status
from palaver.shared.batches import SLICE, BatchJob, BatchResult, BatchStatus, new_batch_id
from palaver.shared.beside import LARGE_BYTES
from palaver.shared.errors import (
    BatchInputError,
    BatchNotFoundError,
    ConfigurationError,
    ConflictError,
    FileMissingError,
    FileStoreUnavailableError,
    JobExpiredError,
    JobNotFinishedError,
    LedgerUnavailableError,
    ValidationError,
    WaitTimeoutError,
    WrongStateError,
)
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.testing import LocalSystem
from tests.integration.producer.driver import Driver, fail

pytestmark = pytest.mark.redis

HOOK = "https://example.org/hook"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"files_url": f"file://{tmp_path}/files"})


@pytest.fixture
def stored(tmp_path: Path) -> Any:
    return lambda: sorted(path for path in (tmp_path / "files").rglob("*") if path.is_file())


def prompts(count: int) -> list[str]:
    return [f"prompt {index}" for index in range(count)]


def test_results_are_there_as_soon_as_they_are_done(client: Client) -> None:
    handle = client.batch(prompts(4))
    driver = Driver(client, handle)
    first, second, third, fourth = driver.claim()
    live = handle.results(order="completion")
    driver.answer(third)
    assert next(live).index == 2, "from the ledger"
    driver.answer(first)
    driver.flush()
    driver.answer(fourth)
    assert [next(live).index, next(live).index] == [0, 3], "from a part, then from the ledger"
    driver.answer(second)
    assert driver.end() is BatchStatus.COMPLETED
    assert [result.response.content for result in live] == ["prompt 1"]
    again = [(result.index, result.custom_id) for result in handle.results(order="completion")]
    assert again == [(2, "line-3"), (0, "line-1"), (3, "line-4"), (1, "line-2")]


def test_a_line_waits_for_its_provider_as_long_as_the_batch_has(tmp_path: Path) -> None:
    """A job would wait for a second."""
    with (
        LocalSystem(files_url=f"file://{tmp_path}/files", deadline=1) as system,
        Client(system.settings) as client,
        SyncLedger(system.settings) as ledger,
    ):
        ledger.query(operations.pause_profile(ledger.keys, "scripted", by="ann@desk", seconds=2))
        handle = client.batch(prompts(2), model="scripted/echo", completion_window=60)
        assert [result.response.error for result in handle.results()] == [None, None]


def test_results_in_the_order_of_the_lines_wait_for_the_first(client: Client) -> None:
    handle = client.batch(prompts(600))
    driver = Driver(client, handle)
    lines = driver.claim()
    ordered = handle.results()
    driver.answer(*reversed(lines[300:]))
    driver.answer(lines[0])
    assert next(ordered).index == 0
    driver.answer(*lines[1:300])
    driver.end()
    assert [result.response.content for result in ordered] == prompts(600)[1:]


def test_a_batch_says_how_far_it_is(client: Client) -> None:
    handle = client.batch(prompts(3), metadata={"for": "tests"}, window=7)
    assert (handle.status, handle.progress.counts.total) == (BatchStatus.IN_PROGRESS, 3)
    with pytest.raises(WaitTimeoutError, match="goes on"):
        handle.wait(timeout=0)
    driver = Driver(client, handle)
    first, *others = driver.claim()
    driver.answer(first, by=fail)
    assert (handle.progress.counts.failed, handle.progress.running) == (1, 2)
    driver.answer(*others)
    driver.end()
    view = client.batches(handle.batch_id).wait(timeout=10)
    assert (view.status, view.counts.completed, view.tokens) == (BatchStatus.COMPLETED, 2, 3)
    assert (view.batch.metadata, view.batch.window) == ({"for": "tests"}, 7)
    events = list(handle.events())
    assert {event.type for event in events} == {"progress", "stream_end"}
    assert events[-1].type == "stream_end"
    assert list(handle.events(after=events[-1].seq)) == []


def test_events_of_a_batch_that_runs_end_with_it(client: Client) -> None:
    handle = client.batch(prompts(1))
    driver = Driver(client, handle)
    events = handle.events()
    driver.answer(*driver.claim())
    assert next(events).type == "progress"
    driver.end()
    assert [event.type for event in events][-1] == "stream_end"


def test_nothing_is_stored_when_a_line_is_wrong(client: Client, stored: Any) -> None:
    with pytest.raises(BatchInputError, match="1 of 301 lines"):
        client.batch([*prompts(300), {"messages": ""}], idempotency_key="k")
    assert stored() == []
    assert client.batch(["hi"], idempotency_key="k").progress.counts.total == 1


def test_nothing_is_stored_when_reading_is_interrupted(client: Client, stored: Any) -> None:
    def jobs() -> Iterator[str]:
        yield from prompts(300)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.batch(jobs())
    assert stored() == []


def test_what_cannot_be_stored_is_not_opened(client: Client, tmp_path: Path) -> None:
    client.batch(["hi"])
    folder = tmp_path / "files/batches"
    folder.rename(tmp_path / "files/other")
    folder.write_text("in its place is a file")
    with pytest.raises(FileStoreUnavailableError):
        client.batch(["hi"], idempotency_key="k")
    with pytest.raises(BatchNotFoundError):
        client.batches(new_batch_id(None, "k"))


def test_what_was_stored_is_removed_when_the_rest_cannot_be(
    client: Client, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BatchFiles.put_slice

    async def put_some(files: BatchFiles, batch: BatchJob, index: int, lines: Any) -> None:
        if index == 8 * SLICE:
            assert stored()
            raise FileStoreUnavailableError
        await put(files, batch, index, lines)

    monkeypatch.setattr(BatchFiles, "put_slice", put_some)
    with pytest.raises(FileStoreUnavailableError):
        client.batch(prompts(9 * SLICE))
    assert stored() == []


def test_a_file_that_a_line_names_has_to_be_there(client: Client, stored: Any) -> None:
    with pytest.raises(FileMissingError):
        client.batch([{"messages": "hi", "files": ["nothing"]}])
    assert stored() == []


def test_lines_that_are_left_out_are_told_in_the_store(client: Client, stored: Any) -> None:
    handle = client.batch(["fine", {"messages": ""}], skip_invalid=True)
    assert (handle.progress.batch.total, handle.progress.batch.invalid) == (1, 1)
    assert b'"line":2' in next(path for path in stored() if path.name == "invalid.jsonl").read_bytes()


def test_a_key_names_one_batch(client: Client, stored: Any) -> None:
    first = client.batch(prompts(2), idempotency_key="k", fail_fast=True)
    before = stored()
    assert client.batch(prompts(2), idempotency_key="k", fail_fast=True).batch_id == first.batch_id
    for other in ({"idempotency_key": "k"}, {"idempotency_key": "k", "window": 3, "fail_fast": True}):
        with pytest.raises(ConflictError):
            client.batch(prompts(2), **other)
    with pytest.raises(ConflictError):
        client.batch(prompts(3), idempotency_key="k", fail_fast=True)
    assert stored() == before
    assert client.batch(prompts(3), idempotency_key="k", tenant="acme").batch_id != first.batch_id


def test_a_model_that_nobody_serves_is_a_wrong_line(client: Client, tmp_path: Path) -> None:
    (tmp_path / "palaver.toml").write_text('[providers.mine]\nkind = "scripted"\n')
    with Client(client.settings) as client:
        with pytest.raises(BatchInputError) as caught:
            client.batch(["hi", {"messages": "hi", "model": "other/x"}], model="mine/echo")
        assert [(problem["line"], problem["param"]) for problem in caught.value.problems] == [(2, "model")]


def test_what_failed_is_done_again_under_its_name(client: Client) -> None:
    handle = client.batch(
        [{"messages": name, "custom_id": name} for name in "abcde"], user="ann", webhook=HOOK
    )
    with pytest.raises(JobNotFinishedError):
        handle.retry_failed()
    driver = Driver(client, handle)
    a, b = driver.claim(2)
    driver.answer(b, by=fail)
    driver.answer(a)
    handle.cancel()
    driver.end()
    assert handle.wait(timeout=10).status is BatchStatus.CANCELLED
    assert [result.custom_id for result in handle.results()] == ["a", "b"]
    again = handle.retry_failed()
    assert handle.retry_failed().batch_id == again.batch_id != handle.batch_id
    new = again.progress.batch
    assert (new.retry_of, new.user, new.webhook) == (handle.batch_id, "ann", HOOK)
    Driver(client, again).do_all()
    assert [result.custom_id for result in again.results()] == list("bcde")
    with pytest.raises(WrongStateError, match="nothing to retry"):
        again.retry_failed()


def test_nobody_waits_for_ever_without_a_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = client.batch(prompts(2), completion_window=1)
    monkeypatch.setattr(watching, "OVERDUE_SECONDS", 0)
    for waiting in (lambda: list(handle.results()), handle.wait):
        with pytest.raises(JobExpiredError, match="no worker lives"):
            waiting()
    driver = Driver(client, handle)
    driver.claim()
    assert handle.progress.drivers == 1
    with pytest.raises(WaitTimeoutError):
        handle.wait(timeout=0.2)


def test_an_unknown_batch_is_not_found(client: Client) -> None:
    for unknown in ("nothing", "k:1"):
        with pytest.raises(BatchNotFoundError):
            client.batches(unknown)
    for call in ("cancel", "wait", "retry_failed"):
        with pytest.raises(BatchNotFoundError):
            getattr(BatchHandle(client, "nothing"), call)()
    for reading in (BatchHandle(client, "nothing").results(), BatchHandle(client, "nothing").events()):
        with pytest.raises(BatchNotFoundError):
            next(reading)
    with pytest.raises(ValidationError, match="order"):
        next(BatchHandle(client, "nothing").results(order="backwards"))  # type: ignore[arg-type]


def test_without_a_store_or_a_ledger_no_input_is_read(settings: Settings) -> None:
    def jobs() -> Iterator[str]:
        pytest.fail("it was read")
        yield ""

    with pytest.raises(ConfigurationError, match="PALAVER_FILES_URL"):
        Client(settings.model_copy(update={"files_url": ""})).batch(jobs())
    with pytest.raises(LedgerUnavailableError):
        Client(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})).batch(jobs())


async def test_the_async_client_does_the_same(client: Client, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('"one"\n"two"\n{"messages": ""}\n')
    async with AsyncClient(settings) as asynchronous:
        with pytest.raises(BatchInputError, match="line 3"):
            await asynchronous.batch(tmp_path / "in.jsonl")
        handle = await asynchronous.batch(tmp_path / "in.jsonl", skip_invalid=True)
        driver = Driver(client, client.batches(handle.batch_id))
        one, two = driver.claim()
        driver.answer(two)
        driver.answer(one, by=fail)
        driver.end()
        assert (await handle.wait(timeout=10)).counts.failed == 1
        assert [event.type async for event in handle.events()][-1] == "stream_end"
        assert [result.index async for result in handle.results(order="completion")] == [1, 0]
        again = await handle.retry_failed()
        assert await again.cancel() in (BatchStatus.CANCELLING, BatchStatus.CANCELLED)
        assert (await (await asynchronous.batches(again.batch_id)).progress()).counts.total == 1
        assert (await asynchronous.batch(prompts(600))).batch_id != handle.batch_id


@pytest.mark.parametrize("large", [False, True])
async def test_a_callers_jobs_are_read_beside_the_loop_that_gives_them(
    settings: Settings, *, large: bool
) -> None:
    given, read = list[int](), list[int]()
    ahead, jobs_given = 0, 20 if large else SLICE + 10

    def jobs() -> Iterator[str]:
        nonlocal ahead
        for number in range(jobs_given):
            given.append(threading.get_ident())
            ahead = max(ahead, number - len(read))
            yield f"{number}" + "x" * LARGE_BYTES * large

    def noting(job: ChatJob) -> ChatJob:
        read.append(threading.get_ident())
        return job

    async with AsyncClient(settings) as client:
        handle = await client.batch(jobs(), allow=noting)
        assert (await handle.progress()).counts.total == jobs_given
    here = threading.get_ident()
    assert set(given) == {here}
    assert here not in read
    assert ahead == (0 if large else SLICE - 1), "no more waits in memory than is read together"


async def test_lines_given_as_bytes_are_read_with_the_callers_context(settings: Settings) -> None:
    """And few large ones together: `ahead` of them wait in memory."""
    asked_for, seen, given = ContextVar[str]("asked_for"), set[str](), list[int]()
    ahead = 0

    def jobs() -> Iterator[Any]:
        nonlocal ahead
        for number in range(20):
            ahead = max(ahead, number - len(given))
            yield json.dumps("x" * LARGE_BYTES).encode()

    def noting(job: ChatJob) -> ChatJob:
        given.append(1)
        seen.add(asked_for.get())
        return job

    asked_for.set("acme")
    async with AsyncClient(settings) as client:
        handle = await client.batch(jobs(), allow=noting)
        assert (await handle.progress()).counts.total == 20
    assert (seen, ahead) == ({"acme"}, 0)


async def test_results_are_read_beside_the_loop(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = client.batch(prompts(2))
    driver = Driver(client, handle)
    for line in driver.claim():
        driver.answer(line)
    driver.end()
    read, threads = BatchResult.model_validate_json, set[int]()

    def noting(line: bytes) -> BatchResult:
        threads.add(threading.get_ident())
        return read(line)

    monkeypatch.setattr(BatchResult, "model_validate_json", noting)
    async with AsyncClient(settings) as asynchronous:
        results = (await asynchronous.batches(handle.batch_id)).results(order="completion")
        assert [result.index async for result in results] == [0, 1]
    assert threads
    assert threading.get_ident() not in threads


def test_the_status_of_all_shows_batches_that_go_on(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handles = [client.batch(prompts(3)) for _ in range(3)]
    driver, ending = Driver(client, handles[0]), Driver(client, handles[2])
    first, second, _ = driver.claim()
    driver.answer(first)
    driver.answer(second, by=fail)
    ending.answer(*ending.claim())
    ending.end()
    looked = status.look(client.settings)
    assert [(batch.batch_id, batch.done, batch.failed, batch.total) for batch in looked.batches] == [
        (handles[0].batch_id, 2, 1, 3),
        (handles[1].batch_id, 0, 0, 3),
    ]
    monkeypatch.setattr(status, "MOST_BATCHES", 1)
    monkeypatch.setenv("PALAVER_REDIS_URL", client.settings.redis_url)
    monkeypatch.setenv("PALAVER_NAMESPACE", client.settings.namespace)
    assert status.run(as_json=False, quick=True) == 1, "no worker lives"
    shown = capsys.readouterr().out
    assert re.search(rf"^{handles[0].batch_id} +in_progress +2 of 3 +1$", shown, re.MULTILINE)
    assert handles[1].batch_id not in shown
    assert "and 1 more" in shown
