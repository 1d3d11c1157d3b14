"""All of a user's batches: to be given to him, or to be removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from palaver.producer.async_client import AsyncClient
from palaver.producer.batches import AsyncBatchHandle
from palaver.shared.batches import BatchView, errors_name, output_name
from palaver.shared.errors import BatchNotFoundError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.owner import Owner

ENDING_SECONDS: Final = 60.0
"""For the drivers of a batch that is cancelled to store what they have."""


async def export(client: AsyncClient, owner: Owner) -> AsyncIterator[dict[str, Any]]:
    """One JSON object for each of somebody's batches: how far it is, and the objects that hold its output."""
    for batch_id in await _listed(client.ledger, owner):
        view = await _view(client.ledger, batch_id)
        if view is not None and _is_his(view, owner):
            names = (output_name, errors_name) if view.stored else ()
            objects = [name(batch_id) for name in names]
            yield {"batch": view.model_dump(mode="json"), "objects": objects}


async def erase(client: AsyncClient, owner: Owner) -> None:
    """Remove all of somebody's batches from the ledger and from the store of files. May be repeated.

    Those that go on are cancelled first. Raises what `BatchHandle.wait` does when one does not end, as no
    worker lives say, and ConfigurationError where this process has no store of files.
    """
    ledger = client.ledger
    listed = await _listed(ledger, owner)
    if not listed:
        return
    files = client.batch_files
    views = {batch_id: await _view(ledger, batch_id) for batch_id in listed}
    # Of those that the ledger does not know, lines may be in the store.
    his = [batch_id for batch_id, view in views.items() if view is None or _is_his(view, owner)]
    known = [AsyncBatchHandle(client, batch_id) for batch_id in his if views[batch_id] is not None]
    for batch in known:
        with suppress(BatchNotFoundError):
            await batch.cancel()
    for batch in known:
        with suppress(BatchNotFoundError):
            await batch.wait(ENDING_SECONDS)
    await ledger.erase(his)
    for batch_id in his:
        await files.delete(batch_id)
        await ledger.query(operations.forget_batch(ledger.keys, batch_id))
    # Last: whoever repeats the call finds here what is to be erased.
    for batch_id in listed:
        await ledger.query(operations.unlist_batch(ledger.keys, owner, batch_id))


async def _listed(ledger: AsyncLedger, owner: Owner) -> list[str]:
    if owner.user is None:  # a guest has no batches
        return []
    return await ledger.query(operations.batches_of(ledger.keys, owner))


async def _view(ledger: AsyncLedger, batch_id: str) -> BatchView | None:
    try:
        return await ledger.batch(batch_id)
    except BatchNotFoundError:
        return None


def _is_his(view: BatchView, owner: Owner) -> bool:
    return (view.batch.tenant, view.batch.user) == (owner.tenant, owner.user)
