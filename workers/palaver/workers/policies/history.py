"""What a finished job adds to its session's history (DESIGN §3, rule 11). Pure.

Completed, cancelled and interrupted jobs add their user messages and the answer; a partial answer is marked.
Failed and expired ones add nothing.
"""

from collections.abc import Sequence

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import operations
from palaver.shared.messages import Message

__all__ = ["additions"]


def additions(job: ChatJob, status: Status, answer: Sequence[Message]) -> list[bytes]:
    """The messages that the session remembers, as JSON, in order. `answer` has several where tools ran."""
    if status not in (Status.COMPLETED, Status.CANCELLED):
        return []
    metadata = {"job_id": job.job_id, **({} if status is Status.COMPLETED else {"partial": True})}
    marked = [
        message.model_copy(update={"metadata": {**(message.metadata or {}), **metadata}})
        for message in answer
    ]
    return [*operations.new_messages(job), *(message.to_json() for message in marked)]
