"""Databases of conversations: their versions, and what is said when one cannot be used."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest

from palaver.producer.interfaces import AsyncConversations, Clients
from palaver.shared.conversations import ConversationMessage, ConversationSession
from palaver.shared.errors import ArchiveUnavailableError, ConfigurationError
from palaver.shared.owner import Owner
from palaver.shared.settings import Settings
from tests.integration.archives.conftest import archive_at, database_at, upgrade
from tests.servers import eventually

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from palaver.shared.stores.archives.database import Database

pytestmark = pytest.mark.xdist_group("postgres")


async def test_migrations_make_the_tables_that_the_statements_are_for(database_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from palaver.shared.stores.archives.database import VERSIONS
    from palaver.shared.stores.archives.tables import metadata

    await upgrade(database_url)
    database = database_at(database_url)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
        return list(compare_metadata(context, metadata))

    async with database.transaction() as connection:
        assert await connection.run_sync(differences) == []
    await database.aclose()


async def test_an_upgrade_changes_nothing_the_second_time(database_url: str) -> None:
    database = database_at(database_url)
    with pytest.raises(ConfigurationError, match=r"has no tables yet.*palaver archive upgrade"):
        await database.check()
    before, after = await database.upgrade()
    assert (before, after) == (None, "0001")
    assert await database.upgrade() == ("0001", "0001")
    await database.check()
    await database.aclose()


async def test_upgrades_at_once_wait_for_each_other(postgres_url: str) -> None:
    await asyncio.gather(*(upgrade(postgres_url) for _ in range(4)))


async def test_a_database_of_another_version_is_refused(database_url: str) -> None:
    await upgrade(database_url)
    database = database_at(database_url)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE palaver_archive_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="version 9999"):
        await database.check()
    await database.aclose()


async def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    archive = archive_at("postgresql://palaver:hunter2@127.0.0.1:1/conversations")
    with pytest.raises(ArchiveUnavailableError, match="PALAVER_ARCHIVE_URL") as refused:
        await archive.sessions(Owner(user="u"), limit=1)
    assert "hunter2" not in f"{refused.value!r} {refused.value.__cause__} {refused.value.__context__}"
    await archive.aclose()


async def test_a_server_that_stands_still_on_an_open_connection_is_given_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palaver.shared.stores.archives.database.SILENT_SECONDS", 3.0)
    database = database_at(postgres_url)
    stopped: list[int] = []
    try:
        async with asyncio.timeout(60):
            async with database.transaction() as connection:
                stopped.append(await server_of(connection))
            os.kill(stopped[0], signal.SIGSTOP)
            with pytest.raises(ArchiveUnavailableError, match="cannot be reached"):
                await ask_one_that_stops(database, stopped)  # another one: the pool's says nothing
        assert len(set(stopped)) == 2
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    await database.aclose()


async def ask_one_that_stops(database: Database, stopped: list[int]) -> None:
    async with database.transaction() as connection:
        stopped.append(await server_of(connection))
        os.kill(stopped[-1], signal.SIGSTOP)
        await connection.exec_driver_sql("SELECT 1")


async def server_of(connection: AsyncConnection) -> int:
    """The process that serves it."""
    return int((await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())


async def test_a_restarted_server_costs_nobody_a_call(postgres_url: str) -> None:
    await upgrade(postgres_url)
    archive = archive_at(postgres_url)
    await archive.check()
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert (await archive.sessions(Owner(user="u"), limit=1)).items == []
    await archive.aclose()


@pytest.mark.redis
def test_a_loop_that_ends_closes_the_connections_of_conversations_that_nobody_closes(
    postgres_url: str, redis_url: str, namespace: str
) -> None:
    asyncio.run(upgrade(postgres_url))
    settings = Settings(redis_url=redis_url, namespace=namespace, archive_url=postgres_url)
    conversations = AsyncConversations(Clients(settings))
    with psycopg.connect(postgres_url, autocommit=True) as other:

        def connections() -> int:
            asked = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND backend_type = 'client backend'"
            )
            return int(other.execute(asked).fetchone()[0])  # type: ignore[index] # a count has a row

        async def ask() -> int:
            assert (await conversations.sessions(user="u")).items == []
            return await asyncio.to_thread(connections)

        assert eventually(lambda: connections() == 1), "the server lets go of a connection a moment later"
        assert asyncio.run(ask()) > 1
        assert eventually(lambda: connections() == 1)


async def test_no_content_is_in_an_error(database_url: str) -> None:
    """Without tables every statement fails, and its values are what somebody said."""
    archive = archive_at(database_url)
    of = ConversationSession(created=1.0)
    words = ConversationMessage(session_id=of.id, message_type="user", content="the words", created=1.0)
    with pytest.raises(ConfigurationError, match="palaver archive upgrade") as refused:
        await archive.add([words])
    error: BaseException | None = refused.value
    while error is not None:
        assert "the words" not in str(error)
        error = error.__cause__ or error.__context__
    await archive.aclose()
