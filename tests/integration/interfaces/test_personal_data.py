"""All that is kept of a user: exported whole, erased without a trace, and nobody else's touched."""

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from palaver.producer.interfaces import AsyncConversations, Clients, Conversations, personal_data
from palaver.shared.errors import (
    BatchNotFoundError,
    ConfigurationError,
    SessionNotFoundError,
    ValidationError,
    WaitTimeoutError,
)
from palaver.shared.ledger.keys import Keys
from palaver.shared.owner import Owner
from palaver.shared.settings import Settings
from palaver.shared.stores import FileStore
from palaver.shared.stores.archives import Archive
from tests.integration.archives.conftest import upgrade
from tests.integration.interfaces.conftest import running_system, script
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]

Call = Callable[[], Coroutine[Any, Any, Any]]
Begin = Callable[[str, str, str], Coroutine[Any, Any, Any]]
"""A session, a word for it, its user."""


@pytest.fixture(scope="session")
def system_with_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A system whose conversations are in a file."""
    folder = tmp_path_factory.mktemp("database")
    url = f"sqlite:///{folder}/archive.db"
    asyncio.run(upgrade(url))
    with running_system(folder, PALAVER_ARCHIVE_URL=url) as settings:
        yield settings.model_copy(update={"files_url": "", "archive_url": url})


@pytest.fixture(params=["system", "system_with_database"])
def conversations(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    """Conversations in the ledger's Redis, and in a file."""
    with Clients(request.getfixturevalue(request.param)) as clients:
        conversations = Conversations(clients)
        yield conversations
        conversations._run(conversations.awaited.aclose())


