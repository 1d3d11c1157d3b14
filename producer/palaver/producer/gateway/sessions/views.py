"""What is told of sessions, jobs and messages; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, Field

from palaver.shared.conversations import ConversationMessage, ConversationSession, MessageType
from palaver.shared.ledger import JobView, Snapshot
from palaver.shared.sessions import SessionStatus

T = TypeVar("T")
_ROLES = {MessageType.USER: "user", MessageType.AGENT: "assistant", MessageType.SYSTEM: "system"}


class Listed(BaseModel, Generic[T]):
    """A part of a list. `after` is given to get the next one; null behind the last."""

    items: list[T]
    after: str | None = None


class Waits(BaseModel):
    """What a job has to expect that waits for a worker, a provider or its tenant, about."""

    position: int = Field(description="Jobs ahead of it, of all sessions.")
    seconds: float | None = Field(default=None, description="Until it goes on; null: nobody knows.")


class Job(BaseModel):
    """A job. Times are Unix seconds; `cursor` is the seq before its first event, `position` the number of
    jobs ahead of it in its session.
    """

    job_id: str
    session_id: str
    status: Literal["queued", "running", "completed", "failed", "cancelled", "expired"]
    model: str
    attempt: int
    position: int
    waits: Waits | None = None
    cursor: int
    created: float
    started: float | None = None
    ended: float | None = None
    end_seq: int | None = None
    text: str | None = Field(default=None, description="What there is of the answer.")
    response: dict[str, Any] | None = Field(default=None, description="The ChatResponse of an ended job.")
    error: dict[str, Any] | None = Field(default=None, description="Why an ended job did not complete.")


class Accepted(BaseModel):
    """A job that was taken. Its events have a seq above `cursor`."""

    job_id: str
    session_id: str
    cursor: int


class Session(BaseModel):
    """A session. Who reads its messages and then its events after `resume_after` misses nothing."""

    session_id: str
    status: SessionStatus = SessionStatus.ACTIVE
    agent: str | None = None
    user: str | None = None
    created: float | None = None
    context: dict[str, Any] = {}
    seq: int = Field(default=0, description="That of its last event.")
    resume_after: int = Field(default=0, description="The seq before the first event of a job that goes on.")
    jobs: list[Job] = Field(default=[], description="Those that have not ended.")


class Said(BaseModel):
    """A message of a session."""

    role: Literal["user", "assistant", "system", "developer", "tool", "widget"]
    content: Any = Field(default="", description="Text, or a list of parts.")
    id: str | None = None
    job_id: str | None = None
    created: float | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    widget: dict[str, Any] | None = Field(default=None, description="Of a widget: `type` and `data`.")
    files: list[str] = []
    metadata: dict[str, Any] = {}


class ReaderTokenView(BaseModel):
    """Who has it may read the session's events and messages, until `expires` (Unix seconds)."""

    token: str
    session_id: str
    expires: float


def job_of(view: JobView, *, whole: bool = False) -> Job:
    """`whole`: with what was answered."""
    return Job(
        job_id=view.job_id,
        session_id=view.session_id,
        status=view.status.value,
        model=view.model,
        attempt=view.attempt,
        position=view.position,
        waits=None if view.prospect is None else Waits(**asdict(view.prospect)),
        cursor=view.cursor,
        created=view.created,
        started=view.started,
        ended=view.ended,
        end_seq=view.end_seq,
        text=(view.text or None) if whole else None,
        response=_document(view.response_json) if whole else None,
        error=_document(view.error_json) if whole else None,
    )


def session_of(session_id: str, opened: ConversationSession | None, now: Snapshot | None) -> Session:
    """What is known of a session: what it was opened as, and how it stands in the ledger."""
    fields: dict[str, Any] = {}
    if opened is not None:
        fields = {
            "agent": opened.agent_path,
            **opened.model_dump(include={"status", "user", "created", "context"}),
        }
    if now is not None:
        jobs = list(now.jobs.values())
        cursors = [now.seq, *(job.cursor for job in jobs)]
        fields |= {"seq": now.seq, "resume_after": min(cursors), "jobs": [job_of(job) for job in jobs]}
    return Session(session_id=session_id, **fields)


def said_in_conversation(message: ConversationMessage) -> Said:
    """A stored message of a conversation."""
    is_widget = message.message_type is MessageType.WIDGET
    widget = {"type": message.component_type, "data": message.component_data} if is_widget else None
    return Said(
        role="widget" if is_widget else _ROLES[message.message_type],
        content=message.content,
        id=str(message.id),
        job_id=message.job_id,
        created=message.created,
        widget=widget,
        files=list(message.files),
        metadata=message.metadata,
    )


def said_in_history(line: bytes) -> Said:
    """A message of the history of a session that nobody opened."""
    message: Mapping[str, Any] = orjson.loads(line)
    metadata = dict(message.get("metadata") or {})
    return Said(
        role=message["role"],
        content=message.get("content") or "",
        job_id=metadata.pop("job_id", None),
        reasoning=message.get("reasoning"),
        tool_calls=message.get("tool_calls"),
        metadata=metadata,
    )


def _document(content: bytes | None) -> dict[str, Any] | None:
    return None if content is None else orjson.loads(content)
