"""Who may come in through the gateway: keys, limits, and whose a session is."""

import pytest

from palaver.shared.api_keys import ApiKey
from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.conversations import ConversationSession
from palaver.shared.errors import ErrorInfo, SessionNotFoundError
from palaver.shared.ids import session_for
from palaver.shared.ledger import operations
from tests.integration.ledger.world import World


def owner(world: World, session_id: str) -> operations.SessionOwner:
    return world.ledger.query(operations.session_owners(world.keys, [session_id]))[0]


def test_a_session_is_of_the_tenant_of_its_first_job(world: World) -> None:
    assert not owner(world, "s1").exists
    world.submit("s1", tenant="acme")
    first = owner(world, "s1")
    assert (first.exists, first.tenant, first.user, first.is_conversation) == (True, "acme", None, False)
    assert first.born
    world.submit("s1", tenant="acme", user="bob")
    before = sorted(world.raw.keys())
    for tenant in ("other", None):
        with pytest.raises(SessionNotFoundError):
            world.submit("s1", tenant=tenant)
    assert sorted(world.raw.keys()) == before, "what is refused leaves nothing"
    assert owner(world, "s1") == first


def test_no_tenant_is_one_like_any_other(world: World) -> None:
    world.submit("s1", user="ann")
    world.submit("s1")
    with pytest.raises(SessionNotFoundError):
        world.submit("s1", tenant="acme")
    assert (owner(world, "s1").tenant, owner(world, "s1").user) == (None, "ann")


def test_a_foreign_key_is_not_told_to_be_taken(world: World) -> None:
    world.submit("s1", tenant="acme", idempotency_key="k")
    for tenant in ("other", None):
        with pytest.raises(SessionNotFoundError):
            world.submit("s1", tenant=tenant, idempotency_key="k")


def test_nobody_takes_the_session_of_a_key(world: World) -> None:
    """Not before its tenant does either."""
    for fields in ({"tenant": "acme"}, {}):
        free = session_for(fields.get("tenant"), "k")
        for named in ({}, {"tenant": "other"}, {"tenant": "acme"}, {"idempotency_key": "other"}):
            with pytest.raises(SessionNotFoundError):
                world.submit(free, **named)
        mine = world.submit(None, idempotency_key="k", **fields)
        assert mine.session_id == free
        assert not world.submit(free, idempotency_key="k", **fields).created
        world.submit(free, **fields)


def test_a_refused_job_makes_nobody_its_sessions_owner(world: World) -> None:
    world.ledger.refuse("s1", "j1", ErrorInfo(type="ValidationError", code="c", message="m"))
    world.submit("s1", tenant="acme")
    assert owner(world, "s1").tenant == "acme"


def test_a_batch_is_its_tenants(world: World) -> None:
    batch = BatchJob(batch_id=new_batch_id("acme", "k"), input="0" * 64, total=1, tenant="acme")
    world.ledger.open_batch(batch)
    assert owner(world, batch.batch_id).tenant == "acme"
    with pytest.raises(SessionNotFoundError):
        world.submit(batch.batch_id, tenant="other")


def test_a_conversation_is_its_tenants(world: World) -> None:
    session = ConversationSession(user="ann", tenant="acme", created=1.0)
    world.ledger.run(operations.open_session(world.keys, session, retention=world.ledger.retention))
    opened = operations.SessionOwner(
        exists=True, tenant="acme", user="ann", is_conversation=True, born="1000000"
    )
    assert owner(world, session.session_id) == opened
    world.submit(session.session_id, tenant="acme")
    assert owner(world, session.session_id) == opened
    for tenant in ("other", None):
        with pytest.raises(SessionNotFoundError):
            world.submit(session.session_id, tenant=tenant)


def test_a_conversation_of_no_tenant_stays_one(world: World) -> None:
    session = ConversationSession(user="ann", created=1.0)
    opening = operations.open_session(world.keys, session, retention=world.ledger.retention)
    world.ledger.run(opening)
    with pytest.raises(SessionNotFoundError):
        world.submit(session.session_id, tenant="acme")
    world.submit(session.session_id, user="ann")
    known = ConversationSession(user="bob", created=1.0)
    world.submit(known.session_id)
    born = world.ledger.born(known.session_id)
    world.ledger.run(operations.open_session(world.keys, known, retention=world.ledger.retention))
    assert world.ledger.born(known.session_id) == born
    assert world.ledger.query(operations.session(world.keys, known.session_id)) == known


def test_keys_are_kept_and_dropped(world: World) -> None:
    text, key = ApiKey.make(tenant="acme", models=["openai/*"])
    world.ledger.query(operations.keep_api_key(world.keys, key))
    found = world.ledger.query(operations.api_keys(world.keys))
    assert found == {key.id: key}
    asked = (key.id, "0" * 12)
    assert world.ledger.query(operations.some_api_keys(world.keys, asked)) == [key, None]
    secret = text.split("_", 2)[2].encode()  # which may have more of them
    assert all(secret not in value for value in world.raw.hvals(world.keys.api_keys))
    assert world.ledger.query(operations.drop_api_key(world.keys, key.id))
    assert not world.ledger.query(operations.drop_api_key(world.keys, key.id))
    assert world.ledger.query(operations.api_keys(world.keys)) == {}


def test_a_minute_has_so_many_requests(world: World) -> None:
    def take(token: str) -> float:
        return world.ledger.run(operations.throttle(world.keys, "k", per_minute=30, token=token))

    began = world.time()
    assert [take("1"), take("2"), take("3")] == [0, 0, 0]
    wait = take("4")  # one comes every two seconds: those of the time so far count
    assert 2 - (world.time() - began) - 0.001 <= wait <= 2
    assert take("3" if wait else "4") == 0, "a repeat takes none"
    (key,) = world.raw.keys("*throttle*")
    world.raw.set(key, "9999999999999999 far", px=1000)  # Redis's clock went back
    assert take("5") == 0
