"""Sweeps: expired leases, lost messages, due times, deadlines, dead turns, orphans."""

from typing import Any

import pytest

from palaver.shared.errors import FencedError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Claimed, Dispatch, NotClaimed, Submitted, Swept, operations
from palaver.shared.ledger.operations import POISONED_AFTER
from palaver.shared.ledger.replies import SweepTurn
from tests.integration.ledger.world import EXPIRED, World

RESUME = "palaver.resume"
NORMAL = "palaver.normal"


@pytest.fixture
def swept(world: World) -> World:
    """A world in which the last sweep was just now."""
    world.sweep()
    return world


def make_due(world: World, *jobs: Submitted) -> None:
    """Time passes, as far as sweepers know."""
    for job in jobs:
        score = int(world.time() * 1000) - 10
        world.raw.zadd(world.keys.due, {f"{job.session_id}/{job.job_id}": score})


def announce(world: World, *names: str) -> None:
    world.ledger.run(operations.announce(world.keys.workers, {name: {"pid": 1} for name in names}, seconds=9))


def set_field(world: World, job: Submitted, name: str, value: str | int) -> None:
    world.raw.hset(world.keys.job(job.session_id, job.job_id), name, value)


def test_only_one_sweeps_in_a_period(world: World) -> None:
    assert world.ledger.sweep_turn(period=60) is not None
    assert world.ledger.sweep_turn(period=60) is None
    assert world.ledger.sweep_turn(period=60, again=True) is not None


def test_nothing_is_looked_at_before_its_time(swept: World) -> None:
    job = swept.submit()
    due = swept.due(job)
    assert due == pytest.approx(swept.time() + 5, abs=3)
    assert swept.sweep().looked == 0


def wait(world: World, *jobs: Submitted, seconds: float = 6) -> None:
    """Their messages were sent so long ago, and a sweeper is to look at them."""
    for job in jobs:
        set_field(world, job, "sent", int((world.time() - seconds) * 1000))
    make_due(world, *jobs)


def enlisted(world: World, queue: str = NORMAL) -> set[str]:
    entries: Any = world.raw.zrange(world.keys.sent(queue), 0, -1)
    return {entry.decode().partition("/")[2] for entry in entries}


def deliver(world: World, job: Submitted, queue: str = NORMAL) -> None:
    """A worker gets the job's message."""
    claim = operations.claim(
        world.keys, job.session_id, job.job_id, token=job.job_id, worker="w1", lease=30, queue=queue
    )
    assert isinstance(world.ledger.run(claim), Claimed)


def test_a_message_that_waits_in_its_queue_is_not_sent_again(swept: World) -> None:
    job = swept.submit()
    for minutes in (0.1, 1, 10):
        wait(swept, job, seconds=60 * minutes)
        assert swept.sweep("palaver.high").dispatches == []
        assert (swept.due(job) or 0) - swept.time() == pytest.approx(3600, abs=3)
        assert enlisted(swept) == {job.job_id}


def test_a_message_that_nobody_claimed_is_sent_again_when_its_queue_was_empty(swept: World) -> None:
    now, later = swept.submit("s1", priority=0), swept.submit("s2", priority=0)
    wait(swept, now)
    again = swept.sweep("palaver.high", "palaver.low")
    assert again.dispatches == [Dispatch("s1", now.job_id, "palaver.low")]
    # It need not be empty when somebody looks.
    sent = int((swept.time() - 2) * 1000)
    set_field(swept, later, "sent", sent)
    make_due(swept, later)
    assert swept.sweep().dispatches == []
    assert swept.due(later) == pytest.approx(sent / 1000 + 5, abs=0.01)


def test_what_is_lost_again_and_again_is_sent_at_doubling_intervals(swept: World) -> None:
    job = swept.submit()
    waits = []
    for number in range(12):
        wait(swept, job, seconds=310)
        assert len(swept.sweep(NORMAL).dispatches) == 1, number
        waits.append(round((swept.due(job) or 0) - swept.time()))
    assert waits[:4] == pytest.approx([10, 20, 40, 80], abs=2)
    assert waits[-1] == pytest.approx(600, abs=2)
    wait(swept, job, seconds=290)
    assert swept.sweep(NORMAL).dispatches == []


