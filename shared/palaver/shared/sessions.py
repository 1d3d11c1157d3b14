"""What is known of a session."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from palaver.shared.document import Document
from palaver.shared.errors import SessionNotFoundError
from palaver.shared.ids import JobId, SessionId
from palaver.shared.plain import Integer, JsonObject, Real, Text, optional

_Count = Annotated[Integer, Field(ge=0)]


class SessionStatus(StrEnum):
    """Completed and archived sessions take no new messages."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class SessionInfo(Document):
    """A session as the ledger knows it. Times are Unix seconds; `seq` is its last event, the cursor of a
    late reader.

    A session belongs to a `user`, to an `anonymous_id`, or to nobody. Keys of a newer version are ignored.
    """

    model_config = ConfigDict(extra="ignore")

    session_id: SessionId
    status: SessionStatus = SessionStatus.ACTIVE
    seq: _Count = 0
    active: JobId | None = optional()
    waiting: list[JobId] = Field(default_factory=list)
    agent_path: Text | None = optional()
    user: Text | None = optional()
    anonymous_id: Text | None = optional()
    tenant: Text | None = optional()
    context: JsonObject = Field(default_factory=dict)
    created: Real | None = optional()
    last_event: Real | None = optional()


def unknown_session(session_id: str) -> SessionNotFoundError:
    """The error for a session that is not there, or is another's."""
    return SessionNotFoundError(f"There is no session {session_id}.", param="session_id")
