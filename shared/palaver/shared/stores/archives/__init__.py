"""Where conversations are kept: one interface, in the ledger's Redis or in a database."""

from palaver.shared.stores.archives.archive import LARGEST_PAGE, Archive
from palaver.shared.stores.archives.archiving import archive_session
from palaver.shared.stores.archives.opening import open_archive
from palaver.shared.stores.archives.redis_archive import RedisArchive
from palaver.shared.stores.archives.transcript import messages_of

__all__ = [
    "LARGEST_PAGE",
    "Archive",
    "RedisArchive",
    "archive_session",
    "messages_of",
    "open_archive",
]
