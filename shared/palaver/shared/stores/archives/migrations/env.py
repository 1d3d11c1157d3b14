"""What Alembic runs for `palaver archive upgrade`; the connection comes from `database.py`."""

from alembic import context

from palaver.shared.stores.archives.database import VERSIONS
from palaver.shared.stores.archives.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSIONS
)
with context.begin_transaction():
    context.run_migrations()
