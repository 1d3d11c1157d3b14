"""What a job says in its conversation, as messages to store. Pure, and the same however often it is asked."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from palaver.shared.conversations import ConversationMessage, MessageType, message_id
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import JobView
from palaver.shared.responses import ChatResponse

_TYPES: Final[dict[str, MessageType]] = {"user": MessageType.USER, "assistant": MessageType.AGENT}


def messages_of(view: JobView) -> list[ConversationMessage]:
    """The messages of a job whose document was fetched too: what the user said; once it has ended also the
    widgets, the answer if there is one, and why it failed.

    A job that does another one again does not repeat the question; one that was refused says nothing.
    """
    job = view.document if view.document_json else None
    if job is None:
        return []
    asked = [] if job.retry_of is not None else [{"created": view.created, **said} for said in _asked(job)]
    ended = view.ended or view.created
    answered = [{"created": ended, **said} for said in _answered(view)] if view.status.ended else []
    return [_message(view, position, fields) for position, fields in enumerate([*asked, *answered])]


def _asked(job: ChatJob) -> Iterator[dict[str, Any]]:
    """A job that begins with turns of another conversation has these first, marked `earlier`."""
    turns = [message for message in job.messages if message.role in _TYPES]
    runs = [(role, list(run)) for role, run in groupby(turns, attrgetter("role"))]
    while runs and runs[-1][0] != "user":
        runs.pop()  # the beginning of the answer, which has it
    for number, (role, run) in enumerate(runs, start=1):
        is_last = number == len(runs)
        about = {"files": job.files} if is_last else {"metadata": {"earlier": True}}
        yield {"message_type": _TYPES[role], "content": "\n".join(said.text for said in run), **about}


def _answered(view: JobView) -> Iterator[dict[str, Any]]:
    response = view.response or ChatResponse(content=view.text)
    for widget in response.widgets or ():
        data = widget.data if isinstance(widget.data, dict) else {"data": widget.data}
        yield {
            "message_type": MessageType.WIDGET,
            "component_type": widget.widget_type,
            "component_data": data,
        }
    if response.content:
        partial = {} if view.status is Status.COMPLETED else {"metadata": {"partial": True}}
        yield {"message_type": MessageType.AGENT, "content": response.content, **partial}
    if view.status in (Status.FAILED, Status.EXPIRED):
        reason = view.error.message if view.error else view.status.value
        yield {"message_type": MessageType.SYSTEM, "content": f"Error: {reason}"}


def _message(view: JobView, position: int, fields: dict[str, Any]) -> ConversationMessage:
    return ConversationMessage(
        id=message_id(view.session_id, view.job_id, position),
        session_id=view.session_id,
        job_id=view.job_id,
        position=position,
        **fields,
    )
