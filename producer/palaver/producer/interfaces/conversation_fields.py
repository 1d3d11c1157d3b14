"""What calls on conversations may be told: as keyword arguments, and as the documents that check them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field

from palaver.shared.conversations import MessageType
from palaver.shared.document import Document
from palaver.shared.jobs import OnBusy
from palaver.shared.owner import Owner
from palaver.shared.plain import Integer, JsonObject, Key, Text, measure, optional, refuse, shape
from palaver.shared.sessions import SessionStatus
from palaver.shared.stores.archives import LARGEST_PAGE

DEFAULT_PAGE: Final = 100

_ORDER: Final = re.compile(r"\d{17}/")
"""How the cursors of all lists begin: with a time, in microseconds."""


class Whose(TypedDict, total=False):
    """Who asks: the fields of `Owner`. A `user` is an id (text, a number, a UUID) or an object with a `pk` or
    an `id`.
    """

    user: object
    anonymous_id: str | None
    tenant: str | None


class Paging(Whose, total=False):
    """Which part of a list is wanted: at most `limit` items, after those of the page with this `after`."""

    after: str | None
    limit: int


class SessionFields(Whose, total=False):
    """What a session is made with. `context` is told to the agent with every message."""

    context: Mapping[str, Any] | None
    status: SessionStatus | Literal["active", "completed", "archived"]


class MessageFields(TypedDict, total=False):
    """What a message of no job's may have; `component_…` are a widget's, `files` are ids."""

    component_type: str
    component_data: Mapping[str, Any]
    files: Sequence[str]
    metadata: Mapping[str, Any]


class SendOptions(TypedDict, total=False):
    """What may be said of a message beside its words, as of `Client.submit`; `model`, `system` and `params`
    are for sessions without an agent.
    """

    anonymous_id: str | None
    tenant: str | None
    files: Sequence[str]
    job_id: str
    idempotency_key: str | None
    on_busy: OnBusy | Literal["enqueue", "reject", "interrupt", "rollback", "parallel"]
    model: str | Sequence[str] | None
    system: str | None
    params: Mapping[str, Any] | None
    priority: int
    deadline: float
    max_retries: int
    metadata: Mapping[str, Any]


class WaitOptions(SendOptions, total=False):
    """`SendOptions`, and how many seconds to wait for the answer; None: however long it takes."""

    timeout: float | None


def _cursor(value: str) -> str:
    if not _ORDER.match(value):
        refuse("", f"must be the `after` of a page, not {shape(value)}")
    return value


class Listing(Owner):
    """`Paging`, checked."""

    after: Annotated[Text, AfterValidator(_cursor)] | None = optional()
    limit: Annotated[Integer, Field(ge=1, le=LARGEST_PAGE)] = DEFAULT_PAGE

    @property
    def owner(self) -> Owner:
        """Whose list it is."""
        return Owner(tenant=self.tenant, user=self.user, anonymous_id=self.anonymous_id)


class NewSession(Owner):
    """`SessionFields` and the agent's path, checked."""

    agent_path: Key | None
    context: Annotated[JsonObject, BeforeValidator(lambda given: {} if given is None else given)] = Field(
        default_factory=dict
    )
    status: SessionStatus = SessionStatus.ACTIVE


class NewMessage(Document):
    """`MessageFields` and what was said, checked."""

    message_type: MessageType
    content: Text
    component_type: Text = ""
    component_data: JsonObject = Field(default_factory=dict)
    files: list[Key] = Field(default_factory=list)
    metadata: JsonObject = Field(default_factory=dict)


def one_owner(owner: Owner) -> Owner:
    """The same, of whom there can be a list. Raises ValidationError for nobody, and for two at once."""
    if (owner.user is None) == (owner.anonymous_id is None):
        refuse("", "either a user or an anonymous_id is to be given")
    return owner


def check_sizes(fields: Mapping[str, object], limit: int) -> None:
    """Refuse what is larger than a job may be, before anything walks into it."""
    for name, value in fields.items():
        if measure(value, limit) > limit:
            refuse(name, f"is larger than {limit} bytes (PALAVER_MAX_DOCUMENT_BYTES)")
