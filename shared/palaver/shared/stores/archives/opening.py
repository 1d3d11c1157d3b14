"""Which archive a process uses."""

from palaver.shared.ledger import AsyncLedger
from palaver.shared.stores.archives.archive import Archive
from palaver.shared.stores.archives.redis_archive import RedisArchive


def open_archive(ledger: AsyncLedger) -> Archive:
    """The archive of the ledger's settings, for the event loop of that ledger. Nothing is connected yet."""
    return RedisArchive(ledger)
