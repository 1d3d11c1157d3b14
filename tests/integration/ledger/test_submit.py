"""Submit: one step, repeatable, with its turn, key, cursor and times to live."""

import pytest

from palaver.shared.errors import (
    ConflictError,
    ErrorInfo,
    QueueFullError,
    SessionBusyError,
    SessionClosedError,
    ValidationError,
)
from palaver.shared.ids import session_for
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Dispatch
from palaver.shared.messages import Message
from tests.integration.ledger.world import LEASE, World
from tests.servers import RedisServer


def test_the_first_job_of_a_session_has_the_turn(world: World) -> None:
    job = world.submit("s1", priority=8)
    assert (job.cursor, job.created, job.status, job.position) == (0, True, Status.QUEUED, 0)
    assert job.dispatch == Dispatch("s1", job.job_id, "palaver.high")
    (event,) = world.events()
    assert event["seq"] == 1
    assert event["type"] == "job_queued"
    assert event["data"] == {"position": 0}
    assert event["session_id"] == "s1"
    assert event["job_id"] == job.job_id
    assert abs(event["time"] - world.time()) < 60


def test_later_jobs_wait_and_are_told_how_many_are_ahead(world: World) -> None:
    first, second, third = (world.submit() for _ in range(3))
    assert (second.position, second.dispatch) == (1, None)
    assert (third.position, third.cursor) == (2, 2)
    world.claim(first)
    finished = world.finish(first)
    assert finished.dispatch == Dispatch("s1", second.job_id, "palaver.resume")
    assert world.positions(second) == [1, 0]
    assert world.positions(third) == [2, 1]


def test_a_session_takes_so_many_jobs_and_more_when_one_has_ended(any_redis: RedisServer) -> None:
    world = World(any_redis, session_jobs=3)
    first, _, last = (
        world.submit(),
        world.submit(on_busy="parallel"),
        world.submit(run_at=world.time() + 60),
    )
    before = world.dump()
    for more in ({}, {"on_busy": "parallel"}, {"on_busy": "interrupt"}, {"run_at": world.time() + 60}):
        with pytest.raises(QueueFullError, match="has 3 jobs that have not ended") as refused:
            world.submit(**more)
        assert (refused.value.retryable, refused.value.param) == (True, "session_id")
    assert world.dump() == before
    again = ChatJob(messages="Hi", session_id="s1", job_id=last.job_id, run_at=world.time() + 60)
    with pytest.raises(ConflictError):
        world.ledger.submit(again)
    assert world.submit("s2").created
    world.claim(first)
    world.finish(first)
    assert world.submit().created
    world.close()


def test_a_retry_returns_the_first_reply_and_changes_nothing(world: World) -> None:
    for fields in ({}, {"idempotency_key": "k"}, {"on_busy": "parallel"}, {"run_at": world.time() + 60}):
        job = ChatJob(messages="Hi", session_id="s1", **fields)
        first = world.ledger.submit(job)
        before = world.dump()
        assert world.ledger.submit(job) == first
        assert world.dump() == before


def test_a_job_id_with_another_body_conflicts_and_the_job_stays_findable(world: World) -> None:
    job = ChatJob(messages="Hi", session_id="s1")
    world.ledger.submit(job)
    before = world.dump()
    with pytest.raises(ConflictError):
        world.ledger.submit(ChatJob(messages="Ho", session_id="s1", job_id=job.job_id))
    assert world.dump() == before
    assert world.ledger.find(job.job_id) == "s1"


def test_an_idempotency_key_makes_one_job(world: World) -> None:
    first = world.submit("s1", idempotency_key="key 1")
    before = world.dump()
    again = world.submit("s1", idempotency_key="key 1")
    assert (again.job_id, again.created, again.cursor) == (first.job_id, False, first.cursor)
    assert again.dispatch == first.dispatch  # its message may have been lost
    with pytest.raises(ConflictError, match="idempotency key"):
        world.submit("s1", "something else", idempotency_key="key 1")
    assert world.dump() == before


def test_the_key_is_checked_before_the_turn(world: World) -> None:
    first = world.submit("s1", idempotency_key="k", on_busy="reject")
    assert world.submit("s1", idempotency_key="k", on_busy="reject").job_id == first.job_id


