"""From the ledger to the archive: whoever needs to, stores what the jobs of a conversation have said.

The id of a message is made of its job's, so that it is stored once however many do this, and however often.
"""

import logging
from collections.abc import Mapping
from typing import Final

from palaver.shared.ledger import AsyncLedger, JobView, operations
from palaver.shared.stores.archives.archive import Archive
from palaver.shared.stores.archives.transcript import messages_of

log = logging.getLogger("palaver.archive")

ORPHAN_SECONDS: Final = 60.0
"""A job that was noted and is not there: its submit may still be under way."""


async def archive_session(ledger: AsyncLedger, archive: Archive, session_id: str) -> float | None:
    """Store what is said by now. Seconds since the latest job that is still to say something; None: there
    is none.

    Raises ArchiveUnavailableError and LedgerUnavailableError; what was to be stored is stored next time.
    """
    noted = await ledger.query(operations.unarchived_jobs(ledger.keys, session_id))
    if not noted:
        return None
    moment = await ledger.snapshot(session_id, list(noted), documents=True)
    views = sorted(moment.jobs.values(), key=lambda view: view.created)
    messages = [message for view in views for message in messages_of(view)]
    if messages:
        await archive.add(messages)
    done = {view.job_id for view in views if view.status.ended}
    done |= _orphans(session_id, noted, moment.jobs, moment.time)
    if done:
        await ledger.query(operations.archived(ledger.keys, session_id, sorted(done)))
    ages = [moment.time - since for job_id, since in noted.items() if job_id not in done]
    return min(ages, default=None)


def _orphans(
    session_id: str, noted: Mapping[str, float], found: Mapping[str, JobView], now: float
) -> set[str]:
    orphans = {
        job_id for job_id, since in noted.items() if job_id not in found and now - since > ORPHAN_SECONDS
    }
    for job_id in sorted(orphans):
        # Refused when it was submitted, as a rule; but it may also have waited longer than jobs are kept.
        log.warning("archive.job_gone session_id=%s job_id=%s", session_id, job_id)
    return orphans