@pytest.mark.parametrize("busy", [False, True], ids=["nothing goes on", "others go on"])
def test_a_message_that_was_overtaken_is_lost(swept: World, busy: bool) -> None:
    lost, later = swept.submit("s1"), swept.submit("s2")
    wait(swept, lost, later, seconds=60)
    set_field(swept, later, "sent", int((swept.time() - 50) * 1000))
    assert swept.sweep().dispatches == []
    assert enlisted(swept) == {lost.job_id, later.job_id}
    deliver(swept, later)
    assert enlisted(swept) == {lost.job_id}
    # It goes first now, unless that queue is full itself.
    queue = NORMAL if busy else RESUME
    assert swept.sweep(*([] if busy else [RESUME])).dispatches == [Dispatch("s1", lost.job_id, queue)]
    assert enlisted(swept) == set()
    assert (swept.due(lost) or 0) - swept.time() == pytest.approx(10, abs=1)
    assert swept.sweep(RESUME).looked == 0


def test_one_that_its_sender_sent_a_little_late_is_not_lost(swept: World) -> None:
    late, later = swept.submit("s1"), swept.submit("s2")
    now = swept.time()
    for job, seconds in ((late, 60), (later, 59.5)):
        set_field(swept, job, "sent", int((now - seconds) * 1000))
    make_due(swept, late, later)
    deliver(swept, later)
    assert swept.sweep(RESUME).dispatches == []


def test_a_delivery_says_nothing_of_other_queues_or_of_a_job_that_was_sent_twice(swept: World) -> None:
    waiting, other, twice = (swept.submit(session) for session in ("s1", "s2", "s3"))
    wait(swept, waiting, seconds=60)
    swept.sweep()
    deliver(swept, other, RESUME)
    wait(swept, twice, seconds=310)
    set_field(swept, twice, "resends", 1)
    deliver(swept, twice)
    assert swept.sweep().looked == 0
    assert enlisted(swept) == {waiting.job_id}


def test_jobs_that_ended_while_their_messages_waited_are_forgotten(swept: World) -> None:
    job = swept.submit()
    wait(swept, job)
    swept.sweep()
    swept.ledger.cancel("s1", job.job_id)
    assert swept.sweep(NORMAL).looked == 0
    assert enlisted(swept) == set()
    assert swept.due(job) is None


def test_a_whole_queue_that_was_lost_is_sent_again_in_parts(swept: World) -> None:
    jobs = [swept.submit(None) for _ in range(7)]
    wait(swept, *jobs)
    swept.sweep()
    assert len(enlisted(swept)) == 7
    sent = 0
    for left in (4, 1, 0):
        turn = swept.ledger.sweep_turn(period=0)
        assert turn is not None
        done = swept.ledger.sweep(turn, empty_queues=[NORMAL], limit=3)
        sent += len(done.dispatches)
        assert len(enlisted(swept)) == left
        assert done.full is (left > 0)
    assert sent == 7


def test_a_live_lease_is_left_alone(swept: World) -> None:
    job = swept.submit()
    swept.claim(job, lease=30)
    make_due(swept, job)
    assert swept.sweep().dispatches == []
    assert (swept.due(job) or 0) - swept.time() == pytest.approx(30, abs=3)
    swept.append(job, "still mine")


@pytest.mark.parametrize("alive", [True, False])
def test_an_expired_lease_is_freed_and_the_zombie_fenced(swept: World, alive: bool) -> None:
    job = swept.submit()
    swept.claim(job, lease=EXPIRED)
    swept.append(job, "half")
    if alive:
        announce(swept, "w1")
    make_due(swept, job)
    assert swept.sweep().dispatches == [Dispatch("s1", job.job_id, RESUME)]
    assert swept.field(job, "deaths") == (None if alive else b"1")
    before = swept.dump()
    with pytest.raises(FencedError):
        swept.append(job, "zombie", first=2)
    assert swept.dump() == before
    again = swept.claim(job, by="t2")
    assert (again.attempt, again.text) == (2, "half")


def test_a_cancel_that_its_worker_did_not_live_to_see_is_done(swept: World) -> None:
    job = swept.submit()
    swept.claim(job)
    swept.append(job, "half")
    swept.ledger.cancel("s1", job.job_id)
    set_field(swept, job, "lease", 1)
    make_due(swept, job)
    assert swept.sweep().ended == 1
    view = swept.ledger.job(job.job_id)
    assert (view.status, view.text) == (Status.CANCELLED, "half")


def quiet(world: World, *, since: float) -> None:
    """No sweeper was heard of after that time."""
    world.raw.hset(world.keys.sweep, "last", int(since * 1000))