def test_keys_without_a_session_meet_in_one(world: World) -> None:
    first = world.submit(None, idempotency_key="k", tenant="a")
    assert first.session_id == session_for("a", "k")
    assert world.submit(None, idempotency_key="k", tenant="a").job_id == first.job_id
    assert world.submit(None, idempotency_key="k", tenant="b").created
    document = world.ledger.job(first.job_id, document=True).document
    assert document is not None
    assert document.session_id == first.session_id


def test_reject_stores_nothing(world: World) -> None:
    world.submit("s1")
    before = world.dump()
    with pytest.raises(SessionBusyError):
        world.submit("s1", on_busy="reject")
    assert world.dump() == before


def test_reject_sees_the_line_behind_a_turn_that_vanished(world: World) -> None:
    lost, _ = world.submit("s1"), world.submit("s1")
    world.raw.delete(world.keys.job("s1", lost.job_id))
    with pytest.raises(SessionBusyError):
        world.submit("s1", on_busy="reject")


def test_a_closed_session_takes_nothing(world: World) -> None:
    world.raw.hset(world.keys.session("s1"), "status", "archived")
    world.raw.expire(world.keys.session("s1"), 100)
    before = world.dump()
    with pytest.raises(SessionClosedError, match="archived"):
        world.submit("s1")
    assert world.dump() == before


def test_interrupt_ends_a_queued_job_at_once_and_takes_its_turn(world: World) -> None:
    old, waiting = world.submit(), world.submit()
    new = world.submit(on_busy="interrupt")
    assert new.dispatch == Dispatch("s1", new.job_id, "palaver.resume")
    assert world.told(old) == ["job_queued", "stream_end"]
    assert world.ledger.job(old.job_id).status is Status.CANCELLED
    assert world.ledger.snapshot("s1").active == new.job_id
    assert world.positions(waiting) == [1, 2, 1]
    assert world.ledger.job(waiting.job_id).position == 1


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
def test_interrupt_asks_the_worker_of_a_running_job(world: World, mode: str) -> None:
    old = world.submit(history="session")
    world.claim(old)
    world.append(old, "half")
    control = world.listener()
    control.subscribe(world.keys.control)
    control.get_message(timeout=5)
    new = world.submit("s1", "New", on_busy=mode)
    notice = control.get_message(timeout=5)
    control.close()
    assert notice is not None
    assert old.job_id.encode() in notice["data"]
    assert mode.encode() in notice["data"]
    assert (new.position, new.dispatch) == (1, None)
    assert world.append(old, " more", first=2).cancelled == mode
    assert world.renew(old).cancelled == mode
    ended = world.finish(old, status=Status.CANCELLED, history=[b'{"role":"user"}', b'{"role":"assistant"}'])
    assert ended.dispatch == Dispatch("s1", new.job_id, "palaver.resume")
    kept = [b'{"role":"user"}', b'{"role":"assistant"}'] if mode == "interrupt" else []
    assert world.raw.lrange(world.keys.messages("s1"), 0, -1) == kept


def test_parallel_takes_no_turn(world: World) -> None:
    first, side = world.submit(), world.submit(on_busy="parallel")
    assert side.dispatch == Dispatch("s1", side.job_id, "palaver.normal")
    assert world.ledger.snapshot("s1").active == first.job_id
    world.claim(side)
    assert world.finish(side).dispatch is None
    assert world.ledger.snapshot("s1").active == first.job_id


def test_submit_repairs_a_turn_that_vanished(world: World) -> None:
    lost, waiting = world.submit(), world.submit()
    world.raw.delete(world.keys.job("s1", lost.job_id))
    again = ChatJob(messages="Hi", session_id="s1")
    new = world.ledger.submit(again)
    assert new.dispatch == Dispatch("s1", waiting.job_id, "palaver.resume")
    assert world.ledger.snapshot("s1").active == waiting.job_id
    assert world.due(waiting) is not None
    before = world.dump()
    assert world.ledger.submit(again) == new
    assert world.dump() == before
    world.claim(waiting)
    world.finish(waiting)
    world.claim(new)
    finished = world.finish(new)
    assert finished.dispatch is None
    assert world.finish(new) == finished


def test_a_session_that_was_lost_gets_a_time_to_live_again(world: World) -> None:
    job, side = world.submit(), world.submit(on_busy="parallel")
    for running in (job, side):
        world.claim(running)
    world.raw.delete(world.keys.session("s1"))
    world.append(job, "a")
    assert world.seconds_to_live(world.keys.session("s1")) > 3500
    world.raw.delete(world.keys.session("s1"))
    world.finish(side)
    assert world.ledger.seq("s1") == len(world.events()) == 4


