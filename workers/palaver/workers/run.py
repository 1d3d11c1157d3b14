"""One run of a job by this worker: what its steps share."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from palaver.shared.errors import InternalError, JobExpiredError, PalaverError, TimeoutError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed
from palaver.shared.profiles import ModelRef
from palaver.workers.frames import forget_frames, report
from palaver.workers.job_answer import JobAnswer
from palaver.workers.notes import Notes
from palaver.workers.stop import Park, Stop
from palaver.workers.tracing import Attempt
from palaver.workers.work import Work

__all__ = ["Run", "failure_of", "pause"]

MOMENT_SECONDS = 3.0  # a job that is to wait longer waits in the ledger, and holds no slot


@dataclass(slots=True, eq=False)
class Run:
    """See the module."""

    claimed: Claimed  # without the document, the history and what was said before
    answer: JobAnswer
    notes: Notes
    stop: Stop
    unread: Claimed | None = None  # with all that `claimed` is without, until it was read
    ends_at: float = math.inf  # deadline, on the monotonic clock
    job: ChatJob | None = None  # None until it was read; one that cannot be leaves no history
    ref: ModelRef | None = None  # the model that was asked last
    attempt: Attempt = field(default_factory=Attempt)  # as its trace has it

    def told(self, **more: Any) -> dict[str, Any]:
        """What a line of log says about it."""
        claimed = self.claimed
        known = {"session_id": claimed.session_id, "job_id": claimed.job_id, "attempt": claimed.attempt}
        return {**known, "model": str(self.ref) if self.ref else None, **more}

    def end_within(self, deadline: float, total: float | None, *, begun: float = 0.0) -> None:
        """Set the clocks that may end the work: in `deadline` seconds, and `timeouts.total` after the job was
        first begun, `begun` seconds ago. Raises TimeoutError when that is over.
        """
        self.stop.after(deadline, self._expired)
        self.ends_at = time.monotonic() + deadline
        if total is not None:
            late = partial(self._late, total)
            if begun >= total:
                raise late()
            self.stop.after(total - begun, late)
            self.ends_at = min(self.ends_at, time.monotonic() + total - begun)

    def _expired(self) -> PalaverError:
        return JobExpiredError(job_id=self.claimed.job_id)

    def _late(self, total: float) -> PalaverError:
        late = f"the answer took longer than timeouts.total, {total:g} seconds"
        return TimeoutError(late, job_id=self.claimed.job_id)


async def failure_of(work: Awaitable[None], job_id: str) -> PalaverError | None:
    """The error that has ended a job's work, or None. The outermost boundary: a bug of ours must end the job,
    and not its readers. It is a value from here on, and holds nothing of the work.
    """
    try:
        await work
    except PalaverError as error:
        return forget_frames(error)
    except Exception as bug:  # noqa: BLE001 - see above
        report(bug, f"job {job_id}")
        return InternalError(f"{type(bug).__name__} in the worker; its log has the traceback", job_id=job_id)
    return None


async def pause(work: Work, seconds: float) -> None:
    """Wait, in the ledger if it is for long; a line of a batch waits there as a whole."""
    if seconds > MOMENT_SECONDS and not work.is_line:
        raise Park(seconds)
    await asyncio.sleep(seconds)
