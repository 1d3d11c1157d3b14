"""What a reader tells of jobs whose events the log no longer has, made of what the ledger has of them; pure.

None of these events is in a log. Each has the `seq` of the moment at which the ledger was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.errors import ErrorInfo, JobLostError
from palaver.shared.events import (
    AnyEvent,
    Resync,
    ResyncData,
    StreamEnd,
    StreamEndData,
    WarningData,
    WarningEvent,
)
from palaver.shared.jobs import FinishReason, Status
from palaver.shared.ledger import JobView, Snapshot

JOBS_FORGOTTEN: Final = "jobs_forgotten"
"""Code of the warning that a session may have had jobs of which nobody knows any more."""


def events_of(view: JobView, moment: Snapshot) -> list[AnyEvent]:
    """The `resync` of a job, and its end if it has ended: in the log neither can be found any more."""
    response = view.response
    text = response.content if response else view.text
    reasoning = (response.reasoning if response else view.reasoning) or ""
    common = {**_common(view.job_id, moment), "attempt": view.attempt}
    data = ResyncData(seq=moment.seq, text=text, reasoning=reasoning, status=view.status)
    resync = Resync(**common, data=data)
    if not view.status.ended:
        return [resync]
    end = StreamEndData(
        status=view.status,
        response=response,
        error=view.error,
        text=None if response else text,
        reasoning=None if response else reasoning or None,
        usage=response.usage if response else None,
        finish_reason=response.finish_reason if response else FinishReason.ERROR if view.error else None,
    )
    return [resync, StreamEnd(**common, data=end)]


def end_of_lost(job_id: str, moment: Snapshot) -> AnyEvent:
    """The end of a job that the consumer was reading and the ledger no longer knows."""
    error = ErrorInfo.of(lost(job_id))
    return StreamEnd(**_common(job_id, moment), data=StreamEndData(status=Status.FAILED, error=error))


def lost(job_id: str) -> JobLostError:
    """The error of such a job."""
    return JobLostError(f"the ledger no longer knows job {job_id}", job_id=job_id)


def warning_of_forgotten(moment: Snapshot) -> AnyEvent:
    """Of the session, so without a job: it may have had jobs that nothing is told of."""
    data = WarningData(
        code=JOBS_FORGOTTEN,
        param="after",
        message="Other jobs may have ended where the log is gone; the ledger no longer knows which.",
    )
    return WarningEvent(**_common("", moment), data=data)


def numbered(events: Sequence[AnyEvent], before: int) -> list[AnyEvent]:
    """All but the last with the `seq` that the consumer had before: who stops among them, and comes back with
    the last `seq` that it saw, is told again.
    """
    first = [event.model_copy(update={"seq": min(before, event.seq)}) for event in events[:-1]]
    return [*first, *events[-1:]]


def _common(job_id: str, moment: Snapshot) -> dict[str, Any]:
    return {"seq": moment.seq, "session_id": moment.session_id, "job_id": job_id, "time": moment.time}
