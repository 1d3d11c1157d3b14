"""What a worker does: claim, append, renew, store, finish, release; and what a zombie cannot."""

from collections.abc import Callable
from typing import Any

import pytest

from palaver.shared.errors import (
    FencedError,
    JobEndedError,
    JobGoneError,
    SequenceGapError,
)
from palaver.shared.jobs import Status
from palaver.shared.ledger import Claimed, Dispatch, NotClaimed, Submitted, operations
from tests.integration.ledger.world import EXPIRED, World
from tests.servers import RedisServer

WRITES: dict[str, Callable[[World, Submitted], Any]] = {
    "append": lambda world, job: world.append(job, "zombie"),
    "renew": lambda world, job: world.renew(job),
    "save_entry": lambda world, job: world.save_entry(job, 1),
    "note_failures": lambda world, job: world.note_failures(job, 9),
    "release": lambda world, job: world.release(job),
    "finish": lambda world, job: world.finish(job, response=b"{}", history=[b"{}"]),
}
EMOJI = 'né 👩‍👩‍👧 漢字 \\ " \n\x00\x1f /'


@pytest.mark.parametrize("write", WRITES)
def test_a_missing_job_is_gone(world: World, write: str) -> None:
    job = world.submit()
    world.claim(job)
    world.raw.delete(world.keys.job("s1", job.job_id))
    before = world.dump()
    with pytest.raises(JobGoneError):
        WRITES[write](world, job)
    assert world.dump() == before


@pytest.mark.parametrize("write", WRITES)
def test_a_zombie_writes_nothing(world: World, write: str) -> None:
    job = world.submit()
    world.claim(job)
    world.release(job)
    world.claim(job, by="t2")
    before = world.dump()
    with pytest.raises(FencedError):
        WRITES[write](world, job)
    assert world.dump() == before


@pytest.mark.parametrize("write", sorted(set(WRITES) - {"release"}))
def test_a_worker_that_gave_its_job_back_writes_nothing(world: World, write: str) -> None:
    job = world.submit()
    world.claim(job)
    world.release(job)
    before = world.dump()
    with pytest.raises(FencedError):
        WRITES[write](world, job)
    assert world.dump() == before


@pytest.mark.parametrize("write", sorted(set(WRITES) - {"finish"}))
def test_nothing_follows_the_end(world: World, write: str) -> None:
    job = world.submit()
    world.claim(job)
    world.finish(job, status=Status.FAILED, error=b"{}")
    before = world.dump()
    with pytest.raises(JobEndedError, match="failed"):
        WRITES[write](world, job)
    assert world.dump() == before


def test_an_unclaimed_job_cannot_be_written(world: World) -> None:
    job = world.submit()
    before = world.dump()
    for write in WRITES.values():
        with pytest.raises(FencedError):
            write(world, job)
    assert world.dump() == before


def test_a_claim_is_repeatable_by_its_token_alone(world: World) -> None:
    job = world.submit(messages="Hi " + EMOJI)
    first = world.claim(job)
    assert (first.attempt, first.text, first.failures, first.cancelled) == (1, "", 0, "")
    assert 3500 < first.deadline <= 3600
    before = world.dump()
    again = world.claim(job)
    assert (again.attempt, again.job) == (first.attempt, first.job)
    assert world.try_claim(job, by="other") == NotClaimed("leased")
    assert world.dump() == before
    due = world.due(job)
    assert due is not None
    assert due > world.time() + 20  # the end of its lease


def test_what_cannot_be_claimed(world: World) -> None:
    first, second = world.submit(), world.submit()
    assert world.try_claim(second) == NotClaimed("waiting")
    world.claim(first)
    world.finish(first)
    assert world.try_claim(first) == NotClaimed("ended")
    assert isinstance(world.try_claim(second), Claimed)
    world.raw.delete(world.keys.job("s1", second.job_id))
    assert world.try_claim(second) == NotClaimed("gone")


def test_an_expired_lease_waits_for_a_sweep(world: World) -> None:
    job = world.submit()
    world.claim(job, lease=EXPIRED)
    assert world.try_claim(job, by="t2") == NotClaimed("leased")
    world.append(job, "still mine")


