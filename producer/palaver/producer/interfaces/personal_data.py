"""All that is kept of somebody: to be given to him, or to be removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from palaver.producer.files import AsyncFiles
from palaver.shared.conversations import ConversationMessage, ConversationSession, Page
from palaver.shared.errors import ConfigurationError, FileMissingError, JobGoneError, WaitTimeoutError
from palaver.shared.ledger import AsyncLedger, JobView, operations
from palaver.shared.ledger.operation import Operation
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus, unknown_session
from palaver.shared.stores import FileRef
from palaver.shared.stores.archives import LARGEST_PAGE, Archive, archive_session

ENDING_SECONDS: Final = 60.0
"""For workers to end the jobs that they hold; one that died needs a lease and a sweep."""
_POLL_SECONDS: Final = 0.1


async def archive_all(ledger: AsyncLedger, archive: Archive, owner: Owner) -> None:
    """Store what is said by now in all of somebody's sessions."""
    async for sessions in _pages_of_sessions(archive, owner):
        ids = [session.session_id for session in sessions]
        behind = await ledger.query(operations.unarchived_among(ledger.keys, ids)) if ids else []
        for session_id in behind:
            await archive_session(ledger, archive, session_id)


async def export(ledger: AsyncLedger, archive: Archive, owner: Owner) -> AsyncIterator[dict[str, Any]]:
    """One JSON object for each of somebody's sessions: what it is, its messages, and the jobs that the
    ledger still has of it, each with its answer.
    """
    async for sessions in _pages_of_sessions(archive, owner):
        for session in sessions:
            await archive_session(ledger, archive, session.session_id)
            messages = [message async for message in _messages(archive, session)]
            yield {
                "session": session.model_dump(mode="json"),
                "messages": [message.model_dump(mode="json") for message in messages],
                "jobs": [_job(view) for view in await _jobs(ledger, session)],
            }


async def erase(ledger: AsyncLedger, archive: Archive, sessions: list[ConversationSession]) -> None:
    """Remove these sessions from the archive and from the ledger, with their jobs and logs.

    Their jobs are cancelled first. Raises WaitTimeoutError when one does not end: then the call is to be
    repeated, and nothing of these sessions goes on meanwhile. Raises ConfigurationError, and removes nothing,
    where they are in a database that is not configured here. May be repeated after any failure.
    """
    in_database = bool(ledger.settings.archive_url)
    if not in_database:
        await _check_none_is_elsewhere(ledger, sessions)
    left = list(sessions)
    while left:
        if in_database:  # Redis may know none of them, and is to know that they are closed
            for session in left:
                await ledger.run(_opening(ledger, session))
        await erase_jobs(ledger, [session.session_id for session in left])
        # Last: whoever repeats the call finds here what is to be erased.
        for session in left:
            await unlist(ledger, session)
            await archive.delete(session)
        # Whoever found one in the database before may have opened it in the ledger since it was erased there.
        left = [session for session in left if in_database and await _is_in_ledger(ledger, session)]
        for session in left:
            await archive.create(session)


async def reopen(ledger: AsyncLedger, archive: Archive, session: ConversationSession) -> None:
    """Have the ledger know a session of a database, however long it was silent.

    Raises SessionNotFoundError where somebody has erased it meanwhile.
    """
    is_new = await ledger.run(_opening(ledger, session))
    # After it: an eraser looks for a session that was opened again once it has left the database.
    if is_new and await archive.session(session.session_id) is None:
        await erase_jobs(ledger, [session.session_id])
        raise unknown_session(session.session_id)


async def unlist(ledger: AsyncLedger, session: ConversationSession) -> None:
    """Take a session off the list of its owner in Redis: it may be from before there was a database."""
    if session.owner.is_somebody:
        await ledger.query(operations.unlist(ledger.keys, session.owner, [session.order]))


async def export_files(files: AsyncFiles, owner: Owner) -> AsyncIterator[dict[str, Any]]:
    """One JSON object for each of somebody's files: what is known of it."""
    for ref in await _files(files, owner):
        yield {"file": ref.model_dump(mode="json")}


