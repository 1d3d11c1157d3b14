"""What there is to tell of the end of a job or a batch, and where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from palaver.shared.batches import BatchView
from palaver.shared.errors import BatchNotFoundError, JobNotFoundError
from palaver.shared.ledger import AsyncLedger, operations
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
    body: Callable[[], Awaitable[bytes]] = field(repr=False)  # reads what was answered


async def end_of(ledger: AsyncLedger, session_id: str, job_id: str) -> End:
    """Raises JobNotFoundError for what is gone."""
    webhook = await ledger.query(operations.webhook_of(ledger.keys, session_id, job_id))
    if webhook is None:
        return await _of_batch(ledger, session_id, job_id)
    return End(
        session_id=session_id,
        job_id=job_id,
        tenant=webhook.tenant,
        created=webhook.created,
        ended=webhook.ended,
        standing=webhook.standing,
        url=webhook.url,
        body=partial(_body_of_job, ledger, session_id, job_id, webhook.metadata),
    )


async def _body_of_job(
    ledger: AsyncLedger, session_id: str, job_id: str, metadata: Mapping[str, Any]
) -> bytes:
    return body_of(await ledger.job(job_id, session_id), metadata)


async def _of_batch(ledger: AsyncLedger, session_id: str, job_id: str) -> End:
    gone = JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
    if session_id != job_id:
        raise gone
    try:
        view = await ledger.batch(job_id)
    except BatchNotFoundError:
        raise gone from None
    return End(
        session_id=view.batch.batch_id,
        job_id=view.batch.batch_id,
        tenant=view.batch.tenant,
        created=view.created_at,
        ended=view.ended_at,
        standing=view.webhook,
        url=view.batch.webhook,
        body=partial(_body_of_batch, view),
    )


async def _body_of_batch(view: BatchView) -> bytes:
    return body_of_batch(view)
