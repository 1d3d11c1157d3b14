"""What the ledger has of conversations: their sessions, their messages, and what is not archived yet."""

import uuid
from contextlib import suppress
from typing import Any

import pytest
import redis

from palaver.shared.conversations import ConversationMessage, ConversationSession
from palaver.shared.errors import SessionBusyError, SessionClosedError, SessionNotFoundError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import erasing, exchange, operations
from palaver.shared.ledger.replies import Submitted
from palaver.shared.owner import Owner
from tests.integration.ledger.world import World

SESSION = ConversationSession(
    id=uuid.uuid4(),
    agent_path="support/",
    user="u1",
    anonymous_id="guest {x}",
    context={"said": "line\nline"},
    created=1.5,
)
SID = SESSION.session_id


def open_session(world: World, session: ConversationSession = SESSION) -> bool:
    return world.ledger.run(operations.open_session(world.keys, session, retention=world.ledger.retention))


def opened(world: World, session_id: str = SID) -> ConversationSession | None:
    return world.ledger.query(operations.session(world.keys, session_id))


def message(number: int, **fields: Any) -> ConversationMessage:
    return ConversationMessage(session_id=SESSION.id, message_type="user", created=number, **fields)


def store(world: World, *messages: ConversationMessage) -> bool:
    return world.ledger.run(
        operations.store_messages(world.keys, SID, messages, retention=world.ledger.retention)
    )


def unarchived(world: World, session_id: str = SID) -> set[str]:
    noted = world.ledger.query(operations.unarchived_jobs(world.keys, session_id))
    return set(noted)


def test_a_session_is_opened_once(world: World) -> None:
    assert opened(world) is None
    assert open_session(world)
    stored = world.dump()
    again = ConversationSession.validated({**SESSION.model_dump(), "user": "u2"})
    assert not open_session(world, again)
    assert world.dump() == stored
    assert opened(world) == SESSION


def test_jobs_and_an_opened_session_do_not_disturb_each_other(world: World) -> None:
    job = world.submit(SID)
    assert opened(world) is None
    assert open_session(world)
    world.claim(job)
    world.finish(job)
    assert world.submit(SID).cursor == world.ledger.seq(SID) - 1
    assert opened(world) == SESSION


def test_an_opened_session_is_kept_on_and_no_other_begun(world: World) -> None:
    def keep(*, in_database: bool = False) -> bool:
        return world.ledger.run(
            operations.keep_session(
                world.keys, SID, retention=world.ledger.retention, in_database=in_database
            )
        )

    def place() -> str | None:
        return world.ledger.query(operations.kept_in(world.keys, SID))

    assert not keep()
    assert world.dump() == {}
    world.submit(SID)  # a session of jobs
    stored = world.dump()
    assert not keep(in_database=True)
    assert (world.dump(), place()) == (stored, None)
    open_session(world)
    key = world.keys.session(SID)
    world.raw.pexpire(key, 5_000)
    assert keep()
    kept = world.ledger.retention.session
    assert kept - 60 < world.seconds_to_live(key) <= kept
    assert place() == "redis"
    assert keep(in_database=True)
    assert (opened(world), place()) == (SESSION, "database")


def test_a_closed_session_takes_no_job_until_it_is_active_again(world: World) -> None:
    status = SESSION.status.__class__
    assert not world.ledger.run(operations.set_status(world.keys, SID, status.COMPLETED))
    assert world.dump() == {}
    open_session(world)
    for _ in range(2):
        assert world.ledger.run(operations.set_status(world.keys, SID, status.COMPLETED))
    with pytest.raises(SessionClosedError):
        world.submit(SID)
    world.ledger.run(operations.set_status(world.keys, SID, status.ACTIVE))
    world.submit(SID)


def test_messages_are_stored_once_and_in_their_order(world: World) -> None:
    late, early = message(3, content="late\n{}"), message(1, content="é")
    open_session(world)
    store(world, late, early)
    stored = world.dump()
    store(world, early, late)
    assert world.dump() == stored
    store(world, message(2))
    first = world.ledger.query(operations.stored_messages(world.keys, SID, after=None, limit=2))
    rest = world.ledger.query(operations.stored_messages(world.keys, SID, after=first.after, limit=2))
    assert [each.created for each in (*first.items, *rest.items)] == [1, 2, 3]
    assert (first.items[0], rest.items[0], rest.after) == (early, late, None)


def test_no_message_is_stored_of_a_session_that_was_never_opened_or_was_erased(world: World) -> None:
    world.submit(SID)  # it is one of jobs, and no conversation
    stored = world.dump()
    assert not store(world, message(1))
    assert world.dump() == stored
    open_session(world)
    assert store(world, message(1))
    world.ledger.erase([SID])
    erased = world.dump()
    assert not store(world, message(1))
    assert world.dump() == erased