def somebody(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"


def talk(conversations: Conversations, user: str, *words: str) -> list[str]:
    """A session for each word, with an answered job, a failed one, and a message by hand; their ids."""
    ids = []
    for word in words:
        session = conversations.create_session(None, user=user, context={"of": word})
        for asked in (f"ask {word}", script(text=f"half {word}", fail={"status": 400, "after": 1})):
            conversations.send_message(session.id, asked, user, idempotency_key=somebody("key"))
        conversations.add_message(session, "system", f"note {word}")
        ids.append(str(session.id))
    return ids


def held(client: redis.Redis, *words: str) -> list[str]:
    """The keys of the server that say one of these words, or hold it."""
    return [key for key, value in everything(client) if any(word in key + value for word in words)]


def everything(client: redis.Redis) -> Iterator[tuple[str, str]]:
    """Every key of the server with all that it holds."""
    for key in client.scan_iter(count=1000):
        found: Any = None
        match client.type(key):
            case b"hash":
                found = client.hgetall(key)
            case b"list":
                found = client.lrange(key, 0, -1)
            case b"zset":
                found = client.zrange(key, 0, -1)
            case b"set":
                found = client.smembers(key)
            case b"stream":
                found = client.xrange(key)
            case b"string":
                found = client.get(key)
        yield key.decode(), repr(found)


def test_an_export_has_all_sessions_with_their_messages_and_jobs(conversations: Conversations) -> None:
    user, other = somebody("u"), somebody("u")
    ids = talk(conversations, user, "tea", "cake")
    talk(conversations, other, "wine")
    exported = list(conversations.export(user=user))
    assert [document["session"]["id"] for document in exported] == ids[::-1]
    tea = exported[1]
    assert tea["session"]["context"] == {"of": "tea"}
    assert [message["message_type"] for message in tea["messages"]] == [
        *("user", "agent"),
        *("user", "agent", "system"),
        "system",
    ]
    assert [job["status"] for job in tea["jobs"]] == ["completed", "failed"]
    assert [job["response"]["content"] for job in tea["jobs"]] == ["ask tea", "half"]
    assert b"wine" not in orjson.dumps(exported)
    with pytest.raises(ValidationError):
        list(conversations.export())


def test_a_session_that_is_on_no_list_is_erased_once_it_has_another_message(system: Settings) -> None:
    """A Redis that fails over may lose what it was told last; the session is never told again."""
    user = somebody("u")
    with Clients(system) as clients, redis.Redis.from_url(system.redis_url) as raw:
        conversations = Conversations(clients)
        (session_id,) = talk(conversations, user, "words")
        raw.delete(Keys(system.namespace).owner(Owner(user=user)))
        assert conversations.sessions(user=user).items == []
        conversations.send_message(session_id, "more words", user)
        assert [str(each.id) for each in conversations.sessions(user=user).items] == [session_id]
        assert conversations.erase(user=user) == 1
        # Its worker leaves the line of jobs, with ids alone, a moment after it has ended the job.
        assert eventually(lambda: held(raw, session_id) == [])


def test_what_is_erased_is_nowhere(conversations: Conversations) -> None:
    word, user, other = somebody("secret"), somebody("u"), somebody("u")
    ids = talk(conversations, user, word, word)
    running = conversations.submit_message(ids[0], script(endless=True, rate=100, text=word), user)
    waiting = conversations.submit_message(ids[0], f"later {word}", user)
    kept = talk(conversations, other, "kept")
    before = list(conversations.export(user=other))
    with redis.Redis.from_url(conversations.awaited._clients.settings.redis_url) as client:
        assert held(client, word)

        assert conversations.erase(user=user) == 2

        assert held(client, word) == []
        # A worker leaves the line of jobs, with ids alone, a moment after it has ended one.
        assert eventually(lambda: held(client, *ids) == [])
        assert client.exists(*(f"palaver:job:{job.job_id}" for job in (running, waiting))) == 0
    assert conversations.sessions(user=user).items == []
    assert conversations.search(word, user=user).items == []
    with pytest.raises(SessionNotFoundError):
        conversations.messages(ids[0], user=user)
    assert list(conversations.export(user=other)) == before
    assert conversations.send_message(kept[0], "still here", other)["status"] == "success"
    assert conversations.erase(user=user) == 0


def interpose(
    monkeypatch: pytest.MonkeyPatch,
    of: object,
    name: str,
    *,
    before: Call | None = None,
    after: Call | None = None,
) -> Callable[[], bool]:
    """Have something done before or after the next call of this method; whether it was."""
    method, called = getattr(of, name), []

    async def once(*args: Any, **fields: Any) -> Any:
        monkeypatch.setattr(of, name, method)
        called.append(name)
        if before:
            await before()
        result = await method(*args, **fields)
        if after:
            await after()
        return result

    monkeypatch.setattr(of, name, once)
    return lambda: bool(called)


@pytest.fixture(params=["submit_message", "set_status"])
def begin(request: pytest.FixtureRequest, conversations: Conversations) -> Begin:
    """What writes to a session that it has found."""
    awaited = conversations.awaited
    if request.param == "set_status":
        return lambda session_id, word, user: awaited.set_status(session_id, "active", user=user)
    return lambda session_id, word, user: awaited.submit_message(session_id, f"late {word}", user)


@pytest.mark.parametrize("step", ["found", "stored", "removed"])
def test_what_is_erased_does_not_come_back_by_a_call_that_had_begun(
    conversations: Conversations, begin: Begin, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It is erased once the call has found it, before the call writes, or while the call is between both."""
    user, word = somebody("u"), somebody("secret")
    (session_id,) = talk(conversations, user, word)
    awaited = conversations.awaited
    client, archive = awaited._clients.awaited, conversations._run(archive_of(awaited))
    call, erase = partial(begin, session_id, word, user), partial(awaited.erase, user=user)

    async def refused() -> None:
        with suppress(SessionNotFoundError):  # or taken, and erased with the rest
            await call()

    if step == "removed":
        is_done = [interpose(monkeypatch, archive, "delete", before=refused)]
        conversations._run(erase())
    else:
        if step == "found":
            is_done = [interpose(monkeypatch, awaited, "_found", after=erase)]
        else:
            places = ((client, "submit"), (archive, "set_status"))
            is_done = [interpose(monkeypatch, of, name, before=erase) for of, name in places]
        with pytest.raises(SessionNotFoundError):
            conversations._run(call())
    assert any(done() for done in is_done)
    with redis.Redis.from_url(client.settings.redis_url) as raw:
        assert held(raw, word) == []
        assert eventually(lambda: held(raw, session_id) == [])
    assert conversations.sessions(user=user).items == []
    assert conversations.erase(user=user) == 0


def test_a_session_that_is_erased_as_it_begins_is_on_no_list(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, word = somebody("u"), somebody("secret")
    awaited = conversations.awaited
    archive = conversations._run(archive_of(awaited))
    is_done = interpose(monkeypatch, archive, "create", after=partial(awaited.erase, user=user))
    with pytest.raises(SessionNotFoundError):
        conversations.create_session(None, user=user, context={"of": word})
    assert is_done()
    with redis.Redis.from_url(awaited._clients.settings.redis_url) as raw:
        assert held(raw, word, user) == []


def test_an_eraser_who_fails_at_what_was_opened_meanwhile_may_repeat_it(
    conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, word = somebody("u"), somebody("secret")
    (session_id,) = talk(conversations, user, word)
    awaited = conversations.awaited
    archive = conversations._run(archive_of(awaited))

    async def late() -> None:
        with suppress(SessionNotFoundError):
            await awaited.submit_message(session_id, script(endless=True, rate=100, text=word), user)
            interpose(monkeypatch, personal_data, "erase_jobs", before=fail)

    async def fail() -> None:
        raise WaitTimeoutError("A worker hangs.")

    is_done = interpose(monkeypatch, archive, "delete", before=late)
    with suppress(WaitTimeoutError):
        conversations.erase(user=user)
    assert is_done()
    conversations.erase(user=user)
    with redis.Redis.from_url(awaited._clients.settings.redis_url) as raw:
        assert held(raw, word) == []
        assert eventually(lambda: held(raw, session_id) == [])
    assert conversations.sessions(user=user).items == []


async def archive_of(conversations: AsyncConversations) -> Archive:
    """The one of the running loop."""
    return conversations._archive


def test_two_who_erase_at_once_leave_nothing(conversations: Conversations) -> None:
    user, word = somebody("u"), somebody("secret")
    ids = talk(conversations, user, word, word)
    conversations.submit_message(ids[0], script(endless=True, rate=100, text=word), user)
    awaited = conversations.awaited

    async def erase() -> None:
        await asyncio.gather(*(awaited.erase(user=user) for _ in range(2)))

    conversations._run(erase())
    with redis.Redis.from_url(awaited._clients.settings.redis_url) as raw:
        assert held(raw, word) == []
        assert eventually(lambda: held(raw, *ids) == [])
    assert conversations.sessions(user=user).items == []


def test_who_does_not_know_the_database_erases_nothing_that_is_in_it(system_with_database: Settings) -> None:
    user, word = somebody("u"), somebody("secret")
    elsewhere = system_with_database.model_copy(update={"archive_url": ""})
    with Clients(system_with_database) as clients, Clients(elsewhere) as others:
        conversations, without = Conversations(clients), Conversations(others)
        (session_id,) = talk(conversations, user, word)
        before = conversations.messages(session_id, user=user).items
        with pytest.raises(ConfigurationError, match="PALAVER_ARCHIVE_URL is not set here"):
            without.delete_session(session_id, user=user)
        assert conversations.messages(session_id, user=user).items == before
        assert conversations.send_message(session_id, "still here", user)["status"] == "success"
        conversations.delete_session(session_id, user=user)
        assert conversations.sessions(user=user).items == []


def test_a_user_s_files_are_exported_and_erased(system: Settings, tmp_path: Path) -> None:
    settings = system.model_copy(update={"files_url": f"file://{tmp_path}/files"})
    user, word = somebody("u"), somebody("secret")
    with Clients(settings) as clients:
        conversations, files = Conversations(clients), clients.blocking.files
        upload = partial(files.upload, word.encode(), filename="a.txt")
        mine, kept = [upload(user=user), upload(user=user)], [upload(user=user, tenant="A"), upload()]
        store = FileStore.of(settings)
        asyncio.run(store.keep_text(mine[0], "plain", f"text of {word}"))
        asyncio.run(store.keep_text(kept[0], "plain", f"text of {word}"))
        assert list(conversations.export(user=user)) == [
            {"file": ref.model_dump(mode="json")} for ref in mine
        ]
        for _ in range(2):
            assert conversations.erase(user=user) == 0
            assert files.list(user=user) == []
        assert [files.list(user=user, tenant="A"), files.list()] == [[kept[0]], [kept[1]]]
        assert conversations.erase(anonymous_id=somebody("guest")) == 0
        assert files.list() == [kept[1]], "guests have no files, and nobody's are not theirs"
    left = [path.read_bytes() for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert sum(word.encode() in content for content in left) == 3, "two contents and a text of others"


def test_a_user_s_batches_are_exported_and_erased(system: Settings) -> None:
    user, word = somebody("u"), somebody("secret")
    endless = {"endless": True, "rate": 100, "text": word}
    with Clients(system) as clients:
        conversations, batch = Conversations(clients), clients.blocking.batch
        ended = batch([word, script(text=word, fail={"status": 400})], model="scripted/echo", user=user)
        ended.wait(30)
        running = batch([word, script(**endless)], model="scripted/echo", user=user)
        kept = [batch(["kept"], model="scripted/echo", user=user, tenant=tenant) for tenant in ("A", "B")]
        first = next(running.results(order="completion"))
        assert first.response.content == word
        documents = {
            document["batch"]["batch"]["batch_id"]: document for document in conversations.export(user=user)
        }
        assert documents.keys() == {ended.batch_id, running.batch_id}
        told = documents[ended.batch_id]
        assert told["batch"]["counts"] == {"total": 2, "completed": 1, "failed": 1}
        assert told["objects"] == [f"batches/{ended.batch_id}/{name}.jsonl" for name in ("output", "errors")]
        assert documents[running.batch_id]["objects"] == []
        assert word.encode() in in_store(system)
        for _ in range(2):
            conversations.erase(user=user)
            assert list(conversations.export(user=user)) == []
        with redis.Redis.from_url(system.redis_url) as client:
            assert held(client, word) == []
            assert word.encode() not in in_store(system)
            for batch_id in (ended.batch_id, running.batch_id):
                assert list(client.scan_iter(f"*{batch_id}*")) == []
                assert batch_id.encode() not in in_store(system)
        for handle, tenant in zip(kept, ("A", "B"), strict=True):
            assert handle.wait(30).counts.completed == 1
            (document,) = conversations.export(user=user, tenant=tenant)
            assert document["batch"]["batch"]["batch_id"] == handle.batch_id


def test_a_batch_is_only_its_owner_s(system: Settings) -> None:
    """Two users of a tenant take the same idempotency key, at the same time."""
    user, other, key = somebody("u"), somebody("u"), somebody("key")
    with Clients(system) as clients:
        conversations, client = Conversations(clients), clients.blocking
        handle = client.batch(["Hi"], model="scripted/echo", user=user, idempotency_key=key)
        client.ledger.note_batch(handle.progress.batch.model_copy(update={"user": other}))
        assert list(conversations.export(user=other)) == []
        conversations.erase(user=other)
        assert handle.wait(30).counts.completed == 1
        assert [result.response.content for result in handle.results()] == ["Hi"]


def test_batches_are_not_left_in_a_store_that_is_not_configured(system: Settings) -> None:
    user = somebody("u")
    with Clients(system) as clients, Clients(system.model_copy(update={"files_url": ""})) as without:
        handle = clients.blocking.batch(["Hi"], model="scripted/echo", user=user)
        handle.wait(30)
        assert len(list(Conversations(without).export(user=user))) == 1
        with pytest.raises(ConfigurationError, match="PALAVER_FILES_URL"):
            Conversations(without).erase(user=user)
        assert len(list(handle.results())) == 1
        Conversations(clients).erase(user=user)
        with pytest.raises(BatchNotFoundError):
            clients.blocking.batches(handle.batch_id)


def in_store(system: Settings) -> bytes:
    """The names and contents of all objects in the store of files."""
    found = bytearray()
    for folder, _, names in os.walk(system.files_url.removeprefix("file://")):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):  # of a batch that goes on: it has its own name now, or is gone
                found += str(path).encode() + path.read_bytes()
    return bytes(found)


def test_a_session_is_deleted_by_whom_it_belongs_to(conversations: Conversations) -> None:
    user = somebody("u")
    gone, stays = talk(conversations, user, "a", "b")
    with pytest.raises(SessionNotFoundError):
        conversations.delete_session(gone, user=somebody("u"))
    conversations.delete_session(gone, user=user)
    assert [str(session.id) for session in conversations.sessions(user=user).items] == [stays]
