"""Document 003's names in a Django project, over the conversations of the process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

from palaver.producer.django.configuration import check_path
from palaver.producer.interfaces import Conversations
from palaver.producer.interfaces import ConversationService as Service
from palaver.producer.interfaces.conversations import SessionLike
from palaver.shared import conversations as shared
from palaver.shared.conversations import MessageType
from palaver.shared.owner import user_id
from palaver.shared.plain import refuse, shape
from palaver.shared.sessions import SessionStatus

__all__ = ["ConversationMessage", "ConversationService", "ConversationSession"]


class ConversationService(Service):
    """The same, for the paths of `DJANGO_AI_CHAT_URLS`; a `user` is the request's.

    `request.user` asks the database when it is looked at first: here, and not on the loop of the client. In
    an async view it is `await request.auser()`.
    """

    @staticmethod
    def create_session(
        agent_path: str,
        user: object = None,
        anonymous_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> shared.ConversationSession:
        """See `palaver.producer.interfaces.ConversationService`."""
        check_path(agent_path)
        return Service.create_session(agent_path, user_id(user), anonymous_id, context)

    @staticmethod
    async def acreate_session(
        agent_path: str,
        user: object = None,
        anonymous_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> shared.ConversationSession:
        """As `create_session`."""
        check_path(agent_path)
        return await Service.acreate_session(agent_path, user_id(user), anonymous_id, context)

    @staticmethod
    def send_message(session_id: SessionLike, message: str, user: object = None) -> dict[str, str]:
        """See `palaver.producer.interfaces.ConversationService`."""
        return Service.send_message(session_id, message, user_id(user))


class _Sessions:
    """`ConversationSession.objects`."""

    def create(
        self,
        *,
        agent_path: str,
        user: object = None,
        anonymous_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        status: SessionStatus | Literal["active", "completed", "archived"] = "active",
    ) -> ConversationSession:
        """Store a session. Raises ValidationError, a ValueError, for a path without an agent."""
        check_path(agent_path)
        made = Conversations.of_process().create_session(
            agent_path, user=user_id(user), anonymous_id=anonymous_id, context=context, status=status
        )
        return ConversationSession.of(made)


class _Messages:
    """`ConversationMessage.objects`."""

    def create(
        self,
        *,
        session: shared.ConversationSession,
        message_type: MessageType | Literal["user", "agent", "system", "widget"],
        content: str = "",
        component_type: str = "",
        component_data: Mapping[str, Any] | None = None,
        files: Iterable[object] = (),
    ) -> ConversationMessage:
        """Store a message; `files` are files or their ids. No agent is told of it."""
        if isinstance(files, str | bytes) or not isinstance(files, Iterable):
            refuse("files", f"must be files or their ids, not {shape(files)}")
        made = Conversations.of_process().add_message(
            session,
            message_type,
            content,
            component_type=component_type,
            component_data=component_data or {},
            files=[str(getattr(file, "id", file)) for file in files],
        )
        return ConversationMessage.of(made)


class ConversationSession(shared.ConversationSession):
    """A session, with the manager that Django's models have."""

    objects: ClassVar = _Sessions()

    @classmethod
    def of(cls, session: shared.ConversationSession) -> Self:
        """The same session."""
        return cls.validated(dict(session))


class ConversationMessage(shared.ConversationMessage):
    """A message, with the manager that Django's models have."""

    objects: ClassVar = _Messages()

    @classmethod
    def of(cls, message: shared.ConversationMessage) -> Self:
        """The same message."""
        return cls.validated(dict(message))
