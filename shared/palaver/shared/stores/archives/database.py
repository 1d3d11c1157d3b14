"""A database of conversations: its connections, its errors in our words, its version."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeGuard

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from palaver.shared.errors import ArchiveUnavailableError, ConfigurationError, InternalError
from palaver.shared.settings import Settings, redacted_url

VERSIONS: Final = "palaver_archive_version"
"""The table in which Alembic notes what was done."""
_DRIVERS: Final = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
_UPGRADE_LOCK: Final = 0x70616C61766572
"""Of PostgreSQL's advisory locks: two upgrades at once wait for each other."""
_CONNECTIONS: Final = 5
_BUSY_SECONDS: Final = 5
"""For another process that writes into the same file."""
_STATEMENT_MS: Final = 30_000
SILENT_SECONDS: Final = 35.0
"""A server that lives has given up a statement before."""
_LACKING: Final = ("no such table", "no such column", "has no column named")
"""How SQLite says that tables are not those of this version."""
_NO_DATABASE: Final = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
"""How it says that the file is none of its own, or has been damaged."""
_NO_PARENT: Final = {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"}
"""How PostgreSQL and SQLite say that a row belongs to another that is not there."""


class NoParentError(Exception):
    """A row was not taken: the one that it belongs to is not there."""


class Database:
    """The connections of one event loop. Errors name the URL, without its password."""

    def __init__(self, settings: Settings) -> None:
        self.shown = redacted_url(settings.archive_url)
        self.engine = _engine(settings)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection; what is written is there when the block ends, or nothing of it is.

        Raises ArchiveUnavailableError; ConfigurationError where a table is missing, or the file is no
        database; NoParentError; InternalError for what else the database does not take.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
            return
        except ProgrammingError as error:
            problem: Exception = self._outdated(error)
        except (OSError, InterfaceError, OperationalError, PoolTimeoutError) as error:
            problem = self._outdated(error) if _lacks_tables(error) else self._unavailable(error)
        except DBAPIError as error:
            problem = self._refused(error)
        # Raised out here: the library's error holds the statement with its values, which are content.
        raise problem

    def _outdated(self, error: DBAPIError) -> ConfigurationError:
        return ConfigurationError(
            f"PALAVER_ARCHIVE_URL: {self.shown} refuses a statement ({type(error.orig).__name__}); "
            "is it up to date? palaver archive upgrade"
        )

    def _refused(self, error: DBAPIError) -> ConfigurationError | InternalError | NoParentError:
        sqlite_name = getattr(error.orig, "sqlite_errorname", None)
        if sqlite_name in _NO_PARENT or getattr(error.orig, "sqlstate", None) in _NO_PARENT:
            return NoParentError()
        if sqlite_name in _NO_DATABASE:
            return ConfigurationError(
                f"PALAVER_ARCHIVE_URL: {self.shown} is no database of SQLite, or has been damaged; "
                "name another file, or bring back a copy of this one"
            )
        return InternalError(f"{self.shown} does not take a value: {type(error.orig).__name__}")

    def _unavailable(self, error: Exception) -> ArchiveUnavailableError:
        reason = type(getattr(error, "orig", None) or error).__name__
        told = f"The archive at {self.shown} (PALAVER_ARCHIVE_URL) cannot be reached: {reason}"
        return ArchiveUnavailableError(told)

    async def check(self) -> None:
        """Raises ConfigurationError if its tables are not those of this version."""
        async with self.transaction() as connection:
            found = await connection.run_sync(_revision)
        wanted = ScriptDirectory.from_config(_alembic()).get_current_head()
        if found != wanted:
            state = f"is of version {found}" if found else "has no tables yet"
            told = f"PALAVER_ARCHIVE_URL: {self.shown} {state}; this is version {wanted}"
            raise ConfigurationError(f"{told}: palaver archive upgrade")

    async def upgrade(self) -> tuple[str | None, str | None]:
        """Bring its tables to this version; the versions before and after. Done twice, it changes nothing."""
        async with self.transaction() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            before = await connection.run_sync(_revision)
            await connection.run_sync(_upgrade)
            return before, await connection.run_sync(_revision)

    async def aclose(self) -> None:
        """Close its connections."""
        await self.engine.dispose()


def _lacks_tables(error: Exception) -> TypeGuard[OperationalError]:
    # SQLite has one code for this and for much else, and so no other sign than its words.
    return isinstance(error, OperationalError) and any(words in str(error.orig) for words in _LACKING)


def _engine(settings: Settings) -> AsyncEngine:
    try:
        url = make_url(settings.archive_url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"PALAVER_ARCHIVE_URL is no URL: {redacted_url(settings.archive_url)}"
        ) from None
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.drivername == _DRIVERS["sqlite"]:
        file = Path(url.database or "").absolute()
        if not file.parent.is_dir():
            raise ConfigurationError(f"PALAVER_ARCHIVE_URL: there is no folder {file.parent}")
        if file.is_dir():
            raise ConfigurationError(f"PALAVER_ARCHIVE_URL: {file} is a folder; name a file in it")
        engine = create_async_engine(url, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN"))
        return engine
    from palaver.shared.stores.archives.silence import connector  # SQLite has no use for psycopg

    seconds = max(1, round(settings.connect_seconds))
    return create_async_engine(
        url,
        connect_args={
            "async_creator_fn": connector(SILENT_SECONDS),
            "connect_timeout": seconds,
            "options": f"-c statement_timeout={_STATEMENT_MS}",
        },
        hide_parameters=True,
        max_overflow=0,
        pool_pre_ping=True,  # a server that was restarted costs nobody a call
        pool_size=_CONNECTIONS,
        pool_timeout=_STATEMENT_MS / 1000,
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Its driver would begin transactions late, and end them before it makes tables.
    connection.isolation_level = None
    connection.create_function("casefold", 1, lambda content: content and content.casefold())
    cursor = connection.cursor()
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSIONS}).get_current_revision()


def _upgrade(connection: Connection) -> None:
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