def test_an_owner_s_list_has_the_latest_first(world: World) -> None:
    older = ConversationSession(agent_path="a", user="u1", created=1.25)
    user = Owner(user="u1")
    for session in (SESSION, older, SESSION):
        world.ledger.query(operations.list_session(world.keys, session, user))

    def listed(owner: Owner, after: str | None = None, limit: int = 9) -> list[str]:
        return world.ledger.query(operations.listed(world.keys, owner, after=after, limit=limit))

    first = SESSION.order
    assert listed(user) == [first, older.order]
    assert listed(user, after=first) == [older.order]
    assert listed(Owner(anonymous_id="u1")) == []
    world.ledger.query(operations.unlist(world.keys, user, [first]))
    assert listed(user) == [older.order]


@pytest.mark.parametrize("was", ["nothing", "of jobs", "erased"])
def test_no_job_is_archived_with_a_session_that_is_no_conversation(world: World, was: str) -> None:
    if was == "of jobs":
        world.submit(SID)
    elif was == "erased":
        submit(world)
        world.ledger.erase([SID])
    stored = world.dump()
    kinds: list[dict[str, Any]] = [
        {"user": "u1", "on_busy": "parallel"},
        {"idempotency_key": "k", "webhook": "https://example.com/"},
        {"priority": 9, "run_at": 2e9},
    ]
    for fields in kinds:
        with pytest.raises(SessionNotFoundError, match="no conversation") as refused:
            world.submit(SID, archive=True, **fields)
        assert refused.value.param == "session_id"
    # The name of the session, until an archiver looks: somebody else may have noted a job of it since.
    world.raw.zrem(world.keys.unarchived, SID)
    assert {key: held for key, held in world.dump().items() if b":ready:" not in key} == stored


def submit(world: World, **fields: Any) -> Submitted:
    """A job in a conversation."""
    open_session(world)
    return world.submit(SID, archive=True, **fields)


def test_a_job_is_known_when_it_comes_again_whatever_became_of_its_conversation(world: World) -> None:
    open_session(world)
    job = ChatJob(messages="Hi", session_id=SID, archive=True)
    first = world.ledger.submit(job)
    world.raw.hdel(world.keys.session(SID), "created")  # by a failover
    assert world.ledger.submit(job) == first


def test_a_job_is_noted_before_it_is_there_and_others_are_not(world: World) -> None:
    world.submit(SID)
    assert (unarchived(world), world.raw.zcard(world.keys.unarchived)) == (set(), 0)
    job = submit(world)
    assert unarchived(world) == {job.job_id}
    assert world.raw.zscore(world.keys.unarchived, SID) is not None
    with pytest.raises(SessionBusyError):
        submit(world, on_busy="reject")
    assert len(unarchived(world)) == 2, "one whose submit was refused goes after a while"


def test_a_session_s_score_changes_with_every_job(world: World) -> None:
    """An archiver that found nothing drops the session only if its score is what it was before it looked."""
    first = submit(world)
    score: Any = world.raw.zscore(world.keys.unarchived, SID)
    second = submit(world)
    assert world.raw.zscore(world.keys.unarchived, SID) > score
    world.ledger.query(operations.archived(world.keys, SID, [first.job_id, first.job_id]))
    assert unarchived(world) == {second.job_id}


def test_what_waits_for_an_archive_is_kept_longer_and_nothing_shorter(world: World) -> None:
    ended, unended = submit(world), submit(world)
    world.claim(ended)
    world.finish(ended)
    keys = [world.keys.job(SID, job.job_id) for job in (ended, unended)]
    before = world.seconds_to_live(keys[1])
    world.raw.pexpire(keys[0], 5_000)
    for _ in range(2):
        world.ledger.run(
            operations.prolong(
                world.keys, SID, [ended.job_id, unended.job_id, "gone"], retention=world.ledger.retention
            )
        )
    kept = world.ledger.retention.job
    assert kept - 5 < world.seconds_to_live(keys[0]) <= kept
    assert before - 5 < world.seconds_to_live(keys[1]) <= before
    assert world.raw.exists(world.keys.job(SID, "gone")) == 0


def test_an_archiver_drops_a_session_only_if_nothing_came_meanwhile(world: World) -> None:
    submit(world)
    seen = world.ledger.query(operations.unarchived_sessions(world.keys, time=2e9, limit=10))
    assert list(seen) == [SID]
    submit(world)  # while the archiver looks
    put_off = operations.put_off(world.keys, seen, {SID: None})
    world.ledger.run(put_off)
    again = world.ledger.query(operations.unarchived_sessions(world.keys, time=2e9, limit=10))
    assert again[SID] > seen[SID]
    world.ledger.run(operations.put_off(world.keys, again, {SID: 3e9}))
    assert world.ledger.query(operations.unarchived_sessions(world.keys, time=2e9, limit=10)) == {}
    assert world.ledger.query(operations.unarchived_among(world.keys, ["other", SID])) == [SID]
    world.ledger.run(operations.put_off(world.keys, {SID: 3_000_000_000_000}, {SID: None}))
    assert world.ledger.query(operations.unarchived_among(world.keys, [SID])) == []


def test_archivers_take_turns(world: World) -> None:
    turn = operations.take_archivers_turn(world.keys, period=60)
    assert [world.ledger.query(turn) for _ in range(2)] == [True, False]


