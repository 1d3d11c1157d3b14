"""What importing the producer loads: how long it takes is measured by `make bench`."""

import subprocess
import sys
from typing import Final

from tests.processes import clean_environment

PROGRAM: Final = """
import sys
import palaver.producer
package = set(sys.modules)
from palaver.producer import AsyncClient, Client
print(*package, "/", *sys.modules)
"""

HEAVY: Final = {
    "aiohttp",
    "celery",
    "cryptography",
    "fastapi",
    "httpx",
    "importlib.metadata",  # pydantic looks for plugins before it makes the first document
    "jsonschema_rs",
    "kombu",
    "msgspec",
    "obstore",
    "redis",
    "rich",
    "sqlalchemy",
    "typer",
}
"""Libraries that a program which only imports the clients may never need."""

LATER: Final = {
    "palaver.producer.reading",
    "palaver.shared.conversations",
    "palaver.shared.events",
    "palaver.shared.ledger.async_ledger",
    "palaver.shared.ledger.sync_ledger",
}
"""Areas of ours with many documents or those libraries, loaded by who makes a client or reads."""


def test_importing_the_clients_loads_no_library_or_area_that_only_their_use_needs() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True, timeout=60
    )
    package, clients = (set(part.split()) for part in done.stdout.split("/"))

    assert not package & {*HEAVY, *LATER, "pydantic"}
    assert not clients & {*HEAVY, *LATER}
    assert "palaver.producer.client" in clients
