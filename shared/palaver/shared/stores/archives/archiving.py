"""From the ledger to the archive: whoever needs to, stores what the jobs of a conversation have said.

The id of a message is made of its job's, so that it is stored once however many do this, and however often.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from palaver.shared.conversations import ConversationMessage, ConversationSession
from palaver.shared.errors import ArchiveUnavailableError, ConfigurationError, SessionNotFoundError
from palaver.shared.ledger import AsyncLedger, Snapshot, operations
from palaver.shared.stores.archives.archive import Archive
from palaver.shared.stores.archives.transcript import messages_of

log = logging.getLogger("palaver.archive")

ORPHAN_SECONDS: Final = 60.0
"""A job that was noted and is not there: its submit may still be under way."""


async def archive_session(ledger: AsyncLedger, archive: Archive, session_id: str) -> float | None:
    """Store what is said by now. Seconds since the latest job that is still to say something; None: there
    is none.

    Raises ArchiveUnavailableError, LedgerUnavailableError, LedgerFullError, and ConfigurationError where
    another archive is meant: what was to be stored then stays noted, and the ledger keeps it.
    """
    noted = await ledger.query(operations.unarchived_jobs(ledger.keys, session_id))
    if not noted:
        return None
    moment = await ledger.snapshot(session_id, list(noted), documents=True)
    try:
        await _store(ledger, archive, moment)
    except (ArchiveUnavailableError, ConfigurationError):
        keep = operations.prolong(ledger.keys, session_id, list(noted), retention=ledger.retention)
        await ledger.run(keep)
        raise
    done = {view.job_id for view in moment.jobs.values() if view.status.ended}
    done |= _orphans(noted, moment)
    if done:
        await ledger.query(operations.archived(ledger.keys, session_id, sorted(done)))
    ages = [moment.time - since for job_id, since in noted.items() if job_id not in done]
    return min(ages, default=None)


async def _store(ledger: AsyncLedger, archive: Archive, moment: Snapshot) -> None:
    session = await ledger.query(operations.session(ledger.keys, moment.session_id))
    if session is None:
        log.warning("archive.no_conversation session_id=%s jobs=%d", moment.session_id, len(moment.jobs))
        return
    place = await ledger.query(operations.kept_in(ledger.keys, moment.session_id))
    if place == "database" and not ledger.settings.archive_url:
        told = f"PALAVER_ARCHIVE_URL is not set here, and session {moment.session_id} is kept in a database"
        raise ConfigurationError(told)
    views = sorted(moment.jobs.values(), key=lambda view: view.created)
    messages = [message for view in views for message in messages_of(view)]
    if messages:
        await _add(ledger, archive, session, messages)


async def _add(
    ledger: AsyncLedger, archive: Archive, session: ConversationSession, messages: list[ConversationMessage]
) -> None:
    """Store messages of a session that the ledger had a moment ago. Once erased it stays so: whoever erases
    it removes last what the archive has.
    """
    session_id = session.session_id
    try:
        await archive.add(messages)
        return
    except SessionNotFoundError:
        place = await ledger.query(operations.kept_in(ledger.keys, session_id))
        if not ledger.settings.archive_url or place != "redis":
            # Erased, and perhaps opened by who had found it before: or a database has lost what it had.
            level = logging.WARNING if place == "database" else logging.INFO
            log.log(level, "archive.erased_meanwhile session_id=%s messages=%d", session_id, len(messages))
            return
    # It has begun before there was this database.
    await archive.create(session)
    with suppress(SessionNotFoundError):  # erased, and so is what was created
        await archive.add(messages)
    keeping = operations.keep_session(ledger.keys, session_id, retention=ledger.retention, in_database=True)
    if not await ledger.run(keeping):
        await archive.delete(session)


def _orphans(noted: Mapping[str, float], moment: Snapshot) -> set[str]:
    orphans = {
        job_id
        for job_id, since in noted.items()
        if job_id not in moment.jobs and moment.time - since > ORPHAN_SECONDS
    }
    for job_id in sorted(orphans):
        # Refused at its submit, as a rule; but a Redis that lost writes may have lost this job too.
        log.warning("archive.job_gone session_id=%s job_id=%s", moment.session_id, job_id)
    return orphans
