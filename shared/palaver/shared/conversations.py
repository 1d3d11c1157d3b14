"""Conversations: sessions that belong to somebody, and the messages that they store."""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

import uuid_utils.compat
from pydantic import BeforeValidator, ConfigDict, Field

from palaver.shared.document import Document
from palaver.shared.ids import JobId
from palaver.shared.owner import Owner
from palaver.shared.plain import Integer, JsonObject, Key, Name, Real, Text, optional, refuse, shape
from palaver.shared.sessions import SessionStatus

T = TypeVar("T")

_IDS: Final = uuid.UUID("6f6d5d5c-6a5f-4f0e-9a3c-7d8f2b1c0e42")
"""The namespace of the ids of messages that a job stores."""


class MessageType(StrEnum):
    """Who a stored message is from; a widget is a component that an agent showed."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"
    WIDGET = "widget"


def _uuid(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"must be a UUID, not {shape(value)}") from None


Id = Annotated[uuid.UUID, BeforeValidator(_uuid)]


class ConversationSession(Document):
    """A session with an agent, or without one: then a model answers. `created` is Unix time in seconds.

    It belongs to its `user`; without one to its `anonymous_id`; without both to whoever knows its id; in each
    case within its tenant.
    """

    model_config = ConfigDict(extra="ignore")

    id: Id = Field(default_factory=uuid.uuid4)
    agent_path: Key | None = optional()
    user: Name | None = optional()
    anonymous_id: Name | None = optional()
    tenant: Key | None = optional()
    context: JsonObject = Field(default_factory=dict)
    status: SessionStatus = SessionStatus.ACTIVE
    created: Real = 0.0

    @property
    def session_id(self) -> str:
        """Its name in the ledger, in events and in jobs."""
        return str(self.id)

    @property
    def order(self) -> str:
        """Sorts sessions as text, by when they were made, and is the cursor behind this one."""
        return f"{microseconds(self.created):017d}/{self.session_id}"

    @property
    def owner(self) -> Owner:
        """Whose it is: a user's alone, if there is one, else that of the anonymous id."""
        anonymous_id = self.anonymous_id if self.user is None else None
        return Owner(tenant=self.tenant, user=self.user, anonymous_id=anonymous_id)

    def belongs_to(self, owner: Owner) -> bool:
        """Whether it is his; of a user, whatever his anonymous id is."""
        if owner.user is not None:
            owner = Owner(tenant=owner.tenant, user=owner.user)
        return self.owner == owner

    def takes_from(self, owner: Owner) -> bool:
        """Whether he may say something in it: its owner, and in a guest's whoever knows its id."""
        return self.belongs_to(owner) or (self.user is None and owner == Owner(tenant=self.tenant))


class ConversationMessage(Document):
    """A stored message of a session. `created` is Unix time in seconds.

    `position` is its place among those of its job, which are stored once, however often the job was tried; a
    message that was added by hand has no job. `files` are ids. `metadata` has `partial: true` for the words
    of an answer that was cut off.
    """

    model_config = ConfigDict(extra="ignore")

    id: Id = Field(default_factory=uuid_utils.compat.uuid7)
    session_id: Id
    message_type: MessageType
    content: Text = ""
    component_type: Text = ""
    component_data: JsonObject = Field(default_factory=dict)
    files: list[Key] = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)
    created: Real = 0.0
    job_id: JobId | None = optional()
    position: Annotated[Integer, Field(ge=0, le=9999)] = 0

    @property
    def order(self) -> str:
        """Sorts the messages of a session as text, and is the cursor behind it: time, job, place, id."""
        return f"{microseconds(self.created):017d}/{self.job_id or ''}/{self.position:04d}/{self.id}"


def microseconds(seconds: float) -> int:
    """Whole ones: what a database keeps of a time."""
    return round(seconds * 1_000_000)


def message_id(session_id: str, job_id: str, position: int) -> uuid.UUID:
    """The id of what a job stores at this place: the same, whoever stores it and however often."""
    return uuid.uuid5(_IDS, f"{session_id}/{job_id}/{position}")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list. `after` is the cursor of the next page, None behind the last one."""

    items: list[T]
    after: str | None = None


def parse_session_id(value: object) -> str:
    """The id of a conversation's session as text. Raises ValidationError for what is no UUID."""
    if isinstance(value, uuid.UUID):
        return str(value)
    try:
        return str(uuid.UUID(value if isinstance(value, str) else ""))
    except ValueError:
        refuse("session_id", f"must be a UUID, not {shape(value)}")