def test_a_lease_that_ran_out_while_no_sweeper_was_heard_of_has_time_for_one_renewal(swept: World) -> None:
    before, during = swept.submit("s1"), swept.submit("s2")
    now = swept.time()
    for job, lease in ((before, 11), (during, 9)):
        swept.claim(job)
        set_field(swept, job, "lease", int((now - lease) * 1000))
    make_due(swept, before, during)
    quiet(swept, since=now - 10)
    asked = swept.time()
    # Of the one lease everybody knew that it was over.
    assert swept.sweep().dispatches == [Dispatch("s1", before.job_id, RESUME)]
    grace = swept.settings.renew_seconds + 1
    assert asked + grace - 0.01 <= (swept.due(during) or 0) <= swept.time() + grace
    swept.renew(during)
    assert swept.ledger.job(during.job_id).held


def test_it_has_that_time_once(swept: World) -> None:
    job = swept.submit()
    swept.claim(job, lease=EXPIRED)
    for quiets in (1, 2):
        now = swept.time()
        set_field(swept, job, "lease", int((now - 9) * 1000))
        make_due(swept, job)
        quiet(swept, since=now - (10 if quiets == 1 else 8))
        assert bool(swept.sweep().dispatches) is (quiets == 2)


def test_a_pause_between_a_sweep_and_its_look_frees_no_lease(swept: World) -> None:
    job = swept.submit()
    swept.claim(job, lease=EXPIRED)
    began = swept.time() - 4
    look = operations.look(
        swept.keys,
        "s1",
        job.job_id,
        retention=swept.ledger.retention,
        turn=SweepTurn(time=began, stopped=began - 10, resumed=began - 9),
        grace=0,
    )
    asked = swept.time()
    looked = swept.ledger.run(look)
    assert (looked.outcome, looked.dispatch) == ("ok", None)
    assert asked * 1000 - 1 <= looked.next_look <= swept.time() * 1000
    assert swept.append(job, "still mine").last_taken == 1


def die(world: World, job: Submitted, attempt: int, *events: str) -> Swept:
    world.claim(job, by=f"t{attempt}", lease=EXPIRED)
    if events:
        world.append(job, *events, attempt=attempt)
    make_due(world, job)
    return world.sweep()


def test_three_deaths_without_an_event_between_poison_a_job(swept: World) -> None:
    job, second = swept.submit(), swept.submit()
    for attempt in range(1, POISONED_AFTER):
        die(swept, job, attempt, "start")
    last = die(swept, job, POISONED_AFTER)
    assert (last.ended, last.dispatches) == (1, [Dispatch("s1", second.job_id, RESUME)])
    view = swept.ledger.job(job.job_id)
    assert view.status is Status.FAILED
    assert view.error is not None
    assert view.error.type == "JobPoisonedError"
    assert swept.told(job)[-1] == "stream_end"
    assert swept.due(job) is None


def test_progress_starts_the_count_of_deaths_anew(swept: World) -> None:
    job = swept.submit()
    for attempt in range(1, 8):
        die(swept, job, attempt, "start", "progress")
    assert swept.ledger.job(job.job_id).status is Status.RUNNING
    assert swept.field(job, "deaths") == b"1"


def test_a_stored_entry_of_the_journal_is_progress_too(swept: World) -> None:
    job = swept.submit()
    for attempt in range(1, POISONED_AFTER):
        die(swept, job, attempt)
    swept.claim(job, by="patient")
    swept.save_entry(job, 1, attempt=POISONED_AFTER)
    assert swept.field(job, "deaths") is None


def test_progress_of_a_worker_that_gave_the_job_back_counts_too(swept: World) -> None:
    job = swept.submit()
    for attempt in range(1, POISONED_AFTER):
        die(swept, job, attempt, "start")
    swept.claim(job, by="patient")
    swept.append(job, "start", "progress", attempt=POISONED_AFTER)
    swept.release(job, attempt=POISONED_AFTER)
    die(swept, job, POISONED_AFTER + 1)
    assert swept.ledger.job(job.job_id).status is Status.RUNNING


def test_a_parked_job_goes_on_when_it_is_due(swept: World) -> None:
    job = swept.submit()
    swept.claim(job)
    swept.release(job, resume_at=swept.time() + 60)
    make_due(swept, job)
    assert swept.sweep().dispatches == []
    assert (swept.due(job) or 0) - swept.time() == pytest.approx(60, abs=3)
    set_field(swept, job, "resume", 1)
    make_due(swept, job)
    # No message was sent before: it does not matter whether others wait in the queue.
    assert swept.sweep().dispatches == [Dispatch("s1", job.job_id, RESUME)]
    assert swept.claim(job, by="t2").attempt == 2


