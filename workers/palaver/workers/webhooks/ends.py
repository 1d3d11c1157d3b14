"""What there is to tell of the end of a job or a batch, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from palaver.shared.batches import BatchView
from palaver.shared.errors import BatchNotFoundError
from palaver.shared.ledger import AsyncLedger, JobView
from palaver.workers.webhooks.notice import body_of, body_of_batch

__all__ = ["End", "end_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a job or a batch; `ended` is None while it goes on. Times are Unix seconds."""

    session_id: str
    job_id: str  # of a batch its own, as the session's
    tenant: str | None
    created: float
    ended: float | None
    standing: str | None  # of the webhook
    url: str | None = field(repr=False)
    body: Callable[[], bytes] = field(repr=False)


async def end_of(ledger: AsyncLedger, session_id: str, job_id: str) -> End:
    """Raises JobNotFoundError for what is gone."""
    if session_id == job_id:  # a batch, unless somebody has named a session like a job
        try:
            return _of_batch(await ledger.batch(job_id))
        except BatchNotFoundError:
            pass
    return _of_job(await ledger.job(job_id, session_id, document=True))


def _of_batch(view: BatchView) -> End:
    return End(
        session_id=view.batch.batch_id,
        job_id=view.batch.batch_id,
        tenant=view.batch.tenant,
        created=view.created_at,
        ended=view.ended_at,
        standing=view.webhook,
        url=view.batch.webhook,
        body=partial(body_of_batch, view),
    )


def _of_job(view: JobView) -> End:
    job = view.document
    return End(
        session_id=view.session_id,
        job_id=view.job_id,
        tenant=None if job is None else job.tenant,
        created=view.created,
        ended=(view.ended or 0.0) if view.status.ended else None,
        standing=view.webhook,
        url=None if job is None else job.webhook,
        body=partial(body_of, view, None if job is None else job.metadata),
    )
