"""Who may come in through the gateway: keys, limits, and whose a session is."""

import pytest

from palaver.shared.api_keys import ApiKey
from palaver.shared.conversations import ConversationSession
from palaver.shared.errors import SessionNotFoundError
from palaver.shared.ledger import operations
from tests.integration.ledger.world import World


def owner(world: World, session_id: str) -> operations.SessionOwner:
    return world.ledger.query(operations.session_owner(world.keys, session_id))


def test_a_session_is_of_the_tenant_of_its_first_job(world: World) -> None:
    assert not owner(world, "s1").exists
    world.submit("s1", tenant="acme")
    assert owner(world, "s1") == operations.SessionOwner(
        exists=True, tenant="acme", user=None, is_conversation=False
    )
    world.submit("s1", tenant="acme")
    world.submit("s1")
    before = sorted(world.raw.keys())
    with pytest.raises(SessionNotFoundError):
        world.submit("s1", tenant="other")
    assert sorted(world.raw.keys()) == before, "what is refused leaves nothing"
    assert owner(world, "s1").tenant == "acme"


def test_nobody_takes_over_a_session_without_a_tenant(world: World) -> None:
    world.submit("s1")
    world.submit("s1", tenant="acme")
    assert owner(world, "s1").tenant is None


def test_a_conversation_is_its_tenants(world: World) -> None:
    session = ConversationSession(user="ann", tenant="acme", created=1.0)
    world.ledger.run(operations.open_session(world.keys, session, retention=world.ledger.retention))
    assert owner(world, session.session_id) == operations.SessionOwner(
        exists=True, tenant="acme", user="ann", is_conversation=True
    )
    world.submit(session.session_id, tenant="acme")
    with pytest.raises(SessionNotFoundError):
        world.submit(session.session_id, tenant="other")


def test_keys_are_kept_and_dropped(world: World) -> None:
    text, key = ApiKey.make(tenant="acme", models=["openai/*"])
    world.ledger.query(operations.keep_api_key(world.keys, key))
    found = world.ledger.query(operations.api_keys(world.keys))
    assert found == {key.id: key}
    assert world.ledger.query(operations.api_key(world.keys, key.id)) == key
    assert world.ledger.query(operations.api_key(world.keys, "0" * 12)) is None
    secret = text.rpartition("_")[2].encode()
    assert all(secret not in value for value in world.raw.hvals(world.keys.api_keys))
    assert world.ledger.query(operations.drop_api_key(world.keys, key.id))
    assert not world.ledger.query(operations.drop_api_key(world.keys, key.id))
    assert world.ledger.query(operations.api_keys(world.keys)) == {}


def test_a_minute_has_so_many_requests(world: World) -> None:
    def take(token: str) -> float:
        return world.ledger.run(operations.throttle(world.keys, "k", per_minute=30, token=token))

    assert [take("1"), take("2"), take("3")] == [0, 0, 0]
    assert 1 < take("4") <= 2
    assert take("3") == 0, "a repeat takes none"
    (key,) = world.raw.keys("*throttle*")
    world.raw.set(key, "9999999999999999 far", px=1000)  # Redis's clock went back
    assert take("5") == 0
