"""One run of a job by this worker: what its steps share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed
from palaver.shared.profiles import ModelRef
from palaver.workers.job_answer import JobAnswer
from palaver.workers.stop import Park, Stop

__all__ = ["Run", "pause"]

MOMENT_SECONDS = 3.0  # a job that is to wait longer waits in the ledger, and holds no slot


@dataclass(slots=True)
class Run:
    """See the module."""

    claimed: Claimed  # since it was read: without the document, the history and what was said before
    answer: JobAnswer
    stop: Stop
    ends_at: float  # deadline, on the monotonic clock
    job: ChatJob | None = None  # None until it was read; one that cannot be leaves no history
    ref: ModelRef | None = None  # the model that was asked last

    def told(self, **more: Any) -> dict[str, Any]:
        """What a line of log says about it."""
        claimed = self.claimed
        known = {"session_id": claimed.session_id, "job_id": claimed.job_id, "attempt": claimed.attempt}
        return {**known, "model": str(self.ref) if self.ref else None, **more}


async def pause(job: ChatJob, seconds: float) -> None:
    """Wait, in the ledger if it is for long; but `timeouts.total` is kept by the worker that has the job."""
    if seconds > MOMENT_SECONDS and job.timeouts.total is None:
        raise Park(seconds)
    await asyncio.sleep(seconds)
