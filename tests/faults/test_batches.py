"""Batches whose workers are killed or replaced, and whose Redis restarts: of each line one result."""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.producer import BatchHandle
from palaver.shared.batches import BatchStatus, BatchView
from tests.faults.conftest import MakeStand
from tests.faults.stand import HURRIED, Stand, until
from tests.servers import RedisServer

OwnRedis = Callable[..., RedisServer]

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

SCRIPTED = """
[providers.scripted]
kind = "scripted"
[providers.scripted.options]
rate = 10
"""


@pytest.fixture
def make_batch_stand(make_stand: MakeStand, tmp_path: Path) -> MakeStand:
    """A stand with a store of files."""

    def make(*redis: RedisServer) -> Stand:
        made = make_stand(*redis, settings={**HURRIED, "PALAVER_FILES_URL": f"file://{tmp_path}/files"})
        made.configure(SCRIPTED)
        return made

    return make


@pytest.fixture
def stand(make_batch_stand: MakeStand) -> Stand:
    return make_batch_stand()


def script(number: int) -> dict[str, Any]:
    """Of a hundred lines one always fails, and five fail once."""
    if number % 100 == 0:
        return {"text": "never", "fail": {"status": 500}}
    if number % 20 == 1:
        return {"text": f"answer {number}", "fail": {"status": 500, "times": 1}}
    return {"text": f"answer {number}"}


def lines(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "custom_id": f"line-{number}",
            "messages": json.dumps(script(number)),
            "model": "scripted/echo",
        }


def ended(handle: BatchHandle, *, status: BatchStatus, seconds: float) -> BatchView:
    view = handle.wait(timeout=seconds)
    assert view.status is status
    return view


def check(stand: Stand, handle: BatchHandle, count: int) -> None:
    """What must hold of a batch that completed: of each line one result, the one that it should have; in the
    output or the errors one line; and the ledger is at rest.
    """
    bad = {f"line-{number}" for number in range(0, count, 100)}
    found = list(handle.results(order="completion"))
    assert len(found) == count
    for result in found:
        text = f"answer {result.custom_id.removeprefix('line-')}"
        assert result.response.success is (result.custom_id not in bad)
        assert result.response.content == ("" if result.custom_id in bad else text)
    seen = handle.progress
    assert (seen.counts.completed, seen.counts.failed) == (count - len(bad), len(bad))
    assert (seen.running, seen.flushed, seen.stored) == (0, count, True)
    output, errors = (ids(stand, handle, name) for name in ("output", "errors"))
    good = {f"line-{number}" for number in range(count)} - bad
    assert output == dict.fromkeys(good, 1)
    assert errors == dict.fromkeys(bad, 1)


def ids(stand: Stand, handle: BatchHandle, name: str) -> Counter[str]:
    """How often each custom id is in one of the batch's two files."""
    folder = Path(stand.settings.files_url.removeprefix("file://"))
    content = (folder / f"batches/{handle.batch_id}/{name}.jsonl").read_text()
    return Counter(json.loads(line)["custom_id"] for line in content.splitlines())


@pytest.mark.any_broker
def test_a_batch_outlives_its_workers(stand: Stand) -> None:
    """One is killed, one is stopped for longer than a lease, one hands over."""
    killed, stopped, leaving = stand.workers(3)
    handle = stand.client.batch(lines(900), window=30)  # not over before each worker has been sent for
    until(lambda: handle.progress.drivers == 3, "some worker has no driver")
    until(lambda: handle.progress.counts.done, "nothing is done")
    stand.kill(killed)
    with stand.stopped(stopped):
        leaving.signal(signal.SIGTERM)
        assert leaving.wait(30) == 0
        stand.workers(1)
        until(lambda: handle.progress.drivers <= 1, "the others have their lines still")
    ended(handle, status=BatchStatus.COMPLETED, seconds=60)
    check(stand, handle, 900)


@pytest.mark.long
def test_ten_thousand_lines_and_a_kill_every_five_seconds(stand: Stand) -> None:
    chance = random.Random(1)
    workers = stand.workers(2)
    handle = stand.client.batch(lines(10_000), window=100)
    deaths, since = f"{stand.ledger.keys.batch(handle.batch_id)}:deaths", time.time()
    while not handle.status.ended:
        stand.let_pass(5, since=since)
        # one that dies with three drivers in a row is given up, as it should be
        until(lambda: not stand.raw.exists(deaths), "no result of lines whose driver was killed")
        since = stand.kill(victim := chance.choice(workers))
        workers.remove(victim)
        workers.append(stand.start_worker())
    ended(handle, status=BatchStatus.COMPLETED, seconds=1)
    check(stand, handle, 10_000)


@pytest.mark.long
def test_a_redis_with_its_file_goes_on_where_it_was(make_batch_stand: MakeStand, own_redis: OwnRedis) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    redis = own_redis(*durable)
    stand = make_batch_stand(redis)
    workers = stand.workers(2)
    handle = stand.client.batch(lines(900), window=60)
    until(lambda: handle.progress.counts.done > 100, "it goes on")
    assert redis.running is not None
    redis.running.kill()
    for worker in workers:
        worker.wait_for("link.lost")
    own_redis(*durable, port=redis.port)
    ended(handle, status=BatchStatus.COMPLETED, seconds=60)
    check(stand, handle, 900)
