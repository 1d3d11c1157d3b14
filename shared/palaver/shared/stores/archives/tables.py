"""The tables of conversations in a database. Alembic's migrations make them; a test holds both together."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UnixTime(TypeDecorator[float]):
    """Unix time in seconds, kept as a time with its zone, or in UTC where there are no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else datetime.fromtimestamp(value, UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        """From the database."""
        if value is None:
            return None
        known: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return known.timestamp()


ORDER = String(200).with_variant(String(200, collation="C"), "postgresql")
"""A cursor: compared byte by byte, whatever language the database speaks."""

sessions = Table(
    "palaver_session",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("agent_path", String(256)),
    Column("user", String(256)),
    Column("anonymous_id", String(256)),
    Column("tenant", String(256)),
    Column("context", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created", UnixTime, nullable=False),
    Column("order", ORDER, nullable=False),
    Index(None, "user", "order"),
    Index(None, "anonymous_id", "order"),
)

messages = Table(
    "palaver_message",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("session_id", Uuid, ForeignKey("palaver_session.id", ondelete="CASCADE"), nullable=False),
    Column("message_type", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("component_type", Text, nullable=False),
    Column("component_data", JSON, nullable=False),
    Column("files", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("created", UnixTime, nullable=False),
    Column("job_id", String(128)),
    Column("position", Integer, nullable=False),
    Column("order", ORDER, nullable=False),
    Index(None, "session_id", "order"),
)
