"""Conversations in a database: PostgreSQL, or SQLite in a file."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from palaver.shared.conversations import ConversationMessage, ConversationSession, Page
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus, unknown_session
from palaver.shared.settings import Settings
from palaver.shared.stores.archives.database import Database, NoParentError
from palaver.shared.stores.archives.tables import messages, sessions


class SqlArchive:
    """An `Archive` in the database of `PALAVER_ARCHIVE_URL`."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings)
        self._insert: Any = (
            sqlite.insert if self.database.engine.dialect.name == "sqlite" else postgresql.insert
        )

    async def check(self) -> None:
        """See `Archive`."""
        await self.database.check()

    async def upgrade(self) -> tuple[str | None, str | None]:
        """See `Archive`."""
        return await self.database.upgrade()

    async def create(self, session: ConversationSession) -> None:
        """See `Archive`."""
        await self._add(sessions, [session])

    async def session(self, session_id: str) -> ConversationSession | None:
        """See `Archive`."""
        page = await self._sessions(select(sessions).where(sessions.c.id == UUID(session_id)), 1)
        return page.items[0] if page.items else None

    async def set_status(self, session_id: str, status: SessionStatus) -> None:
        """See `Archive`."""
        async with self.database.transaction() as connection:
            await connection.execute(
                update(sessions).where(sessions.c.id == UUID(session_id)).values(status=status.value)
            )

    async def sessions(
        self, owner: Owner, *, after: str | None = None, limit: int
    ) -> Page[ConversationSession]:
        """See `Archive`."""
        query = select(sessions).where(_is_of(owner)).order_by(sessions.c.order.desc())
        if after is not None:
            query = query.where(sessions.c.order < after)
        return await self._sessions(query, limit)

    async def add(self, messages_: Sequence[ConversationMessage]) -> None:
        """See `Archive`."""
        try:
            await self._add(messages, messages_)
        except NoParentError:
            raise unknown_session(str(messages_[0].session_id)) from None

    async def messages(
        self, session_id: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """See `Archive`."""
        query = select(messages).where(messages.c.session_id == UUID(session_id)).order_by(messages.c.order)
        if after is not None:
            query = query.where(messages.c.order > after)
        return await self._messages(query, limit)

    async def search(
        self, owner: Owner, text: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """See `Archive`."""
        query = select(messages).join(sessions).where(_is_of(owner), self._contains(text))
        if after is not None:
            query = query.where(messages.c.order < after)
        return await self._messages(query.order_by(messages.c.order.desc()), limit)

    async def delete(self, session: ConversationSession) -> None:
        """See `Archive`."""
        async with self.database.transaction() as connection:
            await connection.execute(delete(sessions).where(sessions.c.id == session.id))

    async def aclose(self) -> None:
        """See `Archive`."""
        await self.database.aclose()

    def _contains(self, text: str) -> ColumnElement[bool]:
        if self.database.engine.dialect.name == "sqlite":  # whose own lower() knows ASCII alone
            return func.casefold(messages.c.content).contains(text.casefold(), autoescape=True)
        return messages.c.content.icontains(text, autoescape=True)

    async def _add(
        self, table: Table, documents: Sequence[ConversationSession | ConversationMessage]
    ) -> None:
        statement = self._insert(table).on_conflict_do_nothing(index_elements=["id"])
        async with self.database.transaction() as connection:
            await connection.execute(statement, [_row(table, document) for document in documents])

    async def _sessions(self, query: Select[Any], limit: int) -> Page[ConversationSession]:
        rows, after = await self._rows(query, limit)
        return Page([ConversationSession.validated(row) for row in rows], after)

    async def _messages(self, query: Select[Any], limit: int) -> Page[ConversationMessage]:
        rows, after = await self._rows(query, limit)
        return Page([ConversationMessage.validated(row) for row in rows], after)

    async def _rows(self, query: Select[Any], limit: int) -> tuple[list[dict[str, Any]], str | None]:
        async with self.database.transaction() as connection:
            rows = [dict(row) for row in (await connection.execute(query.limit(limit))).mappings()]
        return rows, rows[-1]["order"] if len(rows) == limit else None


def _is_of(owner: Owner) -> ColumnElement[bool]:
    # What is None there is NULL here.
    theirs = and_(sessions.c.tenant == owner.tenant, sessions.c.user == owner.user)
    return theirs if owner.user is not None else and_(theirs, sessions.c.anonymous_id == owner.anonymous_id)


def _row(table: Table, document: ConversationSession | ConversationMessage) -> dict[str, Any]:
    """All columns: those of the first row are those of the statement."""
    known = {**document.model_dump(), "order": document.order}
    row = {column.name: known.get(column.name) for column in table.columns}
    if "content" in row:
        # PostgreSQL's text has no NUL, and would refuse the whole message.
        row["content"] = known["content"].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return row
