"""`palaver archive upgrade|check`: the database of conversations."""

import asyncio

from palaver.producer.cli.terminal import note, write, write_json
from palaver.shared.ledger import AsyncLedger
from palaver.shared.settings import Settings, redacted_url
from palaver.shared.stores.archives import open_archive


def upgrade(*, as_json: bool) -> int:
    """Bring the database to this version."""
    return asyncio.run(_upgrade(Settings.load(), as_json=as_json))


def check(*, as_json: bool) -> int:
    """Whether the archive answers and is of this version; raises what is wrong."""
    return asyncio.run(_check(Settings.load(), as_json=as_json))


async def _upgrade(settings: Settings, *, as_json: bool) -> int:
    async with AsyncLedger(settings) as ledger:
        archive = open_archive(ledger)
        before, after = await archive.upgrade()
        await archive.aclose()
    if as_json:
        write_json({"archive": _shown(settings), "before": before, "after": after})
    elif after is None:
        note(
            "PALAVER_ARCHIVE_URL is not set: conversations are in the ledger's Redis, which needs no upgrade"
        )
    else:
        write(f"{_shown(settings)} {'was' if before == after else 'is now'} of version {after}\n")
    return 0


async def _check(settings: Settings, *, as_json: bool) -> int:
    async with AsyncLedger(settings) as ledger:
        archive = open_archive(ledger)
        try:
            await archive.check()
        finally:
            await archive.aclose()
    if as_json:
        write_json({"archive": _shown(settings)})
    else:
        write(f"{_shown(settings)} answers\n")
    return 0


def _shown(settings: Settings) -> str:
    return redacted_url(settings.archive_url or settings.redis_url)
