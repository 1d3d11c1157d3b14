"""An archiver in a process of its own, to be killed."""

import asyncio

from palaver.shared.ledger import AsyncLedger
from palaver.shared.settings import Settings
from palaver.shared.stores.archives import open_archive
from palaver.workers.archiver import Archiver


async def main() -> None:
    """Archive what the environment says, until killed."""
    ledger = AsyncLedger(Settings())
    print("archiving", flush=True)
    await Archiver(ledger, open_archive(ledger), period=0.01).run()


if __name__ == "__main__":
    asyncio.run(main())
