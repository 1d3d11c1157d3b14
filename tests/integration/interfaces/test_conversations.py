"""Sessions with an owner and their stored messages, through the faces, a Redis and a worker."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer.interfaces import AsyncConversations, Clients, Conversations
from palaver.shared.conversations import ConversationSession, MessageType
from palaver.shared.errors import SessionClosedError, SessionNotFoundError, ValidationError, WaitTimeoutError
from palaver.shared.settings import Settings
from tests.integration.interfaces.conftest import script
from tests.processes import clean_environment
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]


@pytest.fixture
def conversations(clients: Clients) -> Conversations:
    return Conversations(clients)


def somebody() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def told(conversations: Conversations, session_id: Any, **page: Any) -> list[tuple[str, str]]:
    return [
        (str(message.message_type), message.content)
        for message in conversations.messages(session_id, **page).items
    ]


class Account:
    """A user, as web frameworks have them."""

    def __init__(self, pk: int | None) -> None:
        self.pk = pk


def test_a_conversation_of_a_user(conversations: Conversations) -> None:
    user = somebody()
    session = conversations.create_session(None, user=user, context={"custom": "data"})
    assert isinstance(session.id, uuid.UUID)
    assert (session.status, session.context, session.user) == ("active", {"custom": "data"}, user)

    result = conversations.send_message(session.id, "I need help", user)

    assert result == {"status": "success", "response": "I need help", "session_id": str(session.id)}
    assert told(conversations, session.id, user=user) == [("user", "I need help"), ("agent", "I need help")]
    assert conversations.session(str(session.id), user=user) == session
    assert conversations.sessions(user=user).items == [session]


def test_a_user_s_message_is_there_before_the_answer_is(conversations: Conversations) -> None:
    session = conversations.create_session(None)
    handle = conversations.submit_message(session.id, script(text="late", start=600))
    assert [kind for kind, _ in told(conversations, session.id)] == ["user"]
    handle.cancel()


def test_a_job_that_fails_leaves_a_system_message(conversations: Conversations) -> None:
    session = conversations.create_session(None)
    asked = script(text="half of it", fail={"status": 400, "after": 1})
    result = conversations.send_message(session.id, asked, max_retries=0)
    assert (result["status"], result["session_id"]) == ("error", str(session.id))
    *_, last = told(conversations, session.id)
    assert last == ("system", f"Error: {result['error']}")


def test_somebody_else_s_session_is_as_unknown_as_one_that_never_was(conversations: Conversations) -> None:
    mine = conversations.create_session(None, user=somebody())
    guests = conversations.create_session(None, anonymous_id="guest_123")
    other = somebody()
    with pytest.raises(SessionNotFoundError) as never_was:
        conversations.session(uuid.UUID(int=7), user=other)
    for session in (mine, guests):
        for call in (
            lambda at: conversations.session(at, user=other),
            lambda at: conversations.messages(at, user=other),
            lambda at: conversations.send_message(at, "Hi", other),
            lambda at: conversations.set_status(at, "archived", user=other),
        ):
            with pytest.raises(SessionNotFoundError) as refused:
                call(session.id)
            assert str(refused.value) == str(never_was.value).replace(str(uuid.UUID(int=7)), str(session.id))
    with pytest.raises(SessionNotFoundError):
        conversations.session(mine.id)
    with pytest.raises(SessionNotFoundError):
        conversations.session(guests.id, anonymous_id="guest_124")
    assert conversations.sessions(user=other).items == []
    assert told(conversations, guests.id, anonymous_id="guest_123") == []


def test_a_closed_session_takes_no_messages(conversations: Conversations) -> None:
    session = conversations.create_session(None)
    for status in ("completed", "archived"):
        assert conversations.set_status(session.id, status).status == status
        with pytest.raises(SessionClosedError, match=status):
            conversations.send_message(session.id, "Hi")
    conversations.set_status(session.id, "active")
    assert conversations.send_message(session.id, "Hi")["status"] == "success"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"agent_path": ""}, "agent_path"),
        ({"agent_path": "a", "status": "open"}, "status"),
        ({"agent_path": "a", "user": {"pk": 1}}, "user"),
        ({"agent_path": "a", "context": ["no object"]}, "context"),
        ({"agent_path": "a", "context": {"when": object()}}, "context.when"),
    ],
)
def test_bad_input_is_refused(conversations: Conversations, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as refused:
        conversations.create_session(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda it, _: it.create_session(None, usr="ann"), "usr"),
        (lambda it, _: it.create_session(None, user="u", cntext={}), "cntext"),
        (lambda it, _: it.create_session(5), "agent_path"),
        (lambda it, _: it.sessions(user="u", limt=3), "limt"),
        (lambda it, _: it.sessions(user="u", limit=0), "limit"),
        (lambda it, _: it.sessions(user="u", after="the second"), "after"),
        (lambda it, of: it.messages(of.id, after="2"), "after"),
        (lambda it, of: it.session(of.id, usr="u"), "usr"),
        (lambda it, of: it.messages(of.id, limt=3), "limt"),
        (lambda it, of: it.messages(of.id, after=5), "after"),
        (lambda it, of: it.add_message(of, "user", "x", content_type="a"), "content_type"),
        (lambda it, of: it.add_message(str(of.id), "user", "x"), "session"),
        (lambda it, of: it.delete_session(of.id, owner="u"), "owner"),
        (lambda it, _: it.search(5, user="u"), "text"),
        (lambda it, _: it.erase(user="u", tennant="A"), "tennant"),
        (lambda it, _: list(it.export(usr="u")), "usr"),
    ],
)
def test_a_mistyped_argument_is_refused(
    conversations: Conversations, call: Callable[[Any, ConversationSession], object], param: str
) -> None:
    session = conversations.create_session(None)
    with pytest.raises(ValidationError) as refused:
        call(conversations, session)
    assert refused.value.param == param
    assert conversations.session(session.id) == session


def test_a_tenant_s_conversations_are_its_own(conversations: Conversations) -> None:
    user = somebody()
    of_a, of_b, of_none = [conversations.create_session(None, user=user, tenant=t) for t in ("A", "B", None)]
    conversations.add_message(of_a, "user", "a lamp")
    assert conversations.sessions(user=user, tenant="A").items == [of_a]
    assert conversations.sessions(user=user).items == [of_none]
    assert conversations.search("lamp", user=user).items == []
    assert len(conversations.search("lamp", user=user, tenant="A").items) == 1
    for tenant in ("B", None):
        with pytest.raises(SessionNotFoundError):
            conversations.session(of_a.id, user=user, tenant=tenant)
        with pytest.raises(SessionNotFoundError):
            conversations.send_message(of_a.id, "Hi", user, tenant=tenant)
    assert conversations.send_message(of_a.id, "Hi", user, tenant="A")["status"] == "success"
    assert conversations.erase(user=user, tenant="B") == 1
    assert [conversations.sessions(user=user, tenant=t).items for t in ("A", "B", None)] == [
        [of_a],
        [],
        [of_none],
    ]
    with pytest.raises(SessionNotFoundError):
        conversations.session(of_b.id, user=user, tenant="B")


def test_a_guest_s_session_takes_messages_by_its_id_and_nothing_else(conversations: Conversations) -> None:
    guest = somebody()
    session = conversations.create_session(None, anonymous_id=guest)
    for call in (
        lambda: conversations.delete_session(session.id),
        lambda: conversations.set_status(session.id, "archived"),
        lambda: conversations.messages(session.id),
        lambda: conversations.session(session.id),
        lambda: conversations.send_message(session.id, "Hi", anonymous_id="another"),
    ):
        with pytest.raises(SessionNotFoundError):
            call()
    assert conversations.send_message(session.id, "Hi")["status"] == "success"
    conversations.delete_session(session.id, anonymous_id=guest)
    assert conversations.sessions(anonymous_id=guest).items == []


def test_whoever_waits_for_an_answer_does_so_for_a_while(conversations: Conversations) -> None:
    user = somebody()
    session = conversations.create_session(None, user=user)
    asked = script(text="late", start=600)
    with pytest.raises(ValidationError, match="timeout"):
        conversations.send_message(session.id, asked, user, timeout=-1)
    assert told(conversations, session.id, user=user) == [], "what is refused is not stored"
    with pytest.raises(WaitTimeoutError):
        conversations.send_message(session.id, asked, user, timeout=0.1)
    assert len(told(conversations, session.id, user=user)) == 1, "the job goes on"
    conversations.delete_session(session.id, user=user)


def test_how_long_is_a_setting(system: Settings) -> None:
    with Clients(system.model_copy(update={"answer_seconds": 0.1})) as clients:
        conversations = Conversations(clients)
        session = conversations.create_session(None)
        with pytest.raises(WaitTimeoutError):
            conversations.send_message(session.id, script(text="late", start=600))
        conversations.delete_session(session.id)


def test_without_a_worker_nobody_waits_for_long(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palaver.producer.interfaces.conversations.UNSERVED_SECONDS", 0.1)
    with Clients(Settings(redis_url=redis_server.url)) as clients:
        conversations = Conversations(clients)
        session = conversations.create_session("support/", user="u1")
        with pytest.raises(WaitTimeoutError, match="No worker lives"):
            conversations.send_message(session.id, "Hi", "u1", timeout=20)
        assert told(conversations, session.id, user="u1") == [("user", "Hi")]


def test_where_a_worker_lives_he_waits_for_an_answer_that_takes_its_time(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palaver.producer.interfaces.conversations.UNSERVED_SECONDS", 0.5)
    session = conversations.create_session(None)
    assert conversations.send_message(session.id, script(text="late", start=0.6))["response"] == "late"


@pytest.mark.parametrize(
    ("param", "call"),
    [
        ("context", lambda it, of, large: it.create_session(None, user=of.user, context={"a": large})),
        ("content", lambda it, of, large: it.add_message(of, "user", large)),
        ("component_data", lambda it, of, large: it.add_message(of, "widget", component_data={"a": large})),
    ],
)
def test_what_is_larger_than_a_job_may_be_is_refused(
    system: Settings, param: str, call: Callable[[Any, ConversationSession, str], object]
) -> None:
    with Clients(system.model_copy(update={"max_document_bytes": 2000})) as clients:
        conversations = Conversations(clients)
        user = somebody()
        session = conversations.create_session(None, user=user, context={"a": "x" * 1900})
        with pytest.raises(ValidationError, match="PALAVER_MAX_DOCUMENT_BYTES") as refused:
            call(conversations, session, "x" * 2001)
        assert refused.value.param == param
        assert conversations.sessions(user=user).items == [session]
        assert conversations.messages(session.id, user=user).items == []


def test_those_of_the_process_follow_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Conversations.of_process()
    assert Conversations.of_process() is first
    monkeypatch.setenv("PALAVER_NAMESPACE", "another")
    second = Conversations.of_process()
    assert second.awaited._clients.settings.namespace == "another"
    assert Conversations.of_process() is second


def test_pages_follow_each_other(conversations: Conversations) -> None:
    user = somebody()
    sessions = [conversations.create_session(f"agent/{n}", user=user) for n in range(5)]
    first = conversations.sessions(user=user, limit=2)
    second = conversations.sessions(user=user, limit=2, after=first.after)
    third = conversations.sessions(user=user, limit=2, after=second.after)
    listed = [session.id for page in (first, second, third) for session in page.items]
    assert listed == [session.id for session in reversed(sessions)]
    assert third.after is None

    for n in range(5):
        conversations.add_message(sessions[0], "system", f"{n}")
    start = conversations.messages(sessions[0].id, user=user, limit=3)
    rest = conversations.messages(sessions[0].id, user=user, limit=3, after=start.after)
    assert [message.content for message in (*start.items, *rest.items)] == list("01234")


def test_a_user_s_messages_are_found_by_their_words(conversations: Conversations) -> None:
    user, other = somebody(), somebody()
    for owner in (user, user, other):
        session = conversations.create_session(None, user=owner)
        conversations.add_message(session, "user", f"The ÜBER-lamp of {owner}, 100%_x")
        conversations.add_message(session, "agent", "Something else")
    found = conversations.search("über-Lamp", user=user)
    assert [message.content for message in found.items] == [f"The ÜBER-lamp of {user}, 100%_x"] * 2
    assert conversations.search("0%_X", user=user).items == found.items
    assert conversations.search("0__x", user=user).items == []
    first = conversations.search("lamp", user=user, limit=1)
    second = conversations.search("lamp", user=user, limit=1, after=first.after)
    assert [*first.items, *second.items] == found.items


def test_a_widget_is_a_message(conversations: Conversations) -> None:
    session = conversations.create_session(None, anonymous_id="g1")
    stored = conversations.add_message(
        session, "widget", component_type="form", component_data={"slots": ["10:00"]}, files=["f1"]
    )
    (found,) = conversations.messages(session.id, anonymous_id="g1").items
    assert found == stored
    assert found.message_type is MessageType.WIDGET


async def test_the_same_with_await(aclients: Clients) -> None:
    conversations = AsyncConversations(aclients)
    session = await conversations.create_session(None, user=42)
    assert session.user == "42"
    result = await conversations.send_message(session.id, "Hello", Account(42))
    assert result["response"] == "Hello"
    page = await conversations.messages(session.id, user="42")
    assert [message.content for message in page.items] == ["Hello", "Hello"]
    await conversations.aclose()


def test_the_document_s_calls_are_those_of_the_process(system: Settings) -> None:
    """In a process of its own: what belongs to a process stays until its end."""
    code = """
import asyncio
from palaver.producer.interfaces import ConversationService
session = ConversationService.create_session(agent_path=None, user=7, anonymous_id=None, context=None)
result = ConversationService.send_message(session_id=session.id, message="I need help", user=7)
assert result == {"status": "success", "response": "I need help", "session_id": str(session.id)}, result
async def main():
    guest = await ConversationService.acreate_session(None, anonymous_id="guest_123", context={"a": 1})
    return await ConversationService.asend_message(session_id=guest.id, message="And me")
assert asyncio.run(main())["response"] == "And me"
print("done")
"""
    env = clean_environment({"PALAVER_REDIS_URL": system.redis_url, "PALAVER_CONFIG": system.config})
    words = (sys.executable, "-W", "default::ResourceWarning", "-c", code)
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)
