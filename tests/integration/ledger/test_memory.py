"""What a full Redis does to jobs, and what an ended job costs. Real servers only: fakeredis has no limit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from palaver.shared.batches import BatchStatus
from palaver.shared.errors import LedgerFullError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Submitted, operations
from palaver.shared.ledger.replies import SweepTurn
from tests.integration.ledger.batch_world import BatchWorld
from tests.integration.ledger.world import EXPIRED, World
from tests.processes import Processes
from tests.servers import IN_TIME, eventually, missing, redis_binary, start_redis

JOBS = 1500
SPENT = (
    b'{"tenant":"acme","said":1000,"models":[{"model":"openai/gpt-4o-mini","requests":1,"usage":{"input_tokens":1200,'
    b'"output_tokens":200,"total_tokens":1400,"cost":0.0003,"details":{"prompt_tokens_details":{"cached_tokens":0,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}},"hits":0}]}'
)
"""What a worker notes of a job that asked one model once."""
ANSWER = b'{"content":"%s"}' % (b"word " * 200)


@pytest.fixture(params=["redis-7", "redis-6.2"])
def world(request: pytest.FixtureRequest, processes: Processes) -> Iterator[World]:
    """A ledger on a server of its own, to be filled."""
    binary = redis_binary(request.param)
    if binary is None:
        missing(f"no {request.param} server on this machine")
    server = start_redis(processes, binary, "--maxmemory-policy", "noeviction")
    world = World(server, connect_seconds=IN_TIME)
    yield world
    world.close()


def fill(world: World) -> None:
    """From now on every command that needs memory is refused."""
    world.raw.config_set("maxmemory", "1")


def test_submit_and_append_fail_clearly_and_store_nothing(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "a")
    fill(world)
    before = world.dump()
    with pytest.raises(LedgerFullError, match="out of memory"):
        world.submit("s2", idempotency_key="k")
    with pytest.raises(LedgerFullError):
        world.append(job, "b", first=2)
    with pytest.raises(LedgerFullError):
        world.save_entry(job, 1)
    assert world.dump() == before


def test_a_job_that_fails_is_still_a_dead_letter_and_can_be_dropped(world: World) -> None:
    job = world.submit()
    world.claim(job)
    fill(world)
    world.finish(job, status=Status.FAILED)
    assert [letter.job_id for letter in world.ledger.dead()] == [job.job_id]
    assert world.ledger.drop_dead([("s1", job.job_id)]) == 1
    assert world.ledger.dead() == []


def test_what_a_job_has_spent_is_counted_all_the_same(world: World) -> None:
    first, job = world.submit("s1"), world.submit("s2")
    for each in (first, job):
        world.claim(each)
    world.finish(first, spent=SPENT)  # the day's tenant is known
    fill(world)
    world.finish(job, spent=SPENT)
    today = datetime.now(UTC).date()
    rows = world.ledger.usage(since=today - timedelta(days=1), until=today)
    assert sum(row.jobs for row in rows) == 2


def test_renew_release_cancel_and_finish_still_work(world: World) -> None:
    running, parked, held, waiting = (world.submit(f"s{i}") for i in range(4))
    dead = world.submit("s4")
    behind = world.submit("s3")
    for job in (running, parked, held):
        world.claim(job)
        world.append(job, "half")
    world.claim(dead, lease=EXPIRED)
    fill(world)
    assert world.renew(running).cancelled == ""
    assert world.release(parked).dispatch is not None
    assert not world.ledger.cancel("s2", held.job_id).ended
    assert world.ledger.cancel("s3", behind.job_id).ended
    assert world.ledger.cancel("s3", waiting.job_id).ended
    assert world.ledger.cancel("s4", dead.job_id).ended
    assert world.finish(running, response=b"{}", history=[b"{}"]).status is Status.COMPLETED
    assert world.finish(held, status=Status.CANCELLED).status is Status.CANCELLED
    for job in (running, held, waiting, behind, dead):
        assert world.told(job).count("stream_end") == 1


def test_a_batch_that_was_begun_goes_on_to_its_end(world: World) -> None:
    batch = BatchWorld(world, total=3)
    assert batch.claim("d1", 1) == [0]
    fill(world)
    assert batch.claim("d1", 2) == [1, 2]
    batch.note("d1", 0, 1, 2)
    batch.flush(batch.gather("d1"))
    assert batch.end("d1") is BatchStatus.COMPLETED


def test_a_sweep_still_ends_what_is_overdue(world: World) -> None:
    job = world.submit()
    world.raw.hset(world.keys.job("s1", job.job_id), "deadline", 1)
    fill(world)
    turn = SweepTurn(time=world.time(), stopped=0, resumed=0)
    looked = world.ledger.run(
        operations.look(world.keys, "s1", job.job_id, retention=world.ledger.retention, turn=turn, grace=0)
    )
    assert (looked.outcome, looked.detail) == ("ended", "expired")


def test_a_whole_sweep_works_without_memory(world: World) -> None:
    overdue, lost, waiting = world.submit("s1"), world.submit("s2"), world.submit("s3", priority=0)
    world.sweep()
    world.raw.hset(world.keys.job("s1", overdue.job_id), "deadline", 1)
    for job in (lost, waiting):
        world.raw.hset(world.keys.job(job.session_id, job.job_id), "sent", 1)
    world.raw.zadd(world.keys.due, {f"{job.session_id}/{job.job_id}": 1 for job in (overdue, lost, waiting)})
    fill(world)
    world.ledger.run(operations.announce(world.keys.workers, {"w1": {}}, seconds=9))
    swept = world.sweep("palaver.normal")
    assert (swept.looked, swept.ended) == (3, 1)
    assert swept.dispatches == [lost.dispatch]
    assert world.sweep("palaver.low").dispatches == [waiting.dispatch]
    assert world.due(overdue) is None
    assert (world.due(lost) or 0) > world.time()


def test_an_ended_job_costs_its_document_its_answer_and_at_most_2_kb(world: World) -> None:
    run_jobs(world, "warm", 250)
    before = used_memory(world)
    job = run_jobs(world, "cold", JOBS)
    document = world.ledger.job(job.job_id, document=True).document_json
    assert document is not None
    said = len(document) + len(ANSWER)
    # while Redis moves its keys to a larger table, bit by bit, it has two
    assert eventually(lambda: (used_memory(world) - before) / JOBS - said <= 2048)
    assert world.ledger.unended() == 0


def run_jobs(world: World, name: str, count: int) -> Submitted:
    """Finished jobs whose logs are gone, each with a key and a session of its own; returns the last."""
    for i in range(count):
        job = world.submit(f"{name}-{i}", idempotency_key=f"key-{i}", model="openai/gpt-4o-mini")
        world.claim(job)
        world.append(job, "word " * 200)
        world.finish(job, response=ANSWER, spent=SPENT)
        world.raw.delete(world.keys.events(job.session_id))
    return job


def used_memory(world: World) -> int:
    """Seen over a connection of its own while there is no other: what the buffers of connections take, Redis
    counts once a second alone. What its machine was slow at it has written down, which is nobody's cost.
    """
    with world.server.client() as alone:
        alone.client_kill_filter(_type="normal", skipme=True)
        alone.slowlog_reset()
        stats: Any = alone.memory_stats()
    return int(stats["total.allocated"])
