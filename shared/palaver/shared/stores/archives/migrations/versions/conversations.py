"""Sessions and their messages."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ORDER = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "palaver_session",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("agent_path", sa.String(256)),
        sa.Column("user", sa.String(256)),
        sa.Column("anonymous_id", sa.String(256)),
        sa.Column("tenant", sa.String(256)),
        sa.Column("context", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order", _ORDER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_palaver_session"),
    )
    op.create_index("ix_palaver_session_user_order", "palaver_session", ["user", "order"])
    op.create_index("ix_palaver_session_anonymous_id_order", "palaver_session", ["anonymous_id", "order"])
    op.create_table(
        "palaver_message",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("message_type", sa.String(16), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("component_type", sa.Text, nullable=False),
        sa.Column("component_data", sa.JSON, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job_id", sa.String(128)),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("order", _ORDER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_palaver_message"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["palaver_session.id"],
            name="fk_palaver_message_session_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_palaver_message_session_id_order", "palaver_message", ["session_id", "order"])


def downgrade() -> None:
    """Drop both, with all that is in them."""
    op.drop_table("palaver_message")
    op.drop_table("palaver_session")
