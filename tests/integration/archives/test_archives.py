"""What every archive does, over Redis, SQLite and PostgreSQL."""

import asyncio
import uuid
from typing import Any

import pytest

from palaver.shared.conversations import ConversationMessage, ConversationSession, MessageType
from palaver.shared.errors import SessionNotFoundError
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus
from palaver.shared.stores.archives import Archive

pytestmark = pytest.mark.xdist_group("postgres")


def session(created: float = 1.0, **fields: Any) -> ConversationSession:
    return ConversationSession(**{"agent_path": "support/", "created": created, **fields})


def message(of: ConversationSession, created: float, content: str = "", **fields: Any) -> ConversationMessage:
    given = {"message_type": MessageType.USER, "session_id": of.id, "content": content}
    return ConversationMessage(**{**given, "created": created, **fields})


async def said(archive: Archive, of: ConversationSession) -> list[str]:
    return [each.content for each in (await archive.messages(of.session_id, limit=1000)).items]


async def test_a_session_is_what_it_was_made_as(archive: Archive) -> None:
    made = session(
        1795175234.961257,
        user="u ü {1}",
        anonymous_id="g/1",
        tenant="t",
        context={"n": [1, None, 2.5], "nul": "a\0b"},
    )
    await archive.create(made)
    await archive.create(ConversationSession.validated({**made.model_dump(), "agent_path": "other/"}))
    assert await archive.session(made.session_id) == made
    assert await archive.session(str(uuid.uuid4())) is None
    await archive.set_status(made.session_id, SessionStatus.COMPLETED)
    found = await archive.session(made.session_id)
    assert found is not None
    assert found.status is SessionStatus.COMPLETED


async def test_a_message_is_what_it_was_made_as(archive: Archive) -> None:
    of = session()
    await archive.create(of)
    widget = message(
        of,
        1795175234.961,
        message_type="widget",
        component_type="form",
        component_data={"slots": ["☂", {"deep": None}]},
        files=["f1", "f2"],
        metadata={"partial": True},
        job_id="j1",
        position=3,
    )
    await archive.add([widget])
    assert (await archive.messages(of.session_id, limit=10)).items == [widget]


async def test_a_message_is_stored_once_however_many_store_it(archive: Archive) -> None:
    of = session()
    await archive.create(of)
    messages = [message(of, n, f"{n}") for n in range(20)]
    await asyncio.gather(*(archive.add(messages[n : n + 10]) for n in (0, 5, 0, 10, 5)))
    assert await said(archive, of) == [f"{n}" for n in range(20)]


async def test_pages_of_messages_follow_each_other(archive: Archive) -> None:
    of, other = session(), session()
    for each in (of, other):
        await archive.create(each)
    # of one moment, in different languages' orders, by hand and by jobs
    jobs = [
        message(of, 2, f"{job}{position}", job_id=job, position=position)
        for job in ("B", "a")
        for position in (1, 0)
    ]
    await archive.add([message(of, 3, "last"), *jobs, message(of, 1, "first")])
    await archive.add([message(other, 2, "not this one")])
    found: list[str] = []
    after = None
    while True:
        page = await archive.messages(of.session_id, after=after, limit=2)
        assert len(page.items) <= 2
        found += [each.content for each in page.items]
        if page.after is None:
            break
        after = page.after
    assert found == ["first", "B0", "B1", "a0", "a1", "last"]


async def test_an_owner_sees_his_own_sessions_the_latest_first(archive: Archive) -> None:
    mine = [session(n, user="u1", anonymous_id="g1") for n in range(1, 6)]
    guests = [session(n, anonymous_id="g1") for n in range(1, 6)]
    elsewhere = [session(9, user="u1", tenant="A"), session(9, anonymous_id="g1", tenant="A")]
    others = [session(9, user="u2"), session(9, anonymous_id="u1"), session(9)]
    for each in (*mine, *guests, *elsewhere, *others):
        await archive.create(each)
    for owner, theirs in ((Owner(user="u1"), mine), (Owner(anonymous_id="g1"), guests)):
        first = await archive.sessions(owner, limit=3)
        rest = await archive.sessions(owner, after=first.after, limit=3)
        assert [*first.items, *rest.items] == theirs[::-1], "a user's sessions are no guest's"
        assert rest.after is None
    assert (await archive.sessions(Owner(user="g1"), limit=3)).items == []


async def test_words_are_found_among_an_owner_s_own(archive: Archive) -> None:
    one, two, other = session(1, user="u1"), session(2, user="u1"), session(3, user="u2")
    for each in (one, two, other):
        await archive.create(each)
        await archive.add(
            [message(each, each.created, "Die ÜBERTRAGUNG: 100%_fertig"), message(each, 9, "x")]
        )
    owner = Owner(user="u1")
    found = (await archive.search(owner, "übertragung", limit=10)).items
    assert [each.session_id for each in found] == [two.id, one.id]
    assert (await archive.search(owner, "0%_F", limit=10)).items == found
    assert (await archive.search(owner, "0__f", limit=10)).items == []
    first = await archive.search(owner, "fertig", limit=1)
    second = await archive.search(owner, "fertig", after=first.after, limit=1)
    assert [*first.items, *second.items] == found


async def test_a_message_with_a_nul_is_stored(archive: Archive) -> None:
    """PostgreSQL has none in its text; a message that it refused would hold up all that come after."""
    of = session()
    await archive.create(of)
    await archive.add([message(of, 1, "a\0b", component_data={"x": "\0"}), message(of, 2, "next")])
    first, second = await said(archive, of)
    assert (first.replace("\N{REPLACEMENT CHARACTER}", "\0"), second) == ("a\0b", "next")


async def test_a_deleted_session_is_gone_with_its_messages(archive: Archive) -> None:
    gone, kept = session(1, user="u1"), session(2, user="u1")
    for each in (gone, kept):
        await archive.create(each)
        await archive.add([message(each, 1, "words")])
    for _ in range(2):
        await archive.delete(gone)
    owner = Owner(user="u1")
    assert (await archive.sessions(owner, limit=10)).items == [kept]
    assert [each.session_id for each in (await archive.search(owner, "words", limit=10)).items] == [kept.id]


async def test_nothing_is_stored_of_a_session_that_is_not_there(archive: Archive) -> None:
    of = session(1, user="u1")
    with pytest.raises(SessionNotFoundError, match=f"no session {of.id}"):
        await archive.add([message(of, 1, "words")])
    await archive.create(of)
    assert await said(archive, of) == []