def test_a_job_with_run_at_enters_the_line_when_due(swept: World) -> None:
    later = swept.submit(run_at=swept.time() + 60)
    soon = swept.submit(run_at=swept.time() + 60)
    for job in (later, soon):
        set_field(swept, job, "parked", 1)
    make_due(swept, soon)
    assert swept.sweep().dispatches == [Dispatch("s1", soon.job_id, "palaver.normal")]
    make_due(swept, later)
    assert swept.sweep().dispatches == []
    assert swept.ledger.snapshot("s1").waiting == [later.job_id]
    assert swept.positions(later)[-1] == 1
    assert swept.try_claim(later) == NotClaimed("waiting")


@pytest.mark.parametrize("held", ["no", "expired", "yes"])
def test_deadlines(swept: World, held: str) -> None:
    job, second = swept.submit(), swept.submit()
    if held != "no":
        swept.claim(job, lease=EXPIRED if held == "expired" else 30)
        swept.append(job, "half")
    set_field(swept, job, "deadline", 1)
    make_due(swept, job)
    done = swept.sweep()
    if held == "yes":
        assert done.ended == 0
        assert swept.renew(job).cancelled == "expire"
        return
    assert (done.ended, done.dispatches) == (1, [Dispatch("s1", second.job_id, RESUME)])
    view = swept.ledger.job(job.job_id)
    assert (view.status, view.text) == (Status.EXPIRED, "half" if held == "expired" else "")
    assert swept.due(job) is None
    assert swept.due(second) is not None


def test_a_job_in_the_line_expires_there(swept: World) -> None:
    first, second, third = (swept.submit() for _ in range(3))
    set_field(swept, second, "deadline", 1)
    make_due(swept, second)
    assert swept.sweep().ended == 1
    assert swept.ledger.snapshot("s1").waiting == [third.job_id]
    assert swept.ledger.snapshot("s1").active == first.job_id


def test_a_dead_turn_is_repaired_by_a_look_at_who_waits(swept: World) -> None:
    lost, waiting = swept.submit(), swept.submit()
    swept.raw.delete(swept.keys.job("s1", lost.job_id))
    make_due(swept, waiting)
    assert swept.sweep().dispatches == [Dispatch("s1", waiting.job_id, RESUME)]


def test_a_turn_given_by_somebody_who_then_died_is_found(swept: World) -> None:
    first, second = swept.submit(), swept.submit()
    swept.claim(first)
    finishing = swept.finishing(first)
    # only the script: its caller dies before anything else
    swept.raw.eval(finishing.script.source, 1, *finishing.keys, *finishing.args)
    make_due(swept, first)
    done = swept.sweep()
    assert done.dispatches == [Dispatch("s1", second.job_id, RESUME)]
    assert swept.due(first) is None


def test_an_orphan_is_dropped_after_a_grace_period(swept: World) -> None:
    job = swept.submit()
    swept.raw.delete(swept.keys.job("s1", job.job_id))
    make_due(swept, job)
    swept.sweep()
    assert swept.due(job) is not None  # its submit may be under way
    swept.raw.zadd(swept.keys.due, {f"s1/{job.job_id}": int(swept.time() * 1000) - 61_000})
    swept.sweep()
    assert swept.due(job) is None
    assert swept.ledger.find(job.job_id) is None


def test_settling_leaves_alone_what_somebody_has_moved(swept: World) -> None:
    job = swept.submit()
    make_due(swept, job)
    (entry,) = swept.ledger.query(operations.due(swept.keys, time=swept.time(), limit=10))
    swept.claim(job)
    moved = swept.due(job)
    swept.ledger.run(operations.settle(swept.keys, [(entry, 5), (entry, None)]))
    assert swept.due(job) == moved


def test_many_at_once_in_bounded_steps(swept: World) -> None:
    jobs = swept.ledger.submit_many([ChatJob(messages="Hi", session_id=f"s{i}") for i in range(30)])
    wait(swept, *(job for job in jobs if isinstance(job, Submitted)))
    done = swept.sweep(NORMAL)
    assert (done.looked, len(done.dispatches), done.full) == (30, 30, False)
