"""Document 003's `ConversationService`, and conversations for programs without an event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from typing import Any, Literal, TypeVar, Unpack
from weakref import WeakSet

from palaver.producer.background import Background, background
from palaver.producer.handles import JobHandle
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.conversation_fields import (
    MessageFields,
    Paging,
    SendOptions,
    SessionFields,
    WaitOptions,
    Whose,
)
from palaver.producer.interfaces.conversations import AsyncConversations, SessionLike
from palaver.shared.conversations import ConversationMessage, ConversationSession, MessageType, Page
from palaver.shared.messages import MessagesLike
from palaver.shared.sessions import SessionStatus

T = TypeVar("T")


class Conversations:
    """`AsyncConversations` without `await`: same arguments, same errors. Threads may share it."""

    def __init__(self, clients: Clients | None = None) -> None:
        self._clients = clients or Clients.of_process()
        self.awaited = AsyncConversations(self._clients)
        self._kept: WeakSet[Background] = WeakSet()

    @staticmethod
    def of_process() -> Conversations:
        """Those of this process, configured by its environment; others once that is another one.

        Nobody has to close them.
        """
        clients, pid = Clients.of_process(), os.getpid()
        known = _of_process.get(pid)
        if known is None or known[0] is not clients:
            known = _of_process[pid] = (clients, Conversations(clients))
        return known[1]

    def create_session(self, agent_path: str | None, **fields: Unpack[SessionFields]) -> ConversationSession:
        """See `AsyncConversations.create_session`."""
        return self._run(self.awaited.create_session(agent_path, **fields))

    def session(self, session_id: SessionLike, **whose: Unpack[Whose]) -> ConversationSession:
        """See `AsyncConversations.session`."""
        return self._run(self.awaited.session(session_id, **whose))

    def sessions(self, **page: Unpack[Paging]) -> Page[ConversationSession]:
        """See `AsyncConversations.sessions`."""
        return self._run(self.awaited.sessions(**page))

    def set_status(
        self,
        session_id: SessionLike,
        status: SessionStatus | Literal["active", "completed", "archived"],
        **whose: Unpack[Whose],
    ) -> ConversationSession:
        """See `AsyncConversations.set_status`."""
        return self._run(self.awaited.set_status(session_id, status, **whose))

    def submit_message(
        self,
        session_id: SessionLike,
        message: MessagesLike,
        user: object = None,
        **options: Unpack[SendOptions],
    ) -> JobHandle:
        """See `AsyncConversations.submit_message`."""
        handle = self._run(self.awaited.submit_message(session_id, message, user, **options))
        return JobHandle(self._clients.blocking, handle.session_id, handle.job_id, handle.cursor)

    def send_message(
        self,
        session_id: SessionLike,
        message: MessagesLike,
        user: object = None,
        **options: Unpack[WaitOptions],
    ) -> dict[str, str]:
        """See `AsyncConversations.send_message`."""
        return self._run(self.awaited.send_message(session_id, message, user, **options))

    def add_message(
        self,
        session: ConversationSession,
        message_type: MessageType | Literal["user", "agent", "system", "widget"],
        content: str = "",
        **fields: Unpack[MessageFields],
    ) -> ConversationMessage:
        """See `AsyncConversations.add_message`."""
        return self._run(self.awaited.add_message(session, message_type, content, **fields))

    def messages(self, session_id: SessionLike, **page: Unpack[Paging]) -> Page[ConversationMessage]:
        """See `AsyncConversations.messages`."""
        return self._run(self.awaited.messages(session_id, **page))

    def search(self, text: str, **page: Unpack[Paging]) -> Page[ConversationMessage]:
        """See `AsyncConversations.search`."""
        return self._run(self.awaited.search(text, **page))

    def export(self, **whose: Unpack[Whose]) -> Iterator[dict[str, Any]]:
        """See `AsyncConversations.export`."""
        documents = self.awaited.export(**whose)
        while (document := self._run(_next(documents))) is not None:
            yield document

    def delete_session(self, session_id: SessionLike, **whose: Unpack[Whose]) -> None:
        """See `AsyncConversations.delete_session`."""
        self._run(self.awaited.delete_session(session_id, **whose))

    def erase(self, **whose: Unpack[Whose]) -> int:
        """See `AsyncConversations.erase`."""
        return self._run(self.awaited.erase(**whose))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        loop = background()
        if loop not in self._kept:
            self._kept.add(loop)
            loop.at_close(self.awaited.aclose)
        return loop.run(call)


class ConversationService:
    """Document 003's calls, on the conversations of this process."""

    @staticmethod
    def create_session(
        agent_path: str,
        user: object = None,
        anonymous_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> ConversationSession:
        """A new session with an agent; its `id` is a UUID. Raises ValueError for a path without an agent."""
        return Conversations.of_process().create_session(
            agent_path, user=user, anonymous_id=anonymous_id, context=context
        )

    @staticmethod
    async def acreate_session(
        agent_path: str,
        user: object = None,
        anonymous_id: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> ConversationSession:
        """As `create_session`."""
        return await Conversations.of_process().awaited.create_session(
            agent_path, user=user, anonymous_id=anonymous_id, context=context
        )

    @staticmethod
    def send_message(session_id: SessionLike, message: str, user: object = None) -> dict[str, str]:
        """The agent's answer: `{"status": "success", "response": …, "session_id": …}`, or with the status
        `error` and an `error`. Raises SessionNotFoundError, for a session of somebody else too, and
        WaitTimeoutError when no answer came in PALAVER_ANSWER_SECONDS, or no worker lives.
        """
        return Conversations.of_process().send_message(session_id, message, user)

    @staticmethod
    async def asend_message(session_id: SessionLike, message: str, user: object = None) -> dict[str, str]:
        """As `send_message`."""
        return await Conversations.of_process().awaited.send_message(session_id, message, user)


async def _next(documents: AsyncIterator[T]) -> T | None:
    return await anext(documents, None)


# By the process's id: the thread of a client does not follow into a forked child.
_of_process: dict[int, tuple[Clients, Conversations]] = {}
