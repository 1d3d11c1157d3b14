"""A real PostgreSQL server for tests: on a Unix socket in a folder of its own, by a user without rights."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.processes import Processes, Running
from tests.servers import missing

NOBODY = 65534
"""PostgreSQL refuses to run as root."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server; nobody but this machine's users reaches it."""

    folder: Path
    running: Running

    def url(self, database: str = "postgres") -> str:
        """As PALAVER_ARCHIVE_URL takes it."""
        return f"postgresql://palaver@/{database}?host={quote(str(self.folder), safe='')}"

    def create(self, database: str) -> str:
        """The URL of a new database."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def run_postgres(processes: Processes) -> Iterator[PostgresServer]:
    """Start a server on an empty cluster, with processes of its own; skips where PostgreSQL is missing."""
    if _programs() is None:
        missing("no PostgreSQL on this machine")
    # Not in pytest's folder, which only its own user may enter.
    folder = Path(tempfile.mkdtemp(prefix="palaver-pg-"))
    try:
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield start_postgres(processes, folder)
    finally:
        for running in processes.all:
            running.kill()
        shutil.rmtree(folder, ignore_errors=True)


def start_postgres(processes: Processes, folder: Path) -> PostgresServer:
    """The server of this folder, which `initdb` fills if it is empty."""
    data, programs = folder / "data", _programs() or Path()
    if not data.exists():
        how = ("-U", "palaver", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        made = _unprivileged(programs / "initdb", "-D", data, *how)
        subprocess.run(made, check=True, capture_output=True, timeout=60, cwd=folder)
    settings = ("fsync=off", "listen_addresses=", f"unix_socket_directories={folder}", "max_connections=50")
    flags = [word for each in settings for word in ("-c", each)]
    words = _unprivileged(programs / "postgres", "-D", data, *flags)
    running = processes.start(words, name="postgres", cwd=folder)
    running.wait_for("ready to accept connections", seconds=60)
    return PostgresServer(folder, running)


def _programs() -> Path | None:
    """The folder of its programs; Debian keeps them off PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("postgres")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def _unprivileged(*words: str | Path) -> tuple[str, ...]:
    told = tuple(str(word) for word in words)
    if os.getuid() != 0:
        return told
    # Once more what a leash is: it ends where the user changes.
    who = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig", "KILL")
    return (shutil.which("setpriv") or "setpriv", *who, *told)
