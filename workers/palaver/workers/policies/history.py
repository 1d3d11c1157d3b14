"""What a finished job adds to its session's history (DESIGN §3, rule 11). Pure.

Completed, cancelled and interrupted jobs add their user messages and the answer; a partial answer is marked.
Failed and expired ones add nothing.
"""

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import operations
from palaver.shared.messages import Message, Role
from palaver.shared.responses import ChatResponse

__all__ = ["additions"]


def additions(job: ChatJob, status: Status, response: ChatResponse) -> list[bytes]:
    """The messages that the session remembers, as JSON, in order."""
    if status not in (Status.COMPLETED, Status.CANCELLED):
        return []
    answer = _answer(job, status, response)
    return [*operations.new_messages(job), *([answer.to_json()] if answer is not None else [])]


def _answer(job: ChatJob, status: Status, response: ChatResponse) -> Message | None:
    if not response.content and not response.tool_calls:
        return None
    metadata = {"job_id": job.job_id, **({} if status is Status.COMPLETED else {"partial": True})}
    return Message(
        role=Role.ASSISTANT,
        content=response.content or None,
        tool_calls=response.tool_calls or None,
        metadata=metadata,
    )
