"""Which archive a process uses."""

from palaver.shared.errors import ConfigurationError
from palaver.shared.ledger import AsyncLedger
from palaver.shared.stores.archives.archive import Archive
from palaver.shared.stores.archives.redis_archive import RedisArchive


def open_archive(ledger: AsyncLedger) -> Archive:
    """The archive of the ledger's settings, for the event loop of that ledger. Nothing is connected yet.

    Raises ConfigurationError, which names PALAVER_ARCHIVE_URL.
    """
    if not ledger.settings.archive_url:
        return RedisArchive(ledger)
    try:
        from palaver.shared.stores.archives.sql_archive import SqlArchive  # needed by few, half a second
    except ModuleNotFoundError as missing:
        told = f"PALAVER_ARCHIVE_URL needs the package {missing.name}: pip install 'palaver[sql]'"
        raise ConfigurationError(told) from None
    return SqlArchive(ledger.settings)
