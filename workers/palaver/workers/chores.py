"""What a worker does beside its jobs, by turns with all others: what somebody has left, or time asks for. It
shares the loop of the streams; what must not wait for that is on the `sideline`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from palaver.shared.ledger import AsyncLedger
from palaver.shared.stores.archives import Archive
from palaver.shared.stores.batch_files import BatchFiles
from palaver.shared.webhooks import networks, secrets
from palaver.workers.archiver import Archiver
from palaver.workers.batches import Removing
from palaver.workers.webhooks import Calls, Deliverer

__all__ = ["Chore", "chores"]

Chore = tuple[str, Callable[[], Awaitable[None]]]
"""What it is called, and what goes on until it is cancelled."""


def chores(ledger: AsyncLedger, *, archive: Archive) -> Iterator[Chore]:
    """Those that the settings ask for."""
    settings = ledger.settings
    yield "archive", Archiver(ledger, archive).run
    if settings.webhook_secret is not None:
        keys = secrets(settings.webhook_secret.get_secret_value())
        calls = Calls(allowed=networks(settings.webhook_networks), seconds=settings.webhook_seconds)
        yield "webhooks", Deliverer(ledger, calls, secrets=keys).run
    if settings.files_url:
        yield "removal", Removing(ledger, BatchFiles.of(settings)).run