def test_append_numbers_logs_publishes_and_keeps_the_text(world: World) -> None:
    job = world.submit()
    world.claim(job)
    live = world.listener()
    live.subscribe(world.keys.channel("s1"))
    live.get_message(timeout=5)
    assert world.append(job, "one ", EMOJI).last_taken == 2
    events = world.events()[1:]
    messages: list[Any] = [live.get_message(timeout=5) for _ in events]
    live.close()
    assert [message["data"] for message in messages] == world.ledger.events("s1", after=1)
    assert [event["seq"] for event in events] == [2, 3]
    assert "".join(event["data"]["delta"] for event in events) == "one " + EMOJI
    assert {event["attempt"] for event in events} == {1}
    assert world.ledger.job(job.job_id).text == "one " + EMOJI
    assert world.seconds_to_live(world.keys.text("s1", job.job_id)) > 24 * 3600


def test_a_batch_sent_again_is_taken_once(world: World) -> None:
    job = world.submit()
    world.claim(job)
    first = world.append(job, "a", "b")
    before = world.dump()
    assert world.append(job, "a", "b") == first
    assert world.dump() == before
    assert world.append(job, "c", first=3).last_taken == 3
    assert world.append(job, "a", "b").last_taken == 3  # late, and skipped
    assert world.ledger.job(job.job_id).text == "abc"


def test_a_gap_is_refused_and_names_the_last_taken(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "a")
    before = world.dump()
    for first in (3, 1):  # one missing; one taken already and one not
        with pytest.raises(SequenceGapError) as caught:
            world.append(job, "x", "y", first=first)
        assert caught.value.last_taken == 1
    assert world.dump() == before


def test_offset_zero_empties_the_text(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "old")
    world.append(job, "new", first=2, reset=True)
    assert world.ledger.job(job.job_id).text == "new"


def test_the_sequence_begins_anew_with_each_attempt_and_the_text_goes_on(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "one ")
    world.save_entry(job, 1, b'{"entry":1}')
    world.note_failures(job, 2, tries=b"second model")
    world.release(job)
    again = world.claim(job, by="t2")
    assert (again.attempt, again.text, again.journal, again.failures) == (2, "one ", [b'{"entry":1}'], 2)
    assert again.tries == b"second model"
    world.append(job, "two", attempt=2)
    assert world.ledger.job(job.job_id).text == "one two"
    assert [event["seq"] for event in world.events()] == [1, 2, 3]


def test_the_sequence_is_dense_after_a_failover_put_the_counter_back(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "a", "b")
    world.raw.hset(world.keys.session("s1"), "seq", 1)
    world.append(job, "c", "d", first=3)
    assert [event["seq"] for event in world.events()] == [1, 2, 3, 4, 5]
    assert world.ledger.seq("s1") == 5


