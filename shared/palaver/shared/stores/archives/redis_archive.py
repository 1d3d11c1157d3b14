"""Conversations in the ledger's Redis: they live for `PALAVER_SESSION_RETENTION` after their last message."""

from collections.abc import AsyncIterator, Sequence

from palaver.shared.conversations import ConversationMessage, ConversationSession, Page
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus, unknown_session
from palaver.shared.stores.archives.archive import LARGEST_PAGE


class RedisArchive:
    """An `Archive` over a ledger, which is not closed with it."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._keys = ledger.keys

    async def check(self) -> None:
        """See `Archive`."""
        await self._ledger.check()

    async def upgrade(self) -> tuple[str | None, str | None]:
        """See `Archive`."""
        return None, None

    async def create(self, session: ConversationSession) -> None:
        """See `Archive`."""
        if session.owner.is_somebody:
            await self._ledger.query(operations.list_session(self._keys, session, session.owner))
        await self._ledger.run(operations.open_session(self._keys, session, retention=self._ledger.retention))

    async def session(self, session_id: str) -> ConversationSession | None:
        """See `Archive`."""
        return await self._ledger.query(operations.session(self._keys, session_id))

    async def set_status(self, session_id: str, status: SessionStatus) -> None:
        """See `Archive`."""
        await self._ledger.run(operations.set_status(self._keys, session_id, status))

    async def sessions(
        self, owner: Owner, *, after: str | None = None, limit: int
    ) -> Page[ConversationSession]:
        """See `Archive`. Sessions that have expired are taken off the list."""
        entries = await self._ledger.query(operations.listed(self._keys, owner, after=after, limit=limit))
        ids = [entry.rpartition("/")[2] for entry in entries]
        found = await self._ledger.query(operations.sessions(self._keys, ids)) if ids else []
        gone = [entry for entry, session in zip(entries, found, strict=True) if session is None]
        if gone:
            await self._ledger.query(operations.unlist(self._keys, owner, gone))
        items = [session for session in found if session is not None]
        return Page(items, entries[-1] if len(entries) == limit else None)

    async def add(self, messages: Sequence[ConversationMessage]) -> None:
        """See `Archive`."""
        session_id = str(messages[0].session_id)
        storing = operations.store_messages(
            self._keys, session_id, messages, retention=self._ledger.retention
        )
        if not await self._ledger.run(storing):
            raise unknown_session(session_id)

    async def messages(
        self, session_id: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """See `Archive`."""
        return await self._ledger.query(
            operations.stored_messages(self._keys, session_id, after=after, limit=limit)
        )

    async def search(
        self, owner: Owner, text: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """See `Archive`. Reads all that this owner has: whoever has much to search keeps it in a database."""
        wanted = text.casefold()
        found = [
            message
            async for message in self._all_messages(owner)
            if wanted in message.content.casefold() and (after is None or message.order < after)
        ]
        found.sort(key=lambda message: message.order, reverse=True)
        return Page(found[:limit], found[limit - 1].order if len(found) > limit else None)

    async def delete(self, session: ConversationSession) -> None:
        """See `Archive`. What the session is goes with what else the ledger has of it."""
        await self._ledger.query(operations.drop_stored(self._keys, session.session_id))
        if session.owner.is_somebody:
            await self._ledger.query(operations.unlist(self._keys, session.owner, [session.order]))

    async def aclose(self) -> None:
        """See `Archive`."""

    async def _all_messages(self, owner: Owner) -> AsyncIterator[ConversationMessage]:
        sessions: Page[ConversationSession] = Page([], "")
        while sessions.after is not None:
            sessions = await self.sessions(owner, after=sessions.after or None, limit=LARGEST_PAGE)
            for session in sessions.items:
                messages: Page[ConversationMessage] = Page([], "")
                while messages.after is not None:
                    messages = await self.messages(
                        session.session_id, after=messages.after or None, limit=LARGEST_PAGE
                    )
                    for message in messages.items:
                        yield message
