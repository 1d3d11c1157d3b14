"""Each archive on a real server or file, empty."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from palaver.shared.ledger import AsyncLedger
from palaver.shared.settings import Settings
from palaver.shared.stores.archives import Archive, open_archive
from tests.postgres import PostgresServer, run_postgres
from tests.processes import Processes

if TYPE_CHECKING:
    from palaver.shared.stores.archives.database import Database
    from palaver.shared.stores.archives.sql_archive import SqlArchive


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL server of this process's tests."""
    with Processes(tmp_path_factory.mktemp("postgres")) as processes, run_postgres(processes) as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return f"sqlite:///{tmp_path}/archive.db"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.create(f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Runs the test over both databases, without tables."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
async def archive_url(request: pytest.FixtureRequest) -> str:
    """Runs the test over all archives, ready to be used."""
    if request.param == "redis":
        return ""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    await upgrade(url)
    return url


async def upgrade(url: str) -> None:
    """What `palaver archive upgrade` does."""
    database = database_at(url)
    await database.upgrade()
    await database.aclose()


def database_at(url: str) -> Database:
    """The database of this address. What it takes is imported here, half a second that few processes need."""
    from palaver.shared.stores.archives.database import Database

    return Database(Settings(archive_url=url))


def archive_at(url: str) -> SqlArchive:
    """The archive in the database of this address."""
    from palaver.shared.stores.archives.sql_archive import SqlArchive

    return SqlArchive(Settings(archive_url=url))


@pytest.fixture
async def ledger(archive_url: str, redis_url: str, namespace: str) -> AsyncIterator[AsyncLedger]:
    """A ledger whose settings name the archive."""
    async with AsyncLedger(
        Settings(redis_url=redis_url, namespace=namespace, archive_url=archive_url)
    ) as ledger:
        yield ledger


@pytest.fixture
async def archive(ledger: AsyncLedger) -> AsyncIterator[Archive]:
    """The archive itself."""
    archive = open_archive(ledger)
    await archive.check()
    yield archive
    await archive.aclose()