def test_the_reply_and_the_event_of_a_job_with_run_at_name_one_position(world: World) -> None:
    world.submit()
    later = world.submit(run_at=world.time() + 100)
    assert world.positions(later) == [later.position] == [1]


def test_a_job_with_run_at_waits_outside_the_line(world: World) -> None:
    later = world.submit(run_at=world.time() + 100)
    assert later.dispatch is None
    assert world.try_claim(later).reason == "not_due"  # type: ignore[union-attr]
    assert world.submit().dispatch is not None
    due = world.due(later)
    assert due is not None
    assert due > world.time() + 90
    assert world.seconds_to_live(world.keys.job("s1", later.job_id)) > 100 + 3600 + 24 * 3600 - 60


def test_every_key_lives_at_least_as_long_as_the_job_may(world: World) -> None:
    day = 24 * 3600
    job = world.submit(idempotency_key="k", deadline=3 * day)
    world.submit(deadline=3 * day)
    for key in (
        world.keys.job("s1", job.job_id),
        world.keys.idempotency("s1", "k"),
        world.keys.events("s1"),
        world.keys.waiting("s1"),
        world.keys.index(job.job_id),
    ):
        assert 4 * day - 60 < world.seconds_to_live(key) <= 4 * day, key
    assert world.seconds_to_live(world.keys.session("s1")) > 30 * day - 60
    assert world.seconds_to_live(world.keys.due) > 300 * day


def test_the_cursor_is_not_below_a_log_that_a_failover_left_ahead(world: World) -> None:
    world.submit()
    world.submit()
    world.raw.hset(world.keys.session("s1"), "seq", 1)
    third = world.submit()
    assert third.cursor == 2
    assert [event["seq"] for event in world.events()] == [1, 2, 3]


def test_a_named_job_that_cannot_be_accepted_ends_once(world: World) -> None:
    error = ErrorInfo.of(ValidationError("messages: must not be empty", param="messages"))
    refused = world.ledger.refuse("s1", "job-1", error)
    before = world.dump()
    assert (refused.status, refused.cursor, refused.existed) == (Status.FAILED, 0, False)
    assert world.ledger.refuse("s1", "job-1", error) == refused
    assert world.dump() == before
    (end,) = world.events()
    assert end["type"] == "stream_end"
    assert end["data"]["error"]["param"] == "messages"
    assert world.ledger.job("job-1").error == error


def test_refuse_leaves_existing_jobs_alone(world: World) -> None:
    job = world.submit()
    before = world.dump()
    assert world.ledger.refuse("s1", job.job_id, ErrorInfo.of(ValidationError("x"))).existed
    assert world.dump() == before


def test_many_at_once_each_with_its_own_result(world: World) -> None:
    jobs = [ChatJob(messages="Hi", session_id=f"s{i % 7}") for i in range(450)]
    jobs.append(ChatJob(messages="Hi", session_id="s0", on_busy="reject"))
    results = world.ledger.submit_many(jobs)
    assert isinstance(results[-1], SessionBusyError)
    stored = [result for result in results if not isinstance(result, Exception)]
    assert [result.job_id for result in stored] == [job.job_id for job in jobs[:-1]]
    assert sum(result.dispatch is not None for result in stored) == 7
    assert world.ledger.unended() == 450


def test_the_history_of_a_session_is_read_at_claim(world: World) -> None:
    first = world.submit("s1", "One", history="session")
    assert world.claim(first).history == []
    user, answer = b'{"role":"user","content":"One"}', b'{"role":"assistant","content":"1"}'
    assert world.ledger.messages("s1") == [user]
    world.finish(first, history=[user, answer])
    second = world.submit("s1", "Two", history="session")
    assert world.claim(second).history == [user, answer]
    whole = [user, answer, b'{"role":"user","content":"Two"}']
    assert world.ledger.messages("s1") == whole
    for at in range(4):
        for limit in range(1, 5):
            assert world.ledger.messages("s1", first=at, limit=limit) == whole[at : at + limit]
    world.finish(second)
    plain = world.submit("s1", [Message(role="user", content="Three")])
    assert world.claim(plain, lease=LEASE).history == []