async def erase_files(files: AsyncFiles, owner: Owner) -> None:
    """Remove all of somebody's files, with the texts that were made from them. May be repeated."""
    for ref in await _files(files, owner):
        with suppress(FileMissingError):  # removed by somebody else meanwhile
            await files.delete(ref.id, user=ref.user, tenant=ref.tenant)


async def sessions_of(archive: Archive, owner: Owner) -> list[ConversationSession]:
    """All of somebody's sessions."""
    return [session async for sessions in _pages_of_sessions(archive, owner) for session in sessions]


async def erase_jobs(ledger: AsyncLedger, session_ids: list[str]) -> None:
    """Remove all that the ledger has of these sessions, which take no job from now on: one that came
    meanwhile would be lost without a word, or outlive them. Raises as `erase`, and may be repeated like it.
    """
    for session_id in session_ids:
        await ledger.run(operations.set_status(ledger.keys, session_id, SessionStatus.ARCHIVED))
    for session_id in session_ids:
        await _end_jobs(ledger, session_id)
    await ledger.erase(session_ids)


async def _check_none_is_elsewhere(ledger: AsyncLedger, sessions: list[ConversationSession]) -> None:
    for session in sessions:
        name = session.session_id
        if await ledger.query(operations.kept_in(ledger.keys, name)) == "database":
            told = f"PALAVER_ARCHIVE_URL is not set here, and session {name} is in a database."
            raise ConfigurationError(told)


def _opening(ledger: AsyncLedger, session: ConversationSession) -> Operation[bool]:
    return operations.open_session(ledger.keys, session, retention=ledger.retention, in_database=True)


async def _is_in_ledger(ledger: AsyncLedger, session: ConversationSession) -> bool:
    return await ledger.query(operations.kept_in(ledger.keys, session.session_id)) is not None


async def _end_jobs(ledger: AsyncLedger, session_id: str) -> None:
    """Have all jobs of a session end. Raises WaitTimeoutError when one does not."""
    try:
        async with asyncio.timeout(ENDING_SECONDS):
            while unended := (await ledger.snapshot(session_id, after=0)).jobs:
                for job_id in reversed(unended):  # the first last: its end is the turn of the next
                    with suppress(JobGoneError):
                        await ledger.cancel(session_id, job_id, mode="rollback")
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        told = f"A job of session {session_id} did not end within {ENDING_SECONDS:g} s; erase it again."
        raise WaitTimeoutError(told) from None


async def _files(files: AsyncFiles, owner: Owner) -> list[FileRef]:
    if owner.user is None or not files.configured:
        return []
    return await files.list(user=owner.user, tenant=owner.tenant)


async def _jobs(ledger: AsyncLedger, session: ConversationSession) -> list[JobView]:
    moment = await ledger.snapshot(session.session_id, after=0)
    ids = [*moment.ended, *moment.jobs]
    found = await ledger.snapshot(session.session_id, ids, documents=True)
    return [found.jobs[job_id] for job_id in ids if job_id in found.jobs]


def _job(view: JobView) -> dict[str, Any]:
    document, response = view.document, view.response
    return {
        "job_id": view.job_id,
        "status": view.status.value,
        "document": document and document.model_dump(mode="json"),
        "response": response and response.model_dump(mode="json"),
    }


async def _pages_of_sessions(archive: Archive, owner: Owner) -> AsyncIterator[list[ConversationSession]]:
    page: Page[ConversationSession] = await archive.sessions(owner, limit=LARGEST_PAGE)
    yield page.items
    while page.after is not None:
        page = await archive.sessions(owner, after=page.after, limit=LARGEST_PAGE)
        yield page.items


async def _messages(archive: Archive, session: ConversationSession) -> AsyncIterator[ConversationMessage]:
    after: str | None = None
    while True:
        page = await archive.messages(session.session_id, after=after, limit=LARGEST_PAGE)
        for message in page.items:
            yield message
        if page.after is None:
            return
        after = page.after
