"""Conversations: sessions with an owner, their messages, and what becomes of both."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Unpack
from uuid import UUID

from palaver.producer.handles import AsyncJobHandle
from palaver.producer.interfaces import personal_batches, personal_data
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.conversation_fields import (
    Listing,
    MessageFields,
    NewMessage,
    NewSession,
    Paging,
    SendOptions,
    SessionFields,
    WaitOptions,
    Whose,
    check_sizes,
    one_owner,
)
from palaver.producer.loop_end import until_loop_ends
from palaver.producer.prepare import check_timeout
from palaver.shared.agent_paths import check_agent
from palaver.shared.beside import beside
from palaver.shared.conversations import (
    ConversationMessage,
    ConversationSession,
    MessageType,
    Page,
    parse_session_id,
)
from palaver.shared.errors import PalaverError, SessionClosedError, WaitTimeoutError
from palaver.shared.ledger import Announcement, AsyncLedger, operations
from palaver.shared.messages import MessagesLike
from palaver.shared.owner import Owner
from palaver.shared.plain import refuse, shape
from palaver.shared.responses import ChatResponse
from palaver.shared.sessions import SessionStatus, unknown_session
from palaver.shared.stores.archives import Archive, archive_session, open_archive

UNSERVED_SECONDS: Final = 10.0
"""How long whoever sends a message waits while no worker lives: what starts or restarts one takes less."""

SessionLike = UUID | str
"""The id of a session."""


class AsyncConversations:
    """Conversations for programs with an event loop.

    Whoever asks as a `user` or with an `anonymous_id` finds only what is his, within the `tenant` that he
    names or outside of all: a session of somebody else is as unknown as one that never was
    (SessionNotFoundError). Nobody's session is found by its id alone; so is a guest's, to send a message.
    """

    def __init__(self, clients: Clients | None = None) -> None:
        self._clients = clients or Clients.of_process()
        self._archives: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = (
            weakref.WeakKeyDictionary()
        )

    async def create_session(
        self, agent_path: str | None, **fields: Unpack[SessionFields]
    ) -> ConversationSession:
        """A new session with an agent; None: a model answers.

        Raises ValidationError, a ValueError, and then nothing is stored: also for a path that no live worker
        serves, unless there is none that serves agents.
        """
        given = {**fields, "agent_path": agent_path}
        new = await beside(lambda: self._new_session(given), given)
        if new.agent_path is not None:
            check_agent(new.agent_path, await self._clients.awaited.agents(), param="agent_path")
        opened = {**dict(new), "created": await self._now()}
        session = await beside(lambda: ConversationSession.validated(opened), opened)
        await self._archive.create(session)
        await self._open(session)
        return session

    async def session(self, session_id: SessionLike, **whose: Unpack[Whose]) -> ConversationSession:
        """A session, for whom it belongs to. Raises SessionNotFoundError."""
        return await self._session(session_id, Owner.validated(whose))

    async def sessions(self, **page: Unpack[Paging]) -> Page[ConversationSession]:
        """Somebody's sessions, the latest first."""
        asked = Listing.validated(page)
        return await self._archive.sessions(one_owner(asked.owner), after=asked.after, limit=asked.limit)

    async def set_status(
        self,
        session_id: SessionLike,
        status: SessionStatus | Literal["active", "completed", "archived"],
        **whose: Unpack[Whose],
    ) -> ConversationSession:
        """Complete or archive a session, which then takes no more messages, or make it active again."""
        found = await self.session(session_id, **whose)
        session = ConversationSession.validated({**found.model_dump(), "status": status})
        await self._open(session)
        await self._archive.set_status(session.session_id, session.status)
        keys = self._ledger.keys
        if not await self._ledger.run(operations.set_status(keys, session.session_id, session.status)):
            raise unknown_session(session.session_id)
        return session

    async def submit_message(
        self,
        session_id: SessionLike,
        message: MessagesLike,
        user: object = None,
        **options: Unpack[SendOptions],
    ) -> AsyncJobHandle:
        """Give the agent a message, without waiting for its answer: the handle follows it.

        Raises SessionNotFoundError, SessionClosedError, and what `Client.submit` raises; then nothing is
        stored.
        """
        job: dict[str, Any] = {**options}
        guest = {"anonymous_id": job.pop("anonymous_id", None), "tenant": job.pop("tenant", None)}
        owner = Owner.validated({**guest, "user": user})
        session = await self._found(session_id, lambda found: found.takes_from(owner))
        if session.status is not SessionStatus.ACTIVE:
            told = f"The session is {session.status} and takes no more messages."
            raise SessionClosedError(told, param="session_id")
        job |= {"session_id": session.session_id, "agent": session.agent_path, "archive": True}
        job |= {"user": session.user, "tenant": session.tenant}
        await self._open(session)
        handle: AsyncJobHandle = await self._clients.awaited.submit(message, **job)
        return handle

    async def send_message(
        self,
        session_id: SessionLike,
        message: MessagesLike,
        user: object = None,
        **options: Unpack[WaitOptions],
    ) -> dict[str, str]:
        """Give the agent a message and wait: `{"status": "success", "response": …, "session_id": …}`.

        If the job ends otherwise than completed: `{"status": "error", "error": …, "session_id": …}`. Raises
        what `submit_message` raises, and WaitTimeoutError when the answer does not come within `timeout`
        seconds (PALAVER_ANSWER_SECONDS, 300; None: however long it takes), or sooner, while no worker lives;
        the job then goes on.
        """
        job: dict[str, Any] = {**options}
        timeout = job.pop("timeout", self._clients.settings.answer_seconds)
        check_timeout(timeout)
        handle = await self.submit_message(session_id, message, user, **job)
        try:
            response = await _answer(handle, timeout, self._ledger.workers)
        except PalaverError as error:
            if not (await handle.status()).ended:
                raise
            return {"status": "error", "error": error.message, "session_id": handle.session_id}
        return {"status": "success", "response": response.content, "session_id": handle.session_id}

    async def add_message(
        self,
        session: ConversationSession,
        message_type: MessageType | Literal["user", "agent", "system", "widget"],
        content: str = "",
        **fields: Unpack[MessageFields],
    ) -> ConversationMessage:
        """Store a message that is no job's. No agent is told of it.

        Raises SessionNotFoundError where the session has been erased, or has expired.
        """
        if not isinstance(session, ConversationSession):
            refuse("session", f"must be a session, not {shape(session)}")
        said = {**fields, "message_type": message_type, "content": content}
        check_sizes(said, self._largest)
        new = NewMessage.validated(said)
        about = {"session_id": session.id, "created": await self._now()}
        message = ConversationMessage.validated({**dict(new), **about})
        await self._archive.add([message])
        return message

    async def messages(self, session_id: SessionLike, **page: Unpack[Paging]) -> Page[ConversationMessage]:
        """A session's messages, the oldest first: a user's from submit on, the others from the end of their
        job.
        """
        asked = Listing.validated(page)
        session = await self._session(session_id, asked.owner)
        await archive_session(self._ledger, self._archive, session.session_id)
        return await self._archive.messages(session.session_id, after=asked.after, limit=asked.limit)

    async def search(self, text: str, **page: Unpack[Paging]) -> Page[ConversationMessage]:
        """Messages with this text in all of somebody's sessions, whatever its case, the latest first."""
        if not isinstance(text, str):
            refuse("text", f"must be a string, not {shape(text)}")
        asked = Listing.validated(page)
        owner = one_owner(asked.owner)
        await personal_data.archive_all(self._ledger, self._archive, owner)
        return await self._archive.search(owner, text, after=asked.after, limit=asked.limit)

    async def export(self, **whose: Unpack[Whose]) -> AsyncIterator[dict[str, Any]]:
        """All that is kept of somebody: one JSON object a session, with `session`, `messages` and `jobs`; one
        a batch, with `batch` (its counts are in it) and `objects`, which hold its output in the store of
        files; and one a file, with `file`. What is in them, `client.batches` and `client.files` give.
        """
        owner = one_owner(Owner.validated(whose))
        async for document in personal_data.export(self._ledger, self._archive, owner):
            yield document
        async for document in personal_batches.export(self._clients.awaited, owner):
            yield document
        async for document in personal_data.export_files(self._clients.awaited.files, owner):
            yield document

    async def delete_session(self, session_id: SessionLike, **whose: Unpack[Whose]) -> None:
        """Remove a session for good: its messages, jobs, log and history. What still runs is cancelled.

        Raises SessionNotFoundError; ConfigurationError where PALAVER_ARCHIVE_URL is not set, and the session
        is in a database; WaitTimeoutError when a worker does not end a job in a minute: then repeat the call.
        """
        session = await self.session(session_id, **whose)
        await personal_data.erase(self._ledger, self._archive, [session])

    async def erase(self, **whose: Unpack[Whose]) -> int:
        """Remove all of somebody's sessions for good, as `delete_session`; how many there were. And a user's
        batches, with their lines and results; and his files, with the texts that were extracted from them,
        where PALAVER_FILES_URL is set in this process: without it, batches raise ConfigurationError.
        """
        owner = one_owner(Owner.validated(whose))
        sessions = await personal_data.sessions_of(self._archive, owner)
        await personal_data.erase(self._ledger, self._archive, sessions)
        await personal_batches.erase(self._clients.awaited, owner)
        # After jobs and batches, which may still read them.
        await personal_data.erase_files(self._clients.awaited.files, owner)
        return len(sessions)

    async def aclose(self) -> None:
        """Close what is open on the running loop."""
        opened = self._archives.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened.closing.aclose()
        await self._clients.awaited.leave()

    def _new_session(self, given: dict[str, Any]) -> NewSession:
        check_sizes(given, self._largest)
        return NewSession.validated(given)

    async def _session(self, session_id: SessionLike, owner: Owner) -> ConversationSession:
        return await self._found(session_id, lambda found: found.belongs_to(owner))

    async def _found(
        self, session_id: SessionLike, is_his: Callable[[ConversationSession], bool]
    ) -> ConversationSession:
        name = parse_session_id(session_id)
        session = await self._archive.session(name)
        if session is None or not is_his(session):
            raise unknown_session(name)
        return session

    async def _open(self, session: ConversationSession) -> None:
        """The ledger knows a session that was found, for what is to be done with it.

        Raises SessionNotFoundError where somebody has erased it meanwhile.
        """
        ledger = self._ledger
        if ledger.settings.archive_url:
            await personal_data.reopen(ledger, self._archive, session)
            return
        if session.owner.is_somebody:
            # Redis may have lost it there, or who read the list as the session began have taken it off.
            await ledger.query(operations.list_session(ledger.keys, session, session.owner))
        # After it: an eraser takes it off the list once it is not there any more.
        keeping = operations.keep_session(ledger.keys, session.session_id, retention=ledger.retention)
        if not await ledger.run(keeping):
            await personal_data.unlist(ledger, session)
            raise unknown_session(session.session_id)

    async def _now(self) -> float:
        return await self._ledger.query(operations.time())

    @property
    def _largest(self) -> int:
        return self._clients.settings.max_document_bytes

    @property
    def _ledger(self) -> AsyncLedger:
        return self._clients.awaited.ledger

    @property
    def _archive(self) -> Archive:
        loop = asyncio.get_running_loop()
        opened = self._archives.get(loop)
        if opened is None:
            archive = open_archive(self._ledger)
            closing = until_loop_ends(partial(_close, archive, weakref.ref(self._archives)))
            opened = self._archives[loop] = _Opened(archive, closing)
        return opened.archive


@dataclass(frozen=True, slots=True)
class _Opened:
    """An archive on a loop, and what closes it."""

    archive: Archive
    closing: AsyncGenerator[None, None]


async def _close(
    archive: Archive, archives: weakref.ref[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened]]
) -> None:
    """It knows its loop, which would be kept as long as it is."""
    if (kept := archives()) is not None:
        kept.pop(asyncio.get_running_loop(), None)
    await archive.aclose()


async def _answer(
    handle: AsyncJobHandle, seconds: float | None, workers: Callable[[], Awaitable[list[Announcement]]]
) -> ChatResponse:
    """The job's answer, waited for in stretches: a worker may start or die meanwhile."""
    if seconds is None:
        return await handle.result()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > UNSERVED_SECONDS:
        with suppress(WaitTimeoutError):
            return await handle.result(UNSERVED_SECONDS)
        if not await workers():
            raise WaitTimeoutError("No worker lives; the message waits for one.", job_id=handle.job_id)
    return await handle.result(max(left, 0.0))
