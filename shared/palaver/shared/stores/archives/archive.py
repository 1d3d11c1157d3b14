"""What keeps conversations: one interface, whatever is behind it."""

from collections.abc import Sequence
from typing import Final, Protocol

from palaver.shared.conversations import ConversationMessage, ConversationSession, Page
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus

LARGEST_PAGE: Final = 1000


class Archive(Protocol):
    """Sessions with an owner, and their stored messages. Of one event loop.

    Whatever writes may be repeated and then changes nothing. Pages have at most `limit` items behind the
    cursor `after`. All methods raise ArchiveUnavailableError or LedgerUnavailableError.
    """

    async def check(self) -> None:
        """Raises, too, ConfigurationError when what is there cannot be used as it is."""

    async def upgrade(self) -> tuple[str | None, str | None]:
        """Bring it to this version; the versions before and after, None where there are none."""

    async def create(self, session: ConversationSession) -> None:
        """Store a new session."""

    async def session(self, session_id: str) -> ConversationSession | None:
        """The session of this id, whosever it is."""

    async def set_status(self, session_id: str, status: SessionStatus) -> None:
        """Change a session's status."""

    async def sessions(
        self, owner: Owner, *, after: str | None = None, limit: int
    ) -> Page[ConversationSession]:
        """Somebody's sessions, the latest first."""

    async def add(self, messages: Sequence[ConversationMessage]) -> None:
        """Store messages of one session. Those that are there already stay as they are.

        Raises SessionNotFoundError, and stores none, where the session is not there, or is not any more.
        """

    async def messages(
        self, session_id: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """A session's messages in their order, that of time."""

    async def search(
        self, owner: Owner, text: str, *, after: str | None = None, limit: int
    ) -> Page[ConversationMessage]:
        """Messages with this text in their content, whatever its case, in all of somebody's sessions; the
        latest session first.
        """

    async def delete(self, session: ConversationSession) -> None:
        """Remove a session with its messages."""

    async def aclose(self) -> None:
        """Close the connections that are the archive's own."""
