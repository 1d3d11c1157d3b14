"""What a session has for an agent, and keeps of it."""

from typing import Any

import pytest

from palaver.shared.conversations import ConversationSession
from palaver.shared.errors import FencedError, JobEndedError, JobGoneError
from palaver.shared.ledger import AgentSession, operations
from palaver.shared.ledger.replies import Submitted
from tests.integration.ledger.world import EXPIRED, World


def keep(world: World, job: Submitted, attempt: int = 1, **more: Any) -> AgentSession:
    return world.ledger.run(
        operations.keep_context(**world.claim_of(job, attempt), **{"path": "support", **more})
    )


def test_the_first_context_of_an_agent_counts(world: World) -> None:
    job, other = world.submit(), world.submit(on_busy="parallel")
    for each in (job, other):
        world.claim(each)
    assert keep(world, job).own == keep(world, other).own == b""
    assert keep(world, job, context=b'{"n":1}').own == b'{"n":1}'
    assert keep(world, other, context=b'{"n":2}').own == b'{"n":1}'
    assert keep(world, job, context=b'{"n":1}').own == b'{"n":1}'  # asked again, blindly
    assert keep(world, other, path="docs/42").own == b""


def test_one_job_at_a_time_makes_the_context(world: World) -> None:
    job, other = world.submit(), world.submit(on_busy="parallel")
    for each in (job, other):
        world.claim(each)
    assert not keep(world, other).makes, "it has not asked to"
    assert [keep(world, each, make=True).makes for each in (job, other, job)] == [True, False, True]
    assert keep(world, other, path="docs/42", make=True).makes
    keep(world, job, context=b'{"n":1}')
    assert not keep(world, other, make=True).makes
    assert keep(world, other, make=True).own == b'{"n":1}'
    assert not world.raw.hexists(world.keys.session("s1"), "maker:support")


def test_who_ended_or_died_without_a_context_leaves_it_to_another(world: World) -> None:
    dead, failed, other = world.submit(), world.submit(on_busy="parallel"), world.submit(on_busy="parallel")
    world.claim(dead, lease=EXPIRED)
    for each in (failed, other):
        world.claim(each)
    assert keep(world, dead, make=True).makes
    assert keep(world, failed, make=True).makes
    assert not keep(world, other, make=True).makes
    world.finish(failed)
    assert keep(world, other, make=True).makes


def test_an_agent_is_told_whose_its_session_is(world: World) -> None:
    session = ConversationSession(user="u1", anonymous_id="guest", context={"a": "b"})
    world.ledger.run(operations.open_session(world.keys, session, retention=world.ledger.retention))
    job = world.submit(session.session_id)
    world.claim(job)
    found = keep(world, job)
    assert (found.user, found.anonymous_id, found.context) == ("u1", "guest", b'{"a":"b"}')
    nobody = world.submit("s1")
    world.claim(nobody)
    found = keep(world, nobody)
    assert (found.user, found.anonymous_id, found.context) == (None, None, b"")


def test_only_the_worker_that_has_the_job_is_told(world: World) -> None:
    job = world.submit()
    world.claim(job, lease=EXPIRED)
    world.be_due(job)
    world.sweep()
    world.claim(job, by="t2")
    before = world.dump()
    with pytest.raises(FencedError):
        keep(world, job, context=b"1")
    with pytest.raises(JobGoneError):
        world.ledger.run(
            operations.keep_context(world.keys, "s1", "nobody", fence="1:x", path="p", context=b"1")
        )
    assert world.dump() == before
    world.finish(job, attempt=2)
    with pytest.raises(JobEndedError):
        keep(world, job, attempt=2, context=b"1")
