"""A job id is in one session only, whoever else comes with it, and whoever dies on the way."""

import asyncio
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
import redis

from palaver.producer.prepare import prepare_many
from palaver.shared.errors import ConflictError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import AsyncLedger, Submitted, incoming
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.operations.submitting import reserve
from tests.integration.ledger.world import World


def job_in(session_id: str | None, job_id: str = "job-1", **fields: Any) -> ChatJob:
    return ChatJob(messages="Hi", session_id=session_id, job_id=job_id, **fields)


def send(world: World, words: tuple[Any, ...]) -> Any:
    """One command, as a pipeline sends it."""
    try:
        return world.raw.execute_command(*words)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        return error


def step_by_step(world: World, conversation: Exchange[Any]) -> Iterator[Any]:
    """Stops after each command; the last value is the result."""
    try:
        wanted = next(conversation)
        while True:
            replies = []
            for words in wanted:
                replies.append(send(world, words))
                yield None
            wanted = conversation.send(replies)
    except StopIteration as stop:
        yield stop.value
    except ConflictError as conflict:
        yield conflict


@pytest.mark.parametrize("other", ["s2", None])
def test_an_id_of_another_session_is_refused_before_anything_is_stored(
    world: World, other: str | None
) -> None:
    first = world.ledger.submit(job_in("s1"))
    before = world.dump()
    for session_id in (other, "s3"):
        with pytest.raises(ConflictError, match="job-1 in another session") as caught:
            world.ledger.submit(job_in(session_id))
        assert (caught.value.job_id, caught.value.param) == ("job-1", "job_id")
    assert world.dump() == before
    assert world.ledger.find("job-1") == "s1"
    assert world.ledger.submit(job_in("s1")) == first
    assert world.dump() == before


def test_also_after_its_end_and_for_a_job_that_has_a_time(world: World) -> None:
    world.ledger.submit(job_in("s1", run_at=world.time() + 60))
    for _ in range(2):
        before = world.dump()
        with pytest.raises(ConflictError):
            world.ledger.submit(job_in("s2", run_at=world.time() + 60))
        assert world.dump() == before
        world.ledger.cancel("s1", "job-1")


def test_of_many_each_has_its_own_result(world: World) -> None:
    world.ledger.submit(job_in("s1"))
    jobs = [job_in("s2"), job_in("s2", "job-2"), ChatJob(messages="Hi"), job_in("s3", "job-2"), job_in("s1")]
    results = world.ledger.submit_many(jobs)
    assert [type(result) for result in results] == [
        ConflictError,
        Submitted,
        Submitted,
        ConflictError,
        Submitted,
    ]
    assert [result.job_id for result in results] == [job.job_id for job in jobs]
    assert world.ledger.unended() == 3


def test_a_job_that_is_sent_to_two_sessions_is_taken_by_the_first(world: World) -> None:
    job = ChatJob(messages="Hi", session_id="s1")
    jobs = prepare_many(enumerate([job, job.model_copy(update={"session_id": "s2"})]), world.settings)
    stored, refused = world.ledger.submit_many(jobs)
    assert isinstance(stored, Submitted)
    assert isinstance(refused, ConflictError)
    assert world.ledger.find(job.job_id) == "s1"


@pytest.mark.parametrize("turns", sorted(set(permutations("aaaabb"))))
def test_one_of_two_wins_however_their_commands_meet(world: World, turns: tuple[str, ...]) -> None:
    submits = {
        sid: incoming.submit(world.keys, job_in(sid), retention=world.ledger.retention) for sid in "ab"
    }
    callers = {sid: step_by_step(world, submit) for sid, submit in submits.items()}
    results = [next(callers[sid], None) for sid in turns]
    results += [result for caller in callers.values() for result in caller]
    (stored,) = [result for result in results if isinstance(result, Submitted)]
    assert sum(isinstance(result, ConflictError) for result in results) == 1
    assert world.ledger.find("job-1") == stored.session_id
    assert len(list(world.raw.scan_iter("palaver:{*}:session"))) == 1


async def test_one_of_many_at_once_wins(world: World) -> None:
    ledgers = [AsyncLedger(world.settings) for _ in range(4)]
    jobs = [job_in(f"s{number}") for number in range(40)]
    submits = [ledgers[number % 4].submit(job) for number, job in enumerate(jobs)]
    results = await asyncio.gather(*submits, return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, Submitted)]
    assert sum(isinstance(result, ConflictError) for result in results) == 39
    assert await ledgers[0].find("job-1") == winner.session_id
    assert len(list(world.raw.scan_iter("palaver:*:session"))) == 1
    for ledger in ledgers:
        await ledger.aclose()


def test_who_dies_after_the_reservation_blocks_the_id_for_a_minute(world: World) -> None:
    assert world.ledger.query(reserve(world.keys, [job_in("s1")])) == [True]
    assert 50 < world.seconds_to_live(world.keys.index("job-1")) <= 60
    with pytest.raises(ConflictError):
        world.ledger.submit(job_in("s2"))
    world.raw.delete(world.keys.index("job-1"))  # the minute is over
    assert world.ledger.submit(job_in("s2")).created
    assert world.seconds_to_live(world.keys.index("job-1")) > 24 * 3600


def test_who_dies_before_the_script_blocks_it_until_a_sweep(world: World) -> None:
    conversation = incoming.submit(world.keys, job_in("s1"), retention=world.ledger.retention)
    reserved = [send(world, words) for words in next(conversation)]
    for words in conversation.send(reserved)[:-1]:
        send(world, words)
    with pytest.raises(ConflictError):
        world.ledger.submit(job_in("s2"))
    world.raw.zadd(world.keys.due, {"s1/job-1": 1})
    world.sweep()
    assert world.ledger.submit(job_in("s2")).created
    assert world.ledger.find("job-1") == "s2"