def commands_of_erasing(world: World) -> set[str]:
    """The names of the commands by which the session was erased."""
    conversation, replies, names = erasing.erase(world.keys, [SID]), None, set[str]()
    while not isinstance(commands := exchange.step(conversation, replies), exchange.Done):
        names |= {str(words[0]) for words in commands}
        replies = [answer(world, words) for words in commands]
    assert commands.result > 6
    return names


def answer(world: World, words: exchange.Words) -> Any:
    try:
        return world.raw.execute_command(*words)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        return error


def erase_in_part(world: World, steps: int) -> bool:
    """Take so many steps; the session is closed while there is anything of it. Whether all is done."""
    conversation, replies = erasing.erase(world.keys, [SID]), None
    for _ in range(steps):
        if any(world.keys.session_in(key.decode()) == SID for key in world.raw.scan_iter(count=1000)):
            with pytest.raises(SessionClosedError):
                world.submit(SID)
        commands = exchange.step(conversation, replies)
        if isinstance(commands, exchange.Done):
            return True
        replies = [answer(world, words) for words in commands]
    return False


def test_an_erased_session_of_jobs_is_closed_to_its_last_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where somebody is cut off, whoever does it again finds what is left."""
    monkeypatch.setattr(erasing, "BATCH", 3)  # many steps, of few jobs
    jobs = [ChatJob(messages="Hi", session_id=SID, idempotency_key=f"k{number}") for number in range(5)]
    status, retention = SESSION.status.__class__, world.ledger.retention
    is_done, steps = False, 0
    while not is_done:
        world.ledger.submit_many(jobs)
        world.ledger.run_many(
            [operations.cancel(world.keys, SID, job.job_id, retention=retention) for job in jobs]
        )
        assert world.ledger.run(operations.set_status(world.keys, SID, status.ARCHIVED))
        is_done = erase_in_part(world, steps := steps + 1)
        world.ledger.erase([SID])
        assert not [key for key in world.dump() if SID.encode() in key or b":job:" in key]
    assert steps > 9


@pytest.mark.parametrize("opened_again_after", range(1, 20, 2))
def test_no_job_outlives_its_session_though_somebody_opens_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch, opened_again_after: int
) -> None:
    monkeypatch.setattr(erasing, "BATCH", 3)
    for job in [submit(world, on_busy="parallel") for _ in range(3)]:
        world.claim(job)
        world.finish(job)
    world.ledger.run(operations.set_status(world.keys, SID, SESSION.status.__class__.ARCHIVED))
    conversation, replies, number = erasing.erase(world.keys, [SID]), None, 0
    while not isinstance(commands := exchange.step(conversation, replies), exchange.Done):
        replies = []
        for words in commands:
            number += 1
            if number == opened_again_after:
                world.ledger.run(operations.set_status(world.keys, SID, SESSION.status))
                with suppress(SessionNotFoundError):
                    world.submit(SID, archive=True, on_busy="parallel")
            replies.append(answer(world, words))
    assert number > 20
    assert [key for key in world.dump() if SID.encode() in key or b":job:" in key] == []


def test_no_message_outlives_its_session_whenever_it_comes(world: World) -> None:
    """And wherever the eraser is cut off."""
    world.submit(SID)
    open_session(world)
    conversation, replies, number = erasing.erase(world.keys, [SID]), None, 0
    while not isinstance(commands := exchange.step(conversation, replies), exchange.Done):
        replies = []
        for words in commands:
            number += 1
            is_kept = store(world, message(number))
            assert is_kept == world.raw.exists(world.keys.stored(SID))
            replies.append(answer(world, words))
            assert world.raw.exists(world.keys.stored(SID)) <= world.raw.exists(world.keys.session(SID))
    assert number > 4


@pytest.mark.parametrize("ended", [3, 105])
def test_an_erased_session_is_gone_and_others_are_as_they_were(world: World, ended: int) -> None:
    """Also when it had more jobs than a session lists; and never is a key looked at that is not its own."""
    other = world.submit("other", idempotency_key="k")
    world.claim(other)
    world.finish(other)
    before = world.dump()
    open_session(world)
    store(world, message(1, content="words"))
    jobs = [
        ChatJob(messages="Hi", session_id=SID, archive=True, idempotency_key=f"k{number}")
        for number in range(ended)
    ]
    world.ledger.submit_many(jobs)
    retention = world.ledger.retention
    world.ledger.run_many(
        [operations.cancel(world.keys, SID, job.job_id, retention=retention) for job in jobs]
    )
    failed = submit(world)
    world.claim(failed)
    world.finish(failed, status=Status.FAILED, response=b"{}")
    orphan = submit(world)  # as if its end had not been told to everybody
    assert world.due(orphan) is not None
    running = submit(world, on_busy="parallel")
    world.claim(running)
    world.append(running, "words")
    assert not commands_of_erasing(world) & {"SCAN", "KEYS"}
    world.raw.delete(world.keys.sweep)
    assert world.dump() == before
    assert world.ledger.erase([SID, "never-was"]) == world.ledger.erase([]) == 0