def test_a_log_made_anew_goes_on_and_has_a_time_to_live(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.raw.delete(world.keys.events("s1"))
    world.append(job, "a")
    assert [event["seq"] for event in world.events()] == [2]
    assert world.seconds_to_live(world.keys.events("s1")) > 3500


def test_a_renewed_lease_ends_so_long_from_now(world: World) -> None:
    job = world.submit()
    world.claim(job, lease=5)
    before = world.dump(without=(b"lease",))
    world.renew(job, lease=500)
    assert int(world.field(job, "lease") or 0) / 1000 - world.time() == pytest.approx(500, abs=3)
    assert world.dump(without=(b"lease",)) == before
    # Also if it was granted by a clock that has been set back since.
    world.raw.hset(world.keys.job("s1", job.job_id), "lease", int((world.time() + 3600) * 1000))
    world.renew(job, lease=5)
    assert int(world.field(job, "lease") or 0) / 1000 - world.time() == pytest.approx(5, abs=3)


def test_rounds_are_stored_once_and_in_order(world: World) -> None:
    job = world.submit()
    world.claim(job)
    assert world.save_entry(job, 1, b"first").count == 1
    before = world.dump()
    assert world.save_entry(job, 1, b"first").count == 1
    with pytest.raises(SequenceGapError):
        world.save_entry(job, 3)
    assert world.note_failures(job, 0).count == 0
    assert world.dump() == before


def test_an_entry_of_the_journal_and_its_events_are_stored_in_one_moment_and_once(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "text")
    events = [b'"type":"tool_call","data":{"id":"c1"}', b'"type":"tool_call","data":{"id":"c2"}']
    world.save_entry(job, 1, b"first", events=events)
    before = world.dump()
    world.save_entry(job, 1, b"first", events=events)
    with pytest.raises(SequenceGapError):
        world.save_entry(job, 3, events=events)
    assert world.dump() == before
    told = [(event["seq"], event["attempt"], event["data"]) for event in world.events()[2:]]
    assert told == [(3, 1, {"id": "c1"}), (4, 1, {"id": "c2"})]
    world.append(job, "more", first=2)  # and the worker's own count goes on
    assert world.told(job)[-3:] == ["tool_call", "tool_call", "text_chunk"]


def test_failures_never_count_back(world: World) -> None:
    job = world.submit()
    world.claim(job)
    assert world.note_failures(job, 2).count == 2
    assert world.note_failures(job, 1).count == 2


def test_finish_writes_the_one_end_and_leaves_the_answer(world: World) -> None:
    job = world.submit(idempotency_key="k")
    world.claim(job)
    world.append(job, "text")
    world.save_entry(job, 1)
    first = world.finish(job, response=b'{"content":"text"}')
    assert (first.status, first.seq, first.dispatch) == (Status.COMPLETED, 3, None)
    before = world.dump()
    assert world.finish(job, response=b'{"content":"other"}') == first
    assert world.finish(job, status=Status.CANCELLED) == first  # the first end wins
    assert world.dump() == before
    assert world.told(job) == ["job_queued", "text_chunk", "stream_end"]
    view = world.ledger.job(job.job_id)
    assert view.response is not None
    assert (view.status, view.response.content, view.text) == (Status.COMPLETED, "text", "")
    assert (view.end_seq, view.held, view.overdue) == (3, False, False)
    assert not world.raw.exists(world.keys.text("s1", job.job_id))
    assert world.due(job) is None


def test_a_job_without_a_response_keeps_its_partial_text(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, EMOJI)
    world.finish(job, status=Status.FAILED, error=b'{"type":"RateLimitError","code":"x","message":"m"}')
    view = world.ledger.job(job.job_id)
    assert view.text == EMOJI
    assert view.error is not None
    assert view.error.type == "RateLimitError"


def test_an_end_lowers_the_times_to_live_of_its_own_keys(world: World) -> None:
    day = 24 * 3600
    first = world.submit(idempotency_key="k", deadline=3 * day)
    second = world.submit(deadline=3 * day)
    world.claim(first)
    world.finish(first)
    for key in (
        world.keys.job("s1", first.job_id),
        world.keys.idempotency("s1", "k"),
        world.keys.index(first.job_id),
    ):
        assert world.seconds_to_live(key) <= day, key
    log = world.keys.events("s1")
    assert world.seconds_to_live(log) > 4 * day - 60  # the second job still needs it
    assert world.seconds_to_live(world.keys.job("s1", second.job_id)) > 4 * day - 60
    world.claim(second)
    world.finish(second)
    assert world.seconds_to_live(log) <= 3600
    world.submit()
    assert world.seconds_to_live(log) > day


def test_the_history_gets_what_completed_and_cancelled_jobs_say(world: World) -> None:
    for status in Status:
        if not status.ended:
            continue
        job = world.submit()
        world.claim(job)
        world.finish(job, status=status, history=[b'"%s"' % status.value.encode()])
    assert world.ledger.messages("s1") == [b'"completed"', b'"cancelled"']


def test_a_setting_bounds_the_history(any_redis: RedisServer) -> None:
    world = World(any_redis, history_messages=3)
    job = world.submit(history="session")
    world.claim(job)
    world.finish(job, history=[b"%d" % i for i in range(5)])
    assert world.raw.lrange(world.keys.messages("s1"), 0, -1) == [b"2", b"3", b"4"]
    world.close()


def test_a_history_has_a_bound_in_bytes(any_redis: RedisServer) -> None:
    """The oldest go, however they came; a message that is too long alone stays, as the last one."""
    world = World(any_redis, history_bytes=1024)
    key = world.keys.messages("s1")

    def say(*sizes: int) -> list[int]:
        job = world.submit(history="session", messages="x")
        world.claim(job)
        world.finish(job, history=[b"x" * size for size in sizes])
        return [len(message) for message in world.ledger.messages("s1")]

    assert say(400, 400) == [400, 400]
    assert say(300) == [400, 300]
    assert say(300, 5000) == [5000]
    assert say(100) == [100]
    world.raw.delete(key)
    assert say(1000) == [1000], "what is gone counts still"
    assert world.field_of_session("remembers") == b"1000"
    world.close()


def test_the_history_is_capped(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.finish(job, history=[b"%d" % i for i in range(1_200)])
    kept = world.ledger.messages("s1")
    assert (len(kept), kept[0], kept[-1]) == (1_000, b"200", b"1199")


def test_the_last_entry_of_due_has_a_time_to_live_too(world: World) -> None:
    job = world.submit()
    world.raw.delete(world.keys.due)
    world.claim(job)
    assert world.due(job) is not None
    assert world.seconds_to_live(world.keys.due) > 300 * 24 * 3600


def test_released_at_once_goes_to_the_queue_of_takeovers(world: World) -> None:
    job, waiting = world.submit(), world.submit()
    world.claim(job)
    world.append(job, "half")
    first = world.release(job)
    before = world.dump()
    assert first.dispatch == Dispatch("s1", job.job_id, "palaver.resume")
    assert world.release(job) == first
    assert world.dump() == before
    view = world.ledger.job(job.job_id)
    assert (view.status, view.held, view.text) == (Status.RUNNING, False, "half")
    assert world.try_claim(waiting) == NotClaimed("waiting")  # the session keeps its turn


def test_a_parked_job_holds_its_turn_until_it_is_due(world: World) -> None:
    job, waiting = world.submit(), world.submit()
    world.claim(job)
    due = world.time() + 60
    assert world.release(job, resume_at=due).dispatch is None
    before = world.dump()
    assert world.release(job, resume_at=due).dispatch is None
    assert world.try_claim(job, by="t2") == NotClaimed("not_due")
    assert world.dump() == before
    assert world.try_claim(waiting) == NotClaimed("waiting")
    assert world.due(job) == pytest.approx(due, abs=0.01)
    assert world.ledger.job(job.job_id).due == pytest.approx(due, abs=0.01)


def test_parked_for_so_long_from_now(world: World) -> None:
    job = world.submit()
    world.claim(job)
    assert world.release(job, delay=60).dispatch is None
    due = world.ledger.job(job.job_id).due
    assert due == pytest.approx(world.time() + 60, abs=5)
    assert world.release(job, delay=60).dispatch is None
    assert world.ledger.job(job.job_id).due == due  # a repeat changes nothing


def test_a_parked_job_reads_as_running_and_is_cancelled_at_once(world: World) -> None:
    job, waiting = world.submit(), world.submit()
    world.claim(job)
    world.append(job, "half")
    world.release(job, delay=60)
    assert world.ledger.job(job.job_id).status is Status.RUNNING
    cancelled = world.ledger.cancel("s1", job.job_id)
    assert cancelled.status is Status.CANCELLED
    assert cancelled.dispatch == Dispatch("s1", waiting.job_id, "palaver.resume")
    assert world.told(job)[-1] == "stream_end"


def test_a_job_that_was_asked_to_end_is_not_parked(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.ledger.cancel("s1", job.job_id)
    assert world.release(job, delay=60).dispatch == Dispatch("s1", job.job_id, "palaver.resume")
    assert world.claim(job, by="t2").cancelled == "cancel"


def test_a_long_line_is_told_in_its_first_places(world: World) -> None:
    jobs = [world.submit() for _ in range(30)]
    world.claim(jobs[0])
    world.finish(jobs[0])
    assert world.positions(jobs[5]) == [5, 4]
    assert world.positions(jobs[29]) == [29]
    assert world.ledger.job(jobs[29].job_id).position == 28


def test_events_of_any_kind_pass_byte_for_byte(world: World) -> None:
    job = world.submit()
    world.claim(job)
    data = b'{"arguments":{"list":[],"object":{},"big":12345678901234567890,"float":1e400,"s":"\\ud83d\\/"}}'
    inner = b'"type":"tool_call","data":' + data
    world.ledger.run(operations.append(**world.claim_of(job, 1), first=1, events=[inner]))
    assert world.ledger.events("s1")[-1].endswith(inner + b"}")
