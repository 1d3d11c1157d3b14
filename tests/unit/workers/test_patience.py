"""How long a driver waits for its file store."""

import asyncio

import pytest

from palaver.shared.errors import FileStoreUnavailableError
from palaver.workers.batches import patience


async def test_patience_begins_with_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work may have waited for something else before, for longer."""
    monkeypatch.setattr(patience, "PATIENCE", 1.0)
    monkeypatch.setattr(patience, "PAUSES", (0.01,))
    tries = 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.sleep(1.1)
            raise FileStoreUnavailableError
        return "done"

    assert await patience.patiently("b", work) == "done"
