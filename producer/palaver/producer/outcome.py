"""What a job came to, from the ledger's view of it; pure."""

from __future__ import annotations

from palaver.shared.accumulator import end_error
from palaver.shared.errors import ErrorInfo, JobNotFinishedError, WaitTimeoutError
from palaver.shared.ledger import JobView
from palaver.shared.responses import ChatResponse


def response_of(view: JobView) -> ChatResponse:
    """The response of a completed job.

    Raises the job's own error if it failed, was cancelled or expired, JobNotFinishedError before its end; the
    error's `response` holds what there is of the answer.
    """
    if not view.status.ended:
        raise JobNotFinishedError(f"job {view.job_id} is {view.status}", job_id=view.job_id)
    error = end_error(view.status, view.error, job_id=view.job_id)
    if error is None:
        return view.response or ChatResponse(content=view.text, reasoning=view.reasoning or None)
    error.job_id = error.job_id or view.job_id
    error.response = view.response or ChatResponse.failed(
        ErrorInfo.of(error), content=view.text, reasoning=view.reasoning or None
    )
    raise error


def wait_ended(job_id: str, timeout: float) -> WaitTimeoutError:
    """The error of a wait that was too short."""
    return WaitTimeoutError(
        f"job {job_id} has not ended after {timeout:g} seconds; it goes on", job_id=job_id
    )
